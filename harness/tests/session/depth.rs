//! Groups in groups, deeper than a path can be long.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Stage, cgroups, eventually, names, stage};

/// Its own group, writable by a mount in a user namespace, 40 groups with long names in it, and itself in the last, frozen.
const DIVE: &str = r#"
    chdir "/tmp" or die "chdir: $!"; my ($deep, $name) = (0, "n" x 200);
    for (1 .. 40) { last unless mkdir $name; chdir $name or die "chdir: $!"; $deep++ }
    sub put { open my $file, ">", $_[0] or die "$_[0]: $!"; print $file $_[1]; close $file or die "$_[0]: $!" }
    $| = 1; put("cgroup.procs", $$); print "$deep\n"; put($ARGV[0], $ARGV[1]); sleep 1 while 1;
"#;
const KINDS: [(&str, &str, &str); 2] =
    [("-t cgroup -o freezer", "freezer.state", "FROZEN"), ("-t cgroup2", "cgroup.freeze", "1")];

/// A container that has dived, who reads it, and how deep it is; absent where the machine has no such hierarchy.
fn dive(stage: &Stage, (mount, file, text): (&str, &str, &str)) -> Option<(Child, BufReader<ChildStdout>, u32)> {
    let script = format!("mount {mount} none /tmp && exec perl -e '{DIVE}' {file} {text}");
    let mut command =
        stage.bench("container run --seccomp unconfined --stop-timeout 0 --rootfs / -- unshare -UrmC sh -c");
    let mut child = command.arg(&script).stdout(Stdio::piped()).spawn().unwrap();
    let (mut out, mut said) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    out.read_line(&mut said).unwrap();
    match said.trim().parse() {
        Ok(deep) => Some((child, out, deep)),
        Err(_) => {
            eprintln!("skipped: {mount} cannot be mounted in a user namespace here");
            child.wait().unwrap();
            None
        }
    }
}

/// The processes that dived.
fn divers() -> usize {
    let is_diver = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("put(\"cgroup.procs\"")
            && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "perl")
    };
    names(Path::new("/proc")).iter().filter(|name| name.parse::<u32>().is_ok()).filter(|pid| is_diver(pid)).count()
}

#[test]
fn a_process_in_groups_deeper_than_a_path_is_killed_and_they_are_removed() {
    let Some(stage) = stage() else { return };
    let mut dived = 0;
    for kind in KINDS {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let Some((mut child, _out, deep)) = dive(&stage, kind) else { continue };
            dived += 1;
            let is_v2 = kind.0.contains("cgroup2");
            assert!(deep * 201 > 4096, "deeper than a path: {deep}");
            assert!(!is_v2 || deep <= 32, "cgroup2 has a limit: {deep}");
            eventually("the diver", || divers() == 1);
            // It freezes itself: from outside it looks the same a moment later.
            std::thread::sleep(std::time::Duration::from_millis(300));
            kill(Pid::from_raw(child.id() as i32), signal).unwrap();
            let status = child.wait().unwrap();
            if signal == Signal::SIGTERM {
                assert_eq!(status.code(), Some(143), "{kind:?}");
            } else {
                assert!(!cgroups(child.id()).is_empty(), "left for clean");
                let (status, out, err) = stage.run("clean");
                assert_eq!(status, 0, "{out}{err}");
            }
            assert_eq!(divers(), 0, "{kind:?} {signal}");
            stage.assert_clean(child.id());
        }
    }
    assert!(dived > 0, "neither kind of hierarchy is there");
}

/// A threaded group has no list of processes.
#[test]
fn a_process_in_a_threaded_group_is_killed() {
    let Some(stage) = stage() else { return };
    let script = "mount -t cgroup2 none /tmp && mkdir /tmp/a /tmp/a/b && echo threaded > /tmp/a/cgroup.type && \
        echo threaded > /tmp/a/b/cgroup.type && echo $$ > /tmp/a/b/cgroup.threads && echo 1 > /tmp/a/cgroup.freeze; echo gave up";
    let mut command =
        stage.bench("container run --seccomp unconfined --stop-timeout 0 --rootfs / -- unshare -UrmC sh -c");
    let mut child = command.arg(script).spawn().unwrap();
    let pid = child.id();
    let is_frozen = |group: &std::path::PathBuf| {
        fs::read_to_string(group.join("a/cgroup.events")).is_ok_and(|text| text.contains("frozen 1"))
    };
    eventually("the frost, or that it gave up", || {
        cgroups(pid).iter().any(is_frozen) || child.try_wait().unwrap().is_some()
    });
    if child.try_wait().unwrap().is_some() {
        eprintln!("skipped: no threaded groups can be made here");
        return;
    }
    kill(Pid::from_raw(pid as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    stage.assert_clean(pid);
}
