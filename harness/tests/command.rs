//! `bench run -- CMD`: one storage for all environments, the files that come along, and what is refused before anything is measured.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use support::{Stage, cgroups, eventually, finish, names, stage, wait, write_program};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `bench run --profile smoke OPTIONS -- COMMAND...`
fn run(stage: &Stage, options: &str, command: &[&str]) -> (i32, String, String) {
    let mut bench = stage.bench(&format!("run --profile smoke {options} --"));
    bench.args(command);
    finish(bench)
}

/// What the command printed in each trial: the trial's id and text.
fn printed(run: &Path) -> Vec<(String, String)> {
    let trials = names(&run.join("raw")).into_iter().filter(|name| !name.contains("-instance-"));
    let text = |name: String| (name.clone(), fs::read_to_string(run.join("raw").join(name).join("stdout")).unwrap());
    let mut all: Vec<_> = trials.map(text).collect();
    all.sort();
    all
}

fn loops_on(stage: &Stage) -> Vec<String> {
    let backing = |name: String| fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok();
    let of_stage = |file: &String| file.contains(&stage.path().display().to_string());
    names(Path::new("/sys/block")).into_iter().filter_map(backing).filter(of_stage).collect()
}

#[test]
fn a_command_has_the_same_storage_and_the_same_files_in_every_environment() {
    let Some(stage) = stage() else { return };
    let other = tempfile::NamedTempFile::new().unwrap();
    let marker = format!("{}-marker", other.path().display());
    fs::write(other.path(), "below the temporary folder\n").unwrap();
    fs::create_dir(stage.path().join("sub")).unwrap();
    fs::write(stage.path().join("sub/relative"), "relative\n").unwrap();
    let absolute = stage.path().join("absolute").display().to_string();
    fs::write(&absolute, "absolute\n").unwrap();
    // The words that follow the script are its arguments, and files.
    let script = format!(
        "set -e; test ! -e mine; touch mine {marker}; echo $PWD $BENCH_WORK $HOME $TMPDIR; stat -f -c %T . /tmp; cat \"$@\"; \
         for file; do echo changed >> $file; stat -f -c %T $file; done"
    );
    let words = ["sh", "-c", &script, "sh", "sub/relative", "/etc/passwd", &absolute, other.path().to_str().unwrap()];
    let environments = "--env native,container,user=container:userns=yes,vm:accel=tcg --blocks 2";
    let mut bench = stage.bench(&format!("run --profile smoke {environments} --"));
    bench.args(words).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = bench.spawn().unwrap();
    let pid = child.id();
    let (status, out, err) = wait(child);
    assert_eq!(status, 0, "{out}{err}");
    let folder = stage.only_run();
    let printed = printed(&folder);
    assert_eq!(printed.len(), 8);
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let ext = "ext2/ext3\n";
    let files = format!("relative\n{passwd}absolute\nbelow the temporary folder\n");
    for (trial, text) in &printed {
        assert_eq!(*text, format!("/tmp/work /tmp/work /tmp/work /tmp\n{ext}{ext}{files}{}", ext.repeat(4)), "{trial}");
    }
    assert!(!Path::new(&marker).exists(), "the host's own temporary folder is not the command's");
    assert_eq!(fs::read_to_string("/etc/passwd").unwrap(), passwd, "the originals stay as they are");
    assert_eq!(fs::read_to_string(&absolute).unwrap(), "absolute\n");
    let record = json(&folder.join("run.json"));
    for environment in record["environments"].as_array().unwrap() {
        assert_eq!(environment["work"], record["environments"][0]["work"], "{environment:#}");
        assert_eq!(environment["work"]["direct"], true);
        let row = environment["sameness"]["work folder"].as_str().unwrap();
        let way =
            if environment["kind"] == "vm" { "virtio-blk disk (cache=none" } else { "loop device with direct I/O" };
        assert!(row.starts_with("/tmp is an ext4 image on ") && row.contains(way), "{row}");
    }
    stage.assert_clean(pid);
    assert_eq!(loops_on(&stage), Vec::<String>::new());
}

#[test]
fn a_command_that_cannot_be_executed_is_refused_before_anything_is_measured() {
    let Some(stage) = stage() else { return };
    let path = |name: &str| stage.path().join(name).display().to_string();
    fs::write(path("plain"), "#!/bin/sh\n").unwrap();
    write_program(Path::new(&path("orphan")), "#!/no/such/interpreter\n");
    write_program(Path::new(&path("text")), "true\n");
    let mut lost = fs::read("/bin/true").unwrap();
    let libc = lost.windows(10).position(|bytes| bytes == b"libc.so.6\0").unwrap();
    lost[libc + 3] = b'q';
    fs::write(path("lost"), lost).unwrap();
    fs::set_permissions(path("lost"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::File::create(path("large")).unwrap().set_len((1 << 30) + 1).unwrap();
    let large = path("large");
    for (words, said) in [
        (&["nosuchcmd"][..], "`nosuchcmd` was not found in PATH"),
        (&["./nosuchcmd"], "there is no such file"),
        (&["/no/such/cmd", "x"], "there is no such file"),
        (&["cd", "/"], "sh -c"),
        (&[""], "the command is empty"),
        (&[], "there is no command after `--`"),
        (&["/etc"], "it is a folder"),
        (&["./plain"], "not executable"),
        (&["./orphan"], "/no/such/interpreter cannot be executed"),
        (&["./text"], "neither a program nor a script"),
        (&["./lost"], "libq.so.6"),
        (&["ls", "/usr/share"], "is a folder, which is not copied automatically: add it with --with /usr/share"),
        (&["sort", &large], "add it with --with"),
        (&["cat", "/dev/loop-control"], "is a device of this machine"),
    ] {
        for environments in ["--env native,container", "--env native,container --dry-run"] {
            let (status, out, err) = run(&stage, environments, words);
            assert_eq!(status, 2, "{words:?}: {out}{err}");
            assert!(err.contains(said) && err.lines().count() == 1, "{words:?}: {err}");
        }
    }
    let (status, _, err) = stage.run("run --suite io --");
    assert!(status == 2 && err.contains("there is no command after `--`"), "{err}");
    assert!(names(&stage.path().join("bench-runs")).is_empty(), "nothing was begun");
    fs::write(
        stage.path().join("mine.toml"),
        "name = \"mine\"\ntitle = \"x\"\nenvironments = [\"native\"]\n[[workload]]\nname = \"x\"\ntitle = \"x\"\nkind = \"command\"\n\
         deciding = \"wall_time_ns\"\nargv = [\"nosuchcmd\"]\n[[profile]]\nname = \"smoke\"\nblocks = 1\nruntime = \"1s\"\nwarm-up = \"0s\"\n\
         settle = \"0s\"\nsize = \"64MiB\"\nmargin = \"10%\"\nverdicts = false\n",
    )
    .unwrap();
    let (status, _, err) = stage.run("run --suite ./mine.toml --profile smoke");
    assert!(status == 2 && err.contains("`nosuchcmd` was not found"), "{err}");
    // Seen by the host and a container, and covered in a guest: refused before the first trial as well.
    if let Ok(program) = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempfile_in("/run") {
        let program = program.into_temp_path();
        fs::copy("/bin/true", &program).unwrap();
        let (status, _, err) = run(&stage, "--env native,vm:accel=tcg", &[program.to_str().unwrap()]);
        assert!(
            status == 2 && err.contains("the command cannot be executed") && err.contains("inside"),
            "{status} {err}"
        );
    }
}

#[test]
fn what_a_command_misses_is_said_with_what_brings_it() {
    let Some(stage) = stage() else { return };
    fs::create_dir(stage.path().join("data")).unwrap();
    let file = stage.path().join("data/file").display().to_string();
    fs::write(&file, "here\n").unwrap();
    let script = format!("cat {file}");
    let (status, out, err) = run(&stage, "--env native,container", &["sh", "-c", &script]);
    assert_eq!(status, 3, "{out}{err}");
    assert!(err.contains(&format!("add --with {file}")), "{err}");
    assert!(out.contains("b01-sh-container") && out.contains("--with PATH"), "{out}");
    fs::remove_dir_all(stage.only_run()).unwrap();
    let (status, out, err) = run(&stage, &format!("--env native,container --with {file}"), &["sh", "-c", &script]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(!err.contains("--with"), "{err}");
    fs::remove_dir_all(stage.only_run()).unwrap();
    // By a relative path it is where the command starts.
    let (status, out, err) = run(&stage, "--env native,container --with data", &["find", "data", "-name", "file"]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(printed(&stage.only_run()).iter().all(|(_, text)| text == "data/file\n"));
}

#[test]
fn a_program_of_here_is_the_same_file_everywhere() {
    let Some(stage) = stage() else { return };
    write_program(&stage.path().join("mine.sh"), "#!/bin/sh\necho from $0\n");
    let (status, out, err) = run(&stage, "--env native,container", &["./mine.sh"]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(printed(&stage.only_run()).iter().all(|(_, text)| text == "from /tmp/work/mine.sh\n"));
    let record = json(&stage.only_run().join("run.json"));
    let digest = |at: usize| record["environments"][at]["sameness"]["/tmp/work/mine.sh sha256"].clone();
    assert!(digest(0).is_string() && digest(0) == digest(1));
}

#[test]
fn work_in_memory_is_said_to_be_that() {
    let Some(stage) = stage() else { return };
    let out = tempfile::tempdir_in("/dev/shm").unwrap();
    let options = format!("--size 64MiB --env native,container --out {}", out.path().display());
    let (status, text, err) = run(&stage, &options, &["true"]);
    assert_eq!(status, 0, "{text}{err}");
    assert!(text.contains("tmpfs (memory, not storage)"), "{text}");
    let run = names(out.path()).into_iter().find(|name| !name.starts_with('.')).unwrap();
    let record = json(&out.path().join(run).join("run.json"));
    assert!(
        record["environments"][0]["sameness"]["work folder"].as_str().unwrap().contains("tmpfs (memory, not storage)")
    );
}

#[test]
fn a_killed_command_leaves_no_loop_device_behind_when_it_is_cleaned() {
    let Some(stage) = stage() else { return };
    let child = stage.spawn("run --profile smoke --env native,container -- sleep 60");
    let (pid, mut child) = (child.id(), child);
    let trial = || names(&stage.path().join("bench-runs")).iter().any(|name| !name.starts_with('.'));
    eventually("two loop devices", || trial() && loops_on(&stage).len() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let (status, out, _) = stage.run("clean --dry-run");
    assert!(status == 0 && out.contains("would undo: loop device on "), "{out}");
    let (status, out, err) = stage.run("clean");
    assert!(status == 0 && out.contains("undid: loop device on "), "{out}{err}");
    assert_eq!(loops_on(&stage), Vec::<String>::new());
    assert!(cgroups(pid).is_empty());
    stage.assert_clean(pid);
}
