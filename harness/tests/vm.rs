//! `bench vm run`: the same guest that is measured, under emulation where KVM is not to be had.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use support::{Stage, finish, names, stage, wait};

fn vm(stage: &Stage, script: &str) -> (i32, String, String) {
    let mut command = stage.bench("vm run --options accel=tcg -- sh -c");
    command.arg(script);
    finish(command)
}

#[test]
fn a_command_runs_on_a_kernel_of_its_own() {
    let Some(stage) = stage() else { return };
    let script = "uname -r; cd /sys/devices/system; cat clocksource/clocksource0/current_clocksource cpu/online cpu/possible; exit 7";
    let (status, out, err) = vm(&stage, script);
    assert_eq!(status, 7, "{err}");
    let host = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let lines: Vec<_> = out.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with(|c: char| c.is_ascii_digit()), "{out}");
    eprintln!("host {}, guest {}", host.trim(), lines[0]);
    assert_eq!(lines[1], "tsc", "a slow clock would slow the I/O");
    assert_eq!(lines[2], lines[3], "all of its CPUs were started");
}

#[test]
fn a_microvm_is_a_guest_without_pci() {
    let Some(stage) = stage() else { return };
    let script = "cd /sys/bus; ls pci/devices | wc -l; ls platform/drivers/virtio-mmio | grep -c LNRO; \
        cat virtio/devices/*/device | sort -u | tr '\\n' ' '; cd /sys/devices/system; \
        cat clocksource/clocksource0/current_clocksource cpu/online cpu/possible; date +%Y; exit 7";
    let mut command = stage.bench("vm run --verbose --options accel=tcg:machine=microvm -- sh -c");
    command.arg(script);
    let (status, out, err) = finish(command);
    assert_eq!(status, 7, "{err}");
    eprintln!("{}", err.trim());
    let words: Vec<_> = out.split_whitespace().collect();
    // The root disk (2) and the agent's port (3), by their numbers in the virtio standard.
    assert_eq!(words[..5], ["0", "2", "0x0002", "0x0003", "tsc"], "{out}{err}");
    assert_eq!(words[5], words[6], "all of its CPUs were started");
    assert_eq!(words[7], this_year().to_string(), "it has a clock");
}

#[test]
fn a_microvm_that_panics_or_cannot_be_had_is_told_with_its_words() {
    let Some(stage) = stage() else { return };
    for (arguments, script, said) in [
        ("machine=microvm", "echo c > /proc/sysrq-trigger", "kernel panicked"),
        ("machine=microvm:iothread=yes", "true", "under KVM only"),
    ] {
        let mut command = stage.bench(&format!("vm run --options accel=tcg:{arguments} -- sh -c"));
        command.arg(script);
        let (status, _, err) = finish(command);
        assert!(status == 125 && err.contains(said), "{arguments}: {status} {err}");
    }
}

#[test]
fn input_goes_in_and_output_comes_out() {
    let Some(stage) = stage() else { return };
    let mut child = stage
        .bench("vm run --options accel=tcg -- wc -c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let written = child.stdin.take().unwrap().write_all(&vec![b'x'; 300_000]);
    let (status, out, err) = wait(child);
    assert_eq!((status, out.trim()), (0, "300000"), "{written:?} {err}");
    stage.assert_clean(pid);
}

#[test]
fn a_kernel_that_panics_is_told_with_its_words() {
    let Some(stage) = stage() else { return };
    let (status, _, err) = vm(&stage, "echo c > /proc/sysrq-trigger");
    assert_eq!(status, 125);
    assert!(err.contains("kernel panicked") && err.contains("sysrq"), "{err}");
}

/// What it has of the host, looked at from both sides while it fills its console.
#[test]
fn nothing_of_the_host_is_shared_but_root_target_and_port() {
    let Some(stage) = stage() else { return };
    let script = "cat /sys/bus/virtio/devices/*/device | sort | uniq -c; ls /sys/class/net /sys/class/virtio-ports /sys/block; \
        (dd if=/dev/zero of=/dev/vda bs=512 count=1 && echo wrote) 2>/dev/null; mount -o remount,rw / 2>/dev/null && echo writable; \
        mount -t 9p -o trans=virtio any /tmp 2>/dev/null && echo shared; mount -t virtiofs any /tmp 2>/dev/null && echo shared; \
        head -c 1500000 /dev/zero > /dev/ttyS0; echo filled; cat";
    let mut command = stage.bench("vm run --options accel=tcg -- sh -c");
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    while !said.ends_with("filled\n") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let ours = format!("bench-{}-", child.id());
    let folder = ["/run", "/dev/shm"].into_iter().find_map(|base| {
        let name = names(Path::new(base)).into_iter().find(|name| name.starts_with(&ours))?;
        Some(Path::new(base).join(name))
    });
    let folder = folder.unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700, "sockets are for root only");
    assert!(folder.join("qmp").exists() && folder.join("agent").exists());
    let console = fs::metadata(folder.join("console.log")).unwrap().len();
    assert!((1..=1 << 20).contains(&console), "{console} bytes of the console are kept");
    let arguments = fs::read_to_string(folder.join("qemu.argv")).unwrap();
    for way in
        ["virtfs", "fsdev", "9p", "vhost-user", "-netdev", "-nic", "-usb", "-monitor", "-vnc", "-gdb", "-hda", "tcp:"]
    {
        assert!(!arguments.contains(way), "{way}: {arguments}");
    }
    drop(child.stdin.take());
    let (status, _, err) = wait(child);
    assert_eq!(status, 0, "{err}");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // One disk (2) and one console (3, the agent's port), by their numbers in the virtio standard.
    let expected = "1 0x0002 1 0x0003 /sys/block: vda /sys/class/net: lo /sys/class/virtio-ports: vport0p1 filled";
    assert_eq!(words, expected, "{err}");
}

/// The guest has pure cgroup v2: our containers in it are tested there as on a host that has nothing else.
#[test]
fn containers_work_on_pure_cgroup_v2() {
    let Some(stage) = stage() else { return };
    let script = "export BENCH_STATE_DIR=/tmp/state; c='/bench container run --rootfs /'; cat /proc/self/cgroup; \
        $c --memory 64MiB --pids 20 --cpus 0.5 --cpuset 0 -- sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max cpu.max cpuset.cpus'; \
        $c --memory 32MiB -- dd if=/dev/zero of=/dev/null bs=64M count=2 2>&1; echo $?; \
        $c --userns -- sh -c 'id -u; cat /proc/self/uid_map'; ls /sys/fs/cgroup | grep -c bench";
    let (_, out, err) = vm(&stage, script);
    let lines: Vec<_> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = ["0::/", "67108864", "20", "50000 100000", "0", "137", "0", "0 100000 65536", "0"];
    assert_eq!(
        lines.iter().filter(|line| !line.contains("illed") && !line.contains("trust its maker")).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>(),
        "{err}"
    );
}

#[test]
fn cpus_that_a_group_above_takes_away_are_not_called_in_force() {
    let Some(stage) = stage() else { return };
    if std::thread::available_parallelism().unwrap().get() < 2 {
        eprintln!("skipped: a guest of one CPU has none to take away");
        return;
    }
    let (status, _, err) = vm(
        &stage,
        "cd /sys/fs/cgroup; sed 's/^/+/; s/ / +/g' cgroup.controllers >cgroup.subtree_control; mkdir half; echo 0 >half/cpuset.cpus; \
        cd half; sed 's/^/+/; s/ / +/g' cgroup.controllers >cgroup.subtree_control; mkdir inner; echo $$ >inner/cgroup.procs; \
        BENCH_STATE_DIR=/tmp/state exec /bench container run --rootfs / --cpuset 0-1 -- true",
    );
    assert!(status == 125 && err.contains("cpuset.cpus.effective reads `0`"), "{status} {err}");
}

#[test]
fn a_disk_is_throttled() {
    let Some(stage) = stage() else { return };
    // 400 reads take four seconds at 100 a second, and without a limit as long as the start of a container on a busy machine.
    let script = "export BENCH_STATE_DIR=/tmp/state; c='/bench container run --rootfs / -v /dev/vda:/dev/vda'; \
        r='dd if=/dev/vda of=/dev/null bs=4k count=400 iflag=direct'; \
        for limit in '' '--io-read-iops /dev/vda:100'; do a=$(cut -d' ' -f1 /proc/uptime); \
        $c $limit -- $r 2>/dev/null || echo failed; b=$(cut -d' ' -f1 /proc/uptime); echo $a $b | awk '{print $2 - $1}'; done";
    let (_, out, err) = vm(&stage, script);
    let seconds: Vec<f64> = out.lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{out}{err}"))).collect();
    assert!((3.4..8.0).contains(&seconds[1]) && seconds[0] < seconds[1] - 2.0, "{seconds:?}");
}

/// Containers share the clock of their kernel: whoever may set it, sets it for all.
#[test]
fn the_clock_is_not_isolated() {
    let Some(stage) = stage() else { return };
    let script = "export BENCH_STATE_DIR=/tmp/state; c='/bench container run --rootfs /'; \
        $c -- date -s 2030-01-01 2>&1 | grep -o 'not permitted'; [ $(date +%Y) = 2030 ] && echo moved; \
        $c --cap-add SYS_TIME -- date -s 2030-01-01 >/dev/null; date +%Y; $c -- date +%Y";
    let (_, out, err) = vm(&stage, script);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines, ["not permitted", "2030", "2030"], "{err}");
    let year = this_year();
    assert_ne!(year, 2030, "the host's clock is as before");
}

fn this_year() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    1970 + now.as_secs() / 31_556_952
}

#[test]
fn what_is_wrong_is_said() {
    let Some(stage) = stage() else { return };
    for (arguments, status, said) in [
        ("vm run --options accel=xen -- true", 125, "auto, kvm, tcg"),
        ("vm run --options accel=tcg:kernel=/bin/true -- true", 125, "not a kernel image"),
        ("vm run --options accel=tcg -- nowhere", 127, "nowhere"),
        ("vm run --env X -- true", 125, "KEY=VALUE"),
    ] {
        let (found, _, err) = stage.run(arguments);
        assert!(found == status && err.contains(said), "{arguments}: {found} {err}");
    }
}
