//! `bench container run`: a program inside tries what it should and what it should not be able to do.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use support::{busybox_root, cgroups, contained, eventually, finish, members, stage, wait};

const KINDS: [&str; 8] = ["mnt", "pid", "ipc", "uts", "cgroup", "net", "user", "time"];

fn namespaces(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn it_is_process_one_of_a_world_of_its_own() {
    let Some(stage) = stage() else { return };
    let (status, out, err) =
        // No pipe around the descriptors' listing: process 1, the shell, would hold the pipe's ends for a moment.
        stage.container("", "echo $$; hostname; ps | wc -l; cat /etc/passwd; echo; ls /proc/1/fd; echo");
    assert_eq!(status, 0, "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(&lines[..2], ["1", "container"]);
    assert!(lines[2].trim().parse::<u32>().unwrap() <= 5, "ps sees only us: {out}");
    assert_eq!(lines[3], "root:x:0:0:root:/:/bin/sh", "the tools tree is the root");
    let descriptors = lines.rsplit(|line| line.is_empty()).find(|section| !section.is_empty());
    assert_eq!(descriptors, Some(&["0", "1", "2"][..]), "no descriptor leaks in: {out}");
}

#[test]
fn each_kind_of_namespace_asked_for_is_new_and_no_other() {
    let Some(stage) = stage() else { return };
    let own: Vec<String> =
        KINDS.map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()).into();
    let script = KINDS.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
    for (arguments, shared) in [
        ("", vec!["user", "time"]),
        ("--net host", vec!["net", "user", "time"]),
        ("--userns", vec!["time"]),
        ("--time-offset 1d", vec!["user"]),
        ("--userns --time-offset 1d", vec![]),
    ] {
        let (status, out, err) = stage.container(arguments, &script);
        assert_eq!(status, 0, "{arguments}: {err}");
        for ((kind, ours), theirs) in KINDS.iter().zip(&own).zip(namespaces(&out)) {
            assert_eq!(*ours == theirs, shared.contains(kind), "{arguments}: {kind} {theirs}");
        }
    }
}

#[test]
fn mounts_ipc_and_host_name_stay_inside() {
    let Some(stage) = stage() else { return };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let (status, out, err) =
        stage.container("--hostname box", "hostname; ipcs -m | grep -c 0x; touch /dev/shm/x /tmp/y; ls /dev/shm");
    assert!(status == 0 && out.starts_with("box\n"), "{out}{err}");
    assert!(!std::path::Path::new("/dev/shm/x").exists());
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), host);
}

#[test]
fn the_boot_clock_is_shifted() {
    let Some(stage) = stage() else { return };
    let uptime = |text: &str| text.split_whitespace().next().unwrap().parse::<f64>().unwrap();
    let (_, out, err) = stage.container("--time-offset 1d", "cat /proc/uptime");
    let shift = uptime(&out) - uptime(&fs::read_to_string("/proc/uptime").unwrap());
    assert!((86_399.0..86_401.0).contains(&shift), "{shift} {err}");
}

#[test]
fn what_docker_forbids_is_refused() {
    let Some(stage) = stage() else { return };
    let script = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; \
        for f in /bin/x /etc/passwd /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x; do \
        (echo x > $f) 2>/dev/null && echo written $f; done; \
        mknod /tmp/disk b 254 0 2>/dev/null && echo made a device; mount -t tmpfs x /mnt 2>/dev/null && echo mounted; \
        date -s 2030-01-01 2>&1 | grep -o 'not permitted'; ls -A /proc/acpi /sys/firmware 2>/dev/null | grep -v : | grep .; \
        cat /proc/kcore /proc/keys 2>/dev/null | wc -c; (echo x >> /proc/1/exe) 2>/dev/null && echo wrote the executable; true";
    let (status, out, err) = stage.container("", script);
    assert_eq!(status, 0, "{err}");
    let lines: Vec<_> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    // Docker's fourteen but MKNOD, NET_RAW and AUDIT_WRITE.
    assert_eq!(
        lines,
        [
            format!("CapEff: 00000000{CAPS}"),
            format!("CapBnd: 00000000{CAPS}"),
            "NoNewPrivs: 1".into(),
            "not permitted".into(),
            "0".into()
        ]
    );
}

/// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP.
const CAPS: &str = "800405fb";

#[test]
fn the_starters_executable_cannot_be_written_from_inside() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    // A script whose interpreter is whatever started the container: CVE-2019-5736.
    fs::write(root.join("bin/trap"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(root.join("bin/trap"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = fs::metadata(env!("CARGO_BIN_EXE_bench")).unwrap();
    let volume = format!("{}:/trap:ro", root.join("bin/trap").display());
    let (status, _, err) = stage.run(&format!("container run -v {volume} -- /trap"));
    assert!(status == 2 && err.contains("'/trap'"), "the interpreter is bench: {status} {err}");
    let script = "/bin/trap & sleep 0.1; for pid in 1 $!; do (echo x >> /proc/$pid/exe) 2>&1; done; true";
    let (status, out, _) = stage.container(&format!("--rootfs {}", root.display()), script);
    assert_eq!(status, 0);
    assert!(out.contains("can't create") || out.contains("Read-only") || out.contains("busy"), "{out}");
    let after = fs::metadata(env!("CARGO_BIN_EXE_bench")).unwrap();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
}

#[test]
fn another_root_needs_nothing_but_its_programs() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    fs::write(stage.path().join("given"), "from the host").unwrap();
    let given = stage.path().join("given");
    let volume = format!("--rootfs {} -v {}:/a/b/c:ro -w /bin -e GREETING=hello", root.display(), given.display());
    let (status, out, err) = stage
        .container(&volume, "cat /a/b/c; echo; echo $GREETING; pwd; (echo x > /a/b/c) 2>/dev/null || echo read-only");
    assert_eq!(status, 0, "{err}");
    assert_eq!(out, "from the host\nhello\n/bin\nread-only\n");
    assert!(!root.join("a").exists() && !root.join("proc").exists(), "the root itself is as before");
}

/// Also below `/dev` and `/tmp`, which are made after the root; and a link in the root must not lead out of it.
#[test]
fn a_volume_is_mounted_anywhere_inside_and_nowhere_outside() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    let (outside, given) = (stage.path().join("outside"), stage.path().join("given"));
    fs::create_dir(&outside).unwrap();
    fs::write(&given, "here").unwrap();
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    for target in ["/dev/a/b", "/tmp/a/b", "/link/a"] {
        let volume = format!("--rootfs {} -v {}:{target}", root.display(), given.display());
        let (_, out, err) = stage.container(&volume, &format!("cat {target}"));
        assert!(out == "here" || target == "/link/a" && err.contains("/link/a"), "{target}: {out}{err}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn exit_statuses_are_those_of_docker() {
    let Some(stage) = stage() else { return };
    assert_eq!(stage.container("", "exit 7").0, 7);
    assert_eq!(stage.container("--init", "kill -9 $$").0, 128 + 9);
    let (status, _, err) = finish({
        let mut command = stage.bench("container run --");
        command.arg("nowhere");
        command
    });
    assert!(status == 127 && err.contains("`nowhere` was not found"), "{status} {err}");
    assert_eq!(stage.run("container run -- /etc/passwd").0, 126);
    let (status, _, err) = stage.run("container run --cap-add FLY -- true");
    assert!(status == 125 && err.contains("FLY"), "{status} {err}");
    let (status, _, err) = stage.run("container run --rootfs /no/folder -- true");
    assert!(status == 125 && err.contains("/no/folder"), "{status} {err}");
}

#[test]
fn a_memory_hog_is_killed_at_its_limit() {
    let Some(stage) = stage() else { return };
    let child = stage
        .bench("container run --memory 32MiB -- dd if=/dev/zero of=/dev/null bs=64M count=2")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let (status, _, err) = wait(child);
    assert_eq!(status, 137, "{err}");
    assert!(err.contains("memory limit was met"), "{err}");
    assert!(cgroups(pid).is_empty());
    let (status, _, err) = stage.run("container run --memory 128MiB -- dd if=/dev/zero of=/dev/null bs=64M count=2");
    assert_eq!(status, 0, "with room it is not: {err}");
}

#[test]
fn a_fork_bomb_stops_at_its_limit() {
    let Some(stage) = stage() else { return };
    let script = "i=0; while [ $i -lt 50 ]; do sleep 5 & i=$((i+1)); done; ls -d /proc/[0-9]* | wc -l";
    let began = Instant::now();
    let (_, out, err) = stage.container("--pids 12", script);
    let text = format!("{out}{err}");
    assert!(text.contains("can't fork") || out.trim().parse::<u32>().is_ok_and(|count| count <= 14), "{text}");
    assert!(began.elapsed().as_secs() < 4, "the rest was killed, not waited for");
}

#[test]
fn a_spinner_gets_its_quota() {
    let Some(stage) = stage() else { return };
    let child =
        stage.bench("container run --cpus 0.25 --stop-timeout 0 -- sh -c").arg("while :; do :; done").spawn().unwrap();
    let pid = child.id();
    let usage = || {
        let group = cgroups(pid)
            .into_iter()
            .find(|path| path.join("cpuacct.usage").exists() || path.join("cpu.stat").exists())?;
        match fs::read_to_string(group.join("cpuacct.usage")) {
            Ok(text) => text.trim().parse::<f64>().ok(),
            Err(_) => {
                let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
                Some(text.split_whitespace().nth(1)?.parse::<f64>().ok()? * 1e3)
            }
        }
    };
    eventually("the spinner", || usage().is_some_and(|usage| usage > 50e6));
    let (before, began) = (usage().unwrap(), Instant::now());
    std::thread::sleep(std::time::Duration::from_secs(4));
    let share = (usage().unwrap() - before) / began.elapsed().as_nanos() as f64;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(wait(child).0, 128 + 15);
    assert!((share / 0.25 - 1.0).abs() < 0.05, "{share} of a CPU");
    assert!(cgroups(pid).is_empty());
}

#[test]
fn a_starter_that_is_killed_takes_its_container_along() {
    let Some(stage) = stage() else { return };
    let mut child = stage.bench("container run --init -- sleep 60").spawn().unwrap();
    let pid = child.id();
    eventually("the container", || contained(pid).len() > 1);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("its end", || contained(pid).is_empty());
    assert_eq!(stage.run("clean").0, 0);
    stage.assert_clean(pid);
}

#[test]
fn what_froze_itself_is_killed_all_the_same() {
    let Some(stage) = stage() else { return };
    // Its own group, writable by a mount in a user namespace: the freezer of v1, or cgroup2's.
    let script = "if mount -t cgroup -o freezer none /tmp 2>/dev/null; then F=freezer.state S=FROZEN; \
        else mount -t cgroup2 none /tmp; F=cgroup.freeze S=1; fi; \
        mkdir /tmp/x && echo $$ >/tmp/x/cgroup.procs && echo $S >/tmp/x/$F";
    let mut command = stage.bench("container run --seccomp unconfined --rootfs / -- unshare -UrmC sh -c");
    let mut child = command.arg(script).spawn().unwrap();
    let pid = child.id();
    let is_frozen = |group: &PathBuf| {
        let read = |name: &str| fs::read_to_string(group.join("x").join(name)).unwrap_or_default();
        read("freezer.state").trim() == "FROZEN" || read("cgroup.events").contains("frozen 1")
    };
    eventually("the frost", || cgroups(pid).iter().any(is_frozen));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stage.run("clean").0, 0);
    stage.assert_clean(pid);
}

#[test]
fn a_container_with_the_hosts_ids_cannot_change_the_hosts_devices() {
    let Some(stage) = stage() else { return };
    // As it is already.
    let (status, out, err) =
        stage.run("run --profile smoke --no-control --env container:userns=yes -- chmod 666 /dev/full");
    assert_eq!(status, 3, "{out}{err}");
    let trials = fs::read_to_string(stage.only_run().join("trials.jsonl")).unwrap();
    assert!(trials.contains("Read-only file system"), "{trials}");
    let written = stage.run("run --profile smoke --no-control --env container:userns=yes -- sh -c :>/dev/null");
    assert_eq!(written.0, 0, "{written:?}");
}

#[test]
fn verbose_tells_who_it_is_on_the_host() {
    let Some(stage) = stage() else { return };
    let (status, _, err) = stage.container("--verbose", "sleep 0.1");
    assert_eq!(status, 0);
    assert!(err.contains("on the host; namespaces mnt:[") && err.contains("bench-container-"), "{err}");
}

#[test]
fn a_shell_on_a_terminal_has_job_control() {
    let Some(stage) = stage() else { return };
    let terminal = nix::pty::openpty(None, None).unwrap();
    let slave = std::fs::File::from(terminal.slave);
    let mut master = std::fs::File::from(terminal.master);
    let mut command = stage.bench("container run -- sh -i");
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
    let hook = || {
        nix::unistd::setsid()?;
        // SAFETY: it takes the terminal on descriptor 0 as its own and touches nothing else.
        match unsafe { nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the hook makes two system calls and allocates nothing.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, hook) };
    let mut child = command.spawn().unwrap();
    drop(command);
    master.write_all(b"sleep 30\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    // Ctrl-C ends the sleep, not the shell.
    master.write_all(b"\x03").unwrap();
    master.write_all(b"echo still $((20+3)) here; exit 4\n").unwrap();
    let began = Instant::now();
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..length]);
    }
    let seen = String::from_utf8_lossy(&seen);
    assert_eq!(child.wait().unwrap().code(), Some(4), "{seen}");
    assert!(seen.contains("still 23 here") && began.elapsed().as_secs() < 20, "{seen}");
    assert!(!seen.contains("job control turned off"), "{seen}");
}

#[test]
fn a_filter_of_system_calls_holds_process_one_and_what_it_starts() {
    let Some(stage) = stage() else { return };
    // A user namespace is what anybody may make, and a filter refuses.
    let script = "for pid in 1 self; do grep ^Seccomp: /proc/$pid/status | tr -d '\\t'; done; unshare -U true 2>/dev/null && echo made";
    for (arguments, expected) in [
        ("", "Seccomp:2\nSeccomp:2\n"),
        ("--init", "Seccomp:2\nSeccomp:2\n"),
        ("--userns -u 65534", "Seccomp:2\nSeccomp:2\n"),
        ("--security-opt no-new-privileges", "Seccomp:2\nSeccomp:2\n"),
        ("--cap-add SYS_ADMIN", "Seccomp:2\nSeccomp:2\nmade\n"),
        ("--seccomp unconfined", "Seccomp:0\nSeccomp:0\nmade\n"),
        ("--security-opt seccomp=unconfined", "Seccomp:0\nSeccomp:0\nmade\n"),
    ] {
        let (_, out, err) = stage.container(arguments, script);
        assert_eq!(out, expected, "{arguments}: {err}");
    }
    for (arguments, words) in [
        ("--seccomp profile.json", "docker, unconfined"),
        ("--security-opt apparmor=unconfined", "--seccomp unconfined"),
        ("--seccomp docker --security-opt seccomp=unconfined", "give one of them"),
        ("--seccomp unconfined --security-opt seccomp=builtin", "give one of them"),
    ] {
        let (status, _, err) = stage.container(arguments, "true");
        assert!(status == 125 && err.contains(words), "{arguments}: {status} {err}");
    }
}

#[test]
fn the_peer_of_a_lab_is_filtered_as_well() {
    let Some(stage) = stage() else { return };
    let mut child = stage.bench("container run --net bridge -- sleep 60").stderr(Stdio::null()).spawn().unwrap();
    let filters = || {
        let groups = cgroups(child.id()).into_iter().filter(|group| group.to_string_lossy().contains("-peer"));
        let status = |pid: String| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is_server = |status: &String| status.starts_with("Name:\tiperf3\n");
        groups
            .flat_map(|group| members(&group))
            .map(status)
            .filter(is_server)
            .map(|status| status.contains("\nSeccomp:\t2\n"))
            .collect()
    };
    let mut seen: Vec<bool> = Vec::new();
    eventually("the peer", || {
        seen = filters();
        !seen.is_empty()
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    assert!(seen.iter().all(|is_filtered| *is_filtered), "{seen:?}");
}

#[test]
fn a_container_that_can_use_every_device_says_so() {
    let Some(stage) = stage() else { return };
    for (arguments, says_so) in [
        ("", false),
        ("--cap-add MKNOD", true),
        ("--cap-add cap_mknod", true),
        ("--cap-add NET_RAW", false),
        ("--cap-add MKNOD --userns", false),
    ] {
        let (status, _, err) = stage.container(arguments, "true");
        assert_eq!((status, err.contains("every device of the host")), (0, says_so), "{arguments}: {err}");
    }
}
