//! What becomes of standard input, output and error that are no terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::support::{Stage, finish, stage};

/// `sh -c LINE`, in which `$run` is `bench container run`.
fn shell(stage: &Stage, line: &str) -> Command {
    let mut command = stage.program(Path::new("sh"), "-c");
    command.arg(line).env("run", format!("{} container run", env!("CARGO_BIN_EXE_bench")));
    command
}

fn read(stage: &Stage, name: &str) -> String {
    fs::read_to_string(stage.path().join(name)).unwrap()
}

#[test]
fn output_goes_to_a_file_as_if_the_command_wrote_it() {
    let Some(stage) = stage() else { return };
    let line = "{ echo before; $run -- echo said; echo after; } > new; echo kept > log; $run -- echo more >> log; \
        $run -- sh -c 'echo longer' 1<> log; $run -- sh -c 'echo out; echo err >&2' > out 2> err";
    let (status, _, err) = finish(shell(&stage, line));
    assert_eq!(status, 0, "{err}");
    assert_eq!(read(&stage, "new"), "before\nsaid\nafter\n");
    assert_eq!(read(&stage, "log"), "longer\nre\n", "appended to, then written over from its beginning");
    assert_eq!((read(&stage, "out"), read(&stage, "err")), ("out\n".to_owned(), "err\n".to_owned()));
    // One file for both: lines stand as they were written, however the file was opened.
    let both = "for i in $(seq 200); do echo out $i; echo err $i >&2; done";
    let expected: String = (1..=200).map(|i| format!("out {i}\nerr {i}\n")).collect();
    for redirection in ["> both 2>&1", ">> both 2>> both"] {
        fs::write(stage.path().join("both"), "").unwrap();
        let (status, _, err) = finish(shell(&stage, &format!("$run -- sh -c '{both}' {redirection}")));
        assert_eq!((status, err.as_str()), (0, ""), "{redirection}");
        assert_eq!(read(&stage, "both"), expected, "{redirection}");
    }
}

#[test]
fn megabytes_go_through_whole() {
    let Some(stage) = stage() else { return };
    let bytes: Vec<u8> = (0..3_000_017_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(stage.path().join("in"), &bytes).unwrap();
    for line in ["$run -i -- cat < in > out", "$run -- cat < in_pipe > out", "cat in | $run -- cat | cat > out"] {
        let line = line.replace("< in_pipe", "< fifo");
        let line = format!("rm -f fifo; mkfifo fifo; (cat in > fifo) & {line}; kill $! 2>/dev/null; true");
        let (_, _, err) = finish(shell(&stage, &line));
        assert!(fs::read(stage.path().join("out")).unwrap() == bytes, "{line}: {err}");
    }
}

#[test]
fn a_full_disk_is_an_error_of_ours() {
    let Some(stage) = stage() else { return };
    for (line, said) in
        [("$run -- echo said > /dev/full", "standard output"), ("$run --init -- yes > /dev/full", "standard output")]
    {
        let began = Instant::now();
        let (status, _, err) = finish(shell(&stage, line));
        assert_eq!(status, 125, "{line}: {err}");
        assert!(err.contains(said) && err.contains("No space left on device"), "{line}: {err}");
        assert!(began.elapsed().as_secs() < 30, "{line}");
    }
    let (status, out, _) = finish(shell(&stage, "$run -- sh -c 'echo lost >&2; echo said' 2> /dev/full"));
    assert_eq!((status, out.as_str()), (125, "said\n"));
}

#[test]
fn a_loop_that_reads_lines_keeps_its_input() {
    let Some(stage) = stage() else { return };
    fs::write(stage.path().join("list"), "one\ntwo\nthree\n").unwrap();
    let line = "while read line; do $run -- sh -c \"echo $line; cat\"; done < list";
    assert_eq!(finish(shell(&stage, line)), (0, "one\ntwo\nthree\n".to_owned(), String::new()));
    // Asked to, it reads.
    let (_, out, _) = finish(shell(&stage, "$run -i -- cat < list"));
    assert_eq!(out, "one\ntwo\nthree\n");
    let (_, out, _) = finish(shell(&stage, "$run --interactive -- head -c 3 < /dev/zero | wc -c"));
    assert_eq!(out.trim(), "3");
    let (_, out, _) = finish(shell(&stage, "$run -- wc -c < /dev/zero"));
    assert_eq!(out.trim(), "0", "nor is a device read unasked");
    let (_, out, _) = finish(shell(&stage, "echo piped | $run -- cat"));
    assert_eq!(out, "piped\n");
    let (status, _, err) = finish(shell(&stage, "$run -i -- cat < ."));
    assert!(status == 125 && err.contains("reading standard input: Is a directory"), "{status}: {err}");
    let (status, out, err) = finish(shell(&stage, "$run -- sh -c 'cat; echo done' <&-"));
    assert_eq!((status, out.as_str()), (0, "done\n"), "{err}");
}

/// What a program inside can do to the files behind its streams.
const ATTACK: &str = "for n in 0 1 2; do f=/proc/$$/fd/$n; (: > $f) 2>/dev/null; (echo overwritten 1<> $f) 2>/dev/null; \
    chmod 4777 $f 2>/dev/null; chown 7:7 $f 2>/dev/null; truncate -s 0 $f 2>/dev/null; \
    seen=\"$seen$n $(readlink /proc/$$/fd/$n)\n\"; done; printf \"$seen\"";

#[test]
fn no_file_or_device_of_the_host_is_handed_in() {
    let Some(stage) = stage() else { return };
    let path = |name: &str| stage.path().join(name);
    let make = |name: &str| {
        fs::write(path(name), "as it was\n").unwrap();
        path(name)
    };
    let (input, log) = (make("input"), make("log"));
    let state = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.mode(), metadata.uid(), metadata.ino())
    };
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let node = path("null");
    let (character, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::from_bits_truncate(0o600));
    nix::sys::stat::mknod(&node, character, mode, nix::sys::stat::makedev(1, 3)).unwrap();
    let watched: Vec<PathBuf> = ["input", "log", "fifo", "null"].map(path).to_vec();
    let before: Vec<_> = watched.iter().map(|path| state(path)).collect();
    let host_null = state(Path::new("/dev/null"));
    for arguments in ["", "-i", "--init", "--userns -i", "-u 65534 -i"] {
        for from in ["input", "null", "/dev/null", "."] {
            for to in ["log", "null", "/dev/null"] {
                let open =
                    |name: &str| if name.starts_with('/') || name == "." { PathBuf::from(name) } else { path(name) };
                let from = if from == "." { stage.path().to_path_buf() } else { open(from) };
                let out = OpenOptions::new().append(true).open(open(to)).unwrap();
                let mut command = stage.bench(&format!("container run {arguments} -- sh -c"));
                command.arg(ATTACK).stdin(File::open(from).unwrap()).stdout(out.try_clone().unwrap()).stderr(out);
                command.status().unwrap();
            }
        }
        let now: Vec<_> = watched.iter().map(|path| state(path)).collect();
        assert_eq!(now, before, "{arguments}");
        assert_eq!(state(Path::new("/dev/null")), host_null, "{arguments}");
        assert_eq!(fs::read_to_string(&input).unwrap(), "as it was\n", "{arguments}");
        assert!(fs::read_to_string(&log).unwrap().starts_with("as it was\n"), "{arguments}");
    }
    // What it saw: pipes, sockets and its own /dev/null.
    let seen = fs::read_to_string(&log).unwrap();
    let links: Vec<&str> = seen.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(links.len() > 50, "{seen}");
    let is_harmless = |link: &&str| link.starts_with("pipe:[") || *link == "/dev/null";
    let harmful: Vec<_> = links
        .iter()
        .filter(|link| link.starts_with('/') || link.contains(':'))
        .filter(|link| !is_harmless(link))
        .collect();
    assert!(harmful.is_empty(), "{harmful:?}");
}

#[test]
fn a_container_ends_when_nobody_reads_it() {
    let Some(stage) = stage() else { return };
    let endless = "while :; do echo line; done";
    for (line, out) in [
        // Process 1 is not ended by SIGPIPE, and a shell goes on after an error of `echo`.
        (format!("$run -- sh -c '{endless}' | head -n 2"), "line\nline\n"),
        (format!("$run --init -- sh -c 'trap \"\" PIPE; {endless}' | head -n 2"), "line\nline\n"),
        ("$run -- sh -c 'echo line; while :; do sleep 0.05; done' | head -n 1".to_owned(), "line\n"),
        (format!("$run -- sh -c '{endless}' 2>&1 >/dev/null | head -n 0"), ""),
        (format!("mkfifo p; head -n 1 p & $run -- sh -c '{endless}' > p"), "line\n"),
        ("$run -t -- sh -c 'while :; do echo line; sleep 0.01; done' | head -n 1".to_owned(), "line\r\n"),
    ] {
        let began = Instant::now();
        let (_, said, err) = finish(shell(&stage, &line));
        assert_eq!(said, out, "{line}: {err}");
        assert!(began.elapsed().as_secs() < 20, "{line}: {:?}", began.elapsed());
    }
    // Who ends by himself keeps his status, heard or not.
    let mut bench = stage.bench("container run -- sh -c");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = bench.arg("sleep 0.3; exit 5").stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(5));
    let mut bench = stage.bench("container run -- sh -c");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = bench.arg("sleep 60").stdout(writer).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
    stage.assert_clean(child.id());
    // Output that goes to a file is still read when nobody listens to errors.
    let (_, _, err) = finish(shell(&stage, "{ $run -- sh -c 'sleep 3; echo done' 2>&1 >kept; } | true"));
    assert_eq!(read(&stage, "kept"), "done\n", "{err}");
}

#[test]
fn a_socket_is_copied_and_stays_outside() {
    let Some(stage) = stage() else { return };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut bench = stage.bench("container run -- sh -c");
    bench
        .arg("read line; echo \"got $line\"; for fd in 0 1; do readlink /proc/self/fd/$fd | grep -o socket; done; true")
        .stdin(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap()));
    let mut child = bench.stdout(std::os::fd::OwnedFd::from(theirs)).spawn().unwrap();
    drop(bench);
    (&ours).write_all(b"hello\n").unwrap();
    let mut said = String::new();
    (&ours).read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), "got hello\n"));
}

/// `/dev/stdout` and `/dev/stderr` can be opened by name, whoever the program is.
#[test]
fn streams_belong_to_the_program() {
    let Some(stage) = stage() else { return };
    for arguments in ["", "--userns", "-u 1000", "--userns -u 1000", "--init -u 1000:7", "-t -u 1000", "-t --userns"] {
        let (status, out, err) = stage.container(arguments, "echo out > /dev/stdout && echo err > /dev/stderr");
        let out = out.replace('\r', "");
        assert_eq!((status, out.as_str(), err.as_str()), (0, "out\n", "err\n"), "{arguments}");
    }
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (status, _, err) = finish(shell(&stage, "$run -u 1000 -- sh -c 'echo out > /dev/stdout' > file"));
    assert_eq!((status, read(&stage, "file").as_str()), (0, "out\n"), "{err}");
    let file = File::open(stage.path().join("file")).unwrap();
    assert!(file.read_at(&mut [0; 4], 0).is_ok());
}

/// Somebody outside may be given an end of a pipe, and keep it.
#[test]
fn a_pipe_that_somebody_outside_keeps_open_is_not_waited_for() {
    let Some(stage) = stage() else { return };
    let out = File::create(stage.path().join("kept")).unwrap();
    let mut command = stage.bench("container run --verbose -- sh -c");
    command.arg("echo said; sleep 1").stdout(out).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    let mut errors = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut errors, &mut said).unwrap();
    let pid = said.strip_prefix("bench: process ").and_then(|rest| rest.split(' ').next()).unwrap();
    let kept = OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/1")).unwrap();
    let began = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(began.elapsed().as_secs() < 20);
    assert_eq!(read(&stage, "kept"), "said\n");
    drop(kept);
}
