//! The words that people type after using docker.

use std::fs;
use std::path::PathBuf;

use crate::support::{Stage, cgroups, eventually, finish, stage};

fn busybox_root(stage: &Stage) -> PathBuf {
    let root = stage.path().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "id", "grep", "cat", "echo", "true", "stat"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    root
}

#[test]
fn options_of_docker_are_taken() {
    let Some(stage) = stage() else { return };
    for arguments in [
        "run --rm -i busybox sh -c",
        "run -it --rm sh -c",
        "run --rm --name web_1.a --network none sh -c",
        "run -m 64m --cpus=1.5 sh -c",
        "run --memory=1G --pids-limit 100 --network=host sh -c",
        "run -m512m --cpuset-cpus 0 --net none -- sh -c",
        "run -i -t -m 67108864 -w / --hostname h sh -c",
        "run --pids-limit=-1 --stop-timeout 3 -u 0 sh -c",
    ] {
        let mut command = stage.bench(&format!("container {arguments}"));
        command.arg("echo \"$0 $1\"; exit 5").args(["--rm", "-it"]);
        let (status, out, err) = finish(command);
        assert_eq!((status, out.trim_end()), (5, "--rm -it"), "{arguments}: {err}");
    }
}

#[test]
fn a_variable_without_a_value_is_the_callers() {
    let Some(stage) = stage() else { return };
    let mut command = stage.bench("container run -e GIVEN -e ABSENT -e EMPTY= -e A=b=c -- sh -c");
    command
        .arg("echo \"$GIVEN|${ABSENT-unset}|${EMPTY-unset}|$A|$HOME\"")
        .env("GIVEN", "two words")
        .env_remove("ABSENT");
    assert_eq!(finish(command), (0, "two words|unset||b=c|/\n".to_owned(), String::new()));
    let mut command = stage.bench("container run -e HOME -- sh -c");
    command.arg("echo $HOME").env("HOME", "/home/me");
    assert_eq!(finish(command).1, "/home/me\n");
    let (status, _, err) = stage.run("container run -e =x -- true");
    assert!(status == 125 && err.contains("KEY=VALUE"), "{status}: {err}");
}

#[test]
fn what_docker_has_and_this_has_not_is_said_in_a_sentence() {
    let Some(stage) = stage() else { return };
    for (arguments, status, said) in [
        ("-p 80:80 -- true", 125, "-p 80:80: a container is not reachable from other machines"),
        ("--publish 127.0.0.1:80:80 true", 125, "in the lab"),
        ("-d -- true", 125, "run bench itself in the background"),
        ("docker.io/library/busybox:latest", 125, "bench pulls none"),
        ("-it --rm ubuntu:24.04 bash", 125, "bench pulls none"),
        ("ghcr.io/a/b@sha256:0123 sh", 125, "bench pulls none"),
        ("ubuntu bash", 127, "--rootfs DIR"),
        ("library/ubuntu bash", 127, "--rootfs DIR"),
    ] {
        let (found, _, err) = stage.run(&format!("container run {arguments}"));
        assert_eq!(found, status, "{arguments}: {err}");
        assert!(err.contains(said) && err.lines().count() == 1, "{arguments}: {err}");
    }
    // A path is no image.
    let (status, _, err) = stage.run("container run -- /no/such/program");
    assert!(status == 127 && !err.contains("image"), "{status}: {err}");
}

#[test]
fn usage_errors_have_dockers_status() {
    let Some(stage) = stage() else { return };
    for arguments in [
        "",
        "--nonsense -- true",
        "--memory -- true",
        "-m 64 -- true",
        "-m lots true",
        "--cpus 0 true",
        "--net moon true",
        "--name a/b true",
        "--name .. true",
        "--name . true",
        "--pids 0 true",
        "--stop-timeout soon true",
        "-e =x true",
        "-v a true",
        "-w",
        "-u",
        "-u : true",
        "-u nosuch true",
        "-u -1 true",
        "-u 4294967295 true",
        "--rootfs /no/such true",
        "-v /no/such:/x true",
        "--cpuset x true",
    ] {
        let (status, out, err) = stage.run(&format!("container run {arguments}"));
        assert!(status == 125 && out.is_empty() && !err.is_empty(), "{arguments}: {status} {out} {err}");
    }
    assert_eq!(stage.run("container run --help").0, 0);
    assert_eq!(stage.run("container jump").0, 2, "other commands keep theirs");
    assert_eq!(stage.run("vm run --nonsense").0, 2);
}

#[test]
fn a_user_is_one_without_capabilities() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nwww:x:34:\nssl:x:101:web\n").unwrap();
    let script = "echo $(id -u) $(id -g) $(id -G) $HOME; grep -E 'CapPrm|CapEff|CapAmb|CapInh' /proc/self/status | grep -vc 0000000000000000; \
        (echo x > /sentinel) 2>/dev/null && echo wrote; true";
    for (arguments, ids) in [
        ("-u web", "33 34 34 101 /srv/web"),
        ("-u 33", "33 34 34 101 /srv/web"),
        ("-u web:ssl", "33 101 101 /srv/web"),
        ("-u 1000", "1000 0 0 /"),
        ("-u 1000:1000 --init", "1000 1000 1000 /"),
        ("--user=1000:www --userns", "1000 34 34 /"),
        ("-u web -e HOME=/else", "33 34 34 101 /else"),
        ("-u web --cap-add SYS_TIME", "33 34 34 101 /srv/web"),
    ] {
        let (status, out, err) = stage.container(&format!("--rootfs {} {arguments}", root.display()), script);
        assert_eq!((status, out.as_str()), (0, format!("{ids}\n0\n").as_str()), "{arguments}: {err}");
    }
    let (_, out, err) = stage.container(&format!("--rootfs {} -u root", root.display()), script);
    assert_eq!(out, "0 0 0 /root\n2\n", "root keeps Docker's: {err}");
    // Nor can process 1 of --init be asked to do what the user may not.
    let (_, out, err) = stage.container("--init -u 1000", "grep -E 'Uid|CapEff|CapPrm' /proc/1/status");
    assert_eq!(out.matches("0000000000000000").count(), 2, "{out}{err}");
    assert!(out.contains("1000"), "{out}");
}

/// Rights that the caller would hand on: inheritable and ambient capabilities, and further groups.
#[test]
fn no_rights_of_the_caller_go_in() {
    let Some(stage) = stage() else { return };
    let script = "grep -hE 'CapInh|CapAmb' /proc/self/status /proc/1/status | grep -vc 0000000000000000; echo $(id -G)";
    for (arguments, groups) in [
        ("", "0"),
        ("--init", "0"),
        ("--seccomp unconfined", "0"),
        ("--userns", "0"),
        ("-u 1000", "0"),
        ("-u 1000:7 --init", "7"),
    ] {
        let mut command = stage.program(
            std::path::Path::new("setpriv"),
            "--inh-caps +chown,+net_raw,+sys_admin --ambient-caps +chown,+net_raw,+sys_admin --groups 4,27",
        );
        command.arg(env!("CARGO_BIN_EXE_bench")).args(["container", "run"]).args(arguments.split_whitespace());
        let (status, out, err) = finish({
            command.args(["--", "sh", "-c", script]);
            command
        });
        assert_eq!((status, out.as_str()), (0, format!("0\n{groups}\n").as_str()), "{arguments}: {err}");
    }
}

/// Programs and libraries that a starter might execute or load, were it careless, each of which would say so.
#[test]
fn nothing_of_the_root_is_executed_but_the_program() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    let trap = "#!/bin/sh\necho sprung >> /traps/sprung\n";
    for name in ["mount", "newuidmap", "newgidmap", "xz", "unpigz", "modprobe", "ldconfig", "login", "getent"] {
        for folder in ["bin", "sbin", "usr/bin", "usr/sbin"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            crate::support::write_program(&root.join(folder).join(name), trap);
        }
    }
    fs::create_dir_all(root.join("lib/x86_64-linux-gnu")).unwrap();
    for library in ["libnss_files.so.2", "libnss_trap.so.2", "libc.so.6", "ld-linux-x86-64.so.2"] {
        fs::write(root.join("lib/x86_64-linux-gnu").join(library), "no library").unwrap();
    }
    fs::write(root.join("etc/nsswitch.conf"), "passwd: trap\ngroup: trap\n").unwrap();
    fs::write(root.join("etc/ld.so.preload"), "/lib/x86_64-linux-gnu/libnss_trap.so.2\n").unwrap();
    fs::write(root.join("etc/passwd"), "web:x:33:34::/:/bin/sh\n").unwrap();
    let traps = stage.path().join("traps");
    fs::create_dir(&traps).unwrap();
    fs::set_permissions(&traps, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    for arguments in ["", "-u web", "--userns -u web --init"] {
        let options = format!("--rootfs {} -v {}:/traps {arguments}", root.display(), traps.display());
        let (status, out, err) = stage.container(&options, "echo here");
        assert_eq!((status, out.as_str()), (0, "here\n"), "{arguments}: {err}");
        assert!(!traps.join("sprung").exists(), "{arguments}");
    }
    // The traps work.
    let options = format!("--rootfs {} -v {}:/traps", root.display(), traps.display());
    assert_eq!(stage.container(&options, "/usr/bin/xz").0, 0);
    assert!(traps.join("sprung").exists());
}

/// The files that say who is who are the root's own.
#[test]
fn users_are_not_looked_up_outside_of_the_root() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    let outside = stage.path().join("outside");
    fs::write(&outside, "evil:x:0:0::/:/bin/sh\nweb:x:7:7::/:/bin/sh\n").unwrap();
    let passwd = root.join("etc/passwd");
    let user = |name: &str| stage.container(&format!("--rootfs {} -u {name}", root.display()), "id -u");
    for target in [outside.to_str().unwrap().to_owned(), "../../outside".to_owned(), "/proc/self/fd/0".to_owned()] {
        std::os::unix::fs::symlink(&target, &passwd).unwrap();
        let (status, out, err) = user("evil");
        assert_eq!((status, out.as_str()), (125, ""), "{target}: {err}");
        fs::remove_file(&passwd).unwrap();
    }
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let (status, _, err) = user("web");
    assert!(status == 125 && err.contains("not a regular file"), "{status}: {err}");
    fs::remove_file(&passwd).unwrap();
    assert_eq!(user("web").0, 125, "no file at all");
    assert_eq!(user("1000").1, "1000\n", "a number needs none");
    // Inside the root a link is fine.
    fs::write(root.join("etc/real"), "web:x:9:9::/:/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("/etc/real", &passwd).unwrap();
    assert_eq!(user("web").1, "9\n");
}

#[test]
fn processes_are_limited_and_a_name_is_seen() {
    let Some(stage) = stage() else { return };
    let limit = |arguments: &str| {
        let mut child = stage.bench(&format!("container run {arguments} -- sleep 60")).spawn().unwrap();
        let pid = child.id();
        let read = || {
            let files = cgroups(pid).into_iter().map(|group| fs::read_to_string(group.join("pids.max")));
            files.flatten().map(|text| text.trim().to_owned()).next()
        };
        let has_process = || {
            cgroups(pid)
                .iter()
                .any(|group| fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| !text.is_empty()))
        };
        eventually("the container", has_process);
        let (found, groups) = (read(), cgroups(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(stage.run("clean").0, 0);
        stage.assert_clean(pid);
        (found, groups)
    };
    assert_eq!(limit("").0.as_deref(), Some("4096"));
    assert_eq!(limit("--pids 9").0.as_deref(), Some("9"));
    assert_eq!(limit("--pids unlimited").0.as_deref(), Some("max"));
    let groups = limit("--name web-1").1;
    assert!(groups.iter().all(|group| group.to_str().unwrap().ends_with(".web-1")), "{groups:?}");
    for group in groups {
        assert!(group.file_name().unwrap().to_str().unwrap().starts_with("bench-container-"));
    }
}

#[test]
fn where_processes_cannot_be_limited_that_is_said() {
    let Some(stage) = stage() else { return };
    if !std::path::Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        eprintln!("skipped: the controller `pids` is not on a hierarchy of its own here, which could be taken away");
        return;
    }
    let without = |arguments: &str| {
        let mut command = stage.program(std::path::Path::new("unshare"), "--mount sh -c");
        let bench = env!("CARGO_BIN_EXE_bench");
        command.arg(format!("umount /sys/fs/cgroup/pids && exec {bench} container run {arguments} -- echo said"));
        finish(command)
    };
    let (status, out, err) = without("");
    assert_eq!((status, out.as_str()), (0, "said\n"), "{err}");
    assert!(err.contains("not limited") && err.contains("pids"), "{err}");
    assert_eq!(
        without("--pids unlimited"),
        (0, "said\n".to_owned(), String::new()),
        "nobody is warned who asked for it"
    );
    let (status, out, err) = without("--pids 9");
    assert!(status == 125 && out.is_empty() && err.contains("`pids` is not available"), "{status}: {err}");
}
