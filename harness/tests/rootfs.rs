//! `bench container run` with root folders and volumes as people have them.

mod support;

use std::fs;

use support::{Loop, busybox_root, finish, stage};

/// A read-only mount does not keep anybody from writing to a block device.
#[test]
fn a_block_device_is_given_as_writable_or_not_at_all() {
    let Some(stage) = stage() else { return };
    let device = Loop::on(&stage.path().join("disk"));
    let write = "echo kept >/disk";
    let (status, _, err) = stage.container(&format!("-v {}:/disk:ro", device.0), write);
    assert!(status == 125 && err.contains("writable behind a read-only mount") && err.contains("--setro"), "{err}");
    assert_eq!(fs::read(&device.0).unwrap()[..4], [0; 4]);
    let (status, _, err) = stage.container(&format!("-v {}:/disk", device.0), write);
    assert_eq!(status, 0, "{err}");
    assert_eq!(fs::read(&device.0).unwrap()[..4], *b"kept");
    let set = |how: &str| std::process::Command::new("blockdev").arg(how).arg(&device.0).status().unwrap().success();
    assert!(set("--setro"));
    let (status, _, err) = stage.container(&format!("-v {}:/disk", device.0), write);
    // A loop device stays what it is for whoever has it next.
    assert!(set("--setrw"));
    assert!(status != 0 && err.contains("not permitted"), "{status} {err}");
}

/// Whatever was mounted before, of the host or of the container's own.
#[test]
fn a_volume_shows_what_the_host_has_there() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    let given = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    fs::write(&given, "here").unwrap();
    let marker = given.path().display().to_string();
    for (volume, seen) in [
        ("/tmp:/mnt", marker.replacen("/tmp", "/mnt", 1)),
        ("/:/mnt", format!("/mnt{marker}")),
        ("/:/tmp/host:ro", format!("/tmp/host{marker}")),
    ] {
        for root in [String::new(), format!("--rootfs {}", root.display())] {
            let (_, out, err) = stage.container(&format!("{root} -v {volume}"), &format!("cat {seen}"));
            assert_eq!(out, "here", "{root} -v {volume}: {err}");
        }
    }
    let (status, _, err) = stage.container(&format!("-v {marker}:/mnt/.."), "true");
    assert!(status == 125 && err.contains("the root itself"), "{status} {err}");
    let (status, _, err) = stage.container(&format!("-v {marker}:/bin"), "true");
    assert!(status == 125 && err.contains("no folder") && err.contains("/bin of the root folder"), "{status} {err}");
}

/// Also where the layer that has missing places is below.
#[test]
fn nothing_is_left_above_the_root() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    for arguments in ["".to_owned(), "--userns".to_owned(), format!("--rootfs {}", root.display())] {
        let script = "grep -c '^[^ ]* [^ ]* [^ ]* [^ ]* / ' /proc/self/mountinfo; cd /..; ls -d boot root home 2>/dev/null; true";
        let (_, out, err) = stage.container(&arguments, script);
        assert_eq!(out, "1\n", "{arguments}: {err}");
    }
}

/// A user namespace may clear no flag of a mount that it was given; and nobody else wants to.
#[test]
fn a_root_keeps_the_flags_of_its_mount() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    let flags = [
        "noatime",
        "noatime,nodiratime",
        "nodiratime,relatime",
        "nodiratime,strictatime",
        "nosuid,noatime",
        "ro,nodiratime",
    ];
    for flags in flags {
        let mounted = stage.path().join("mounted");
        fs::create_dir_all(&mounted).unwrap();
        let bench = env!("CARGO_BIN_EXE_bench");
        let script = format!(
            "mount -t tmpfs -o mode=755 none {0} && cp -a {1}/bin {0} && mkdir {0}/proc {0}/sys {0}/dev {0}/tmp {0}/mnt && \
             mount -o remount,bind,{flags} {0} && \
             exec {bench} container run --rootfs {0} --userns -v {0}:/mnt:ro -- cat /proc/self/mountinfo",
            mounted.display(),
            root.display()
        );
        for is_old in [false, true] {
            let mut command = stage.program("unshare".as_ref(), "--mount sh -c");
            command.arg(&script);
            if is_old {
                without_mount_setattr(&mut command);
            }
            let (status, out, err) = finish(command);
            assert_eq!(status, 0, "{flags}, before Linux 5.12: {is_old}: {err}");
            for (point, own) in [("/", "nodev"), ("/mnt", "nosuid,nodev")] {
                let is_it = |line: &&str| line.split(' ').nth(4) == Some(point);
                let has = out.lines().find(is_it).and_then(|line| line.split(' ').nth(5)).unwrap_or_default();
                let wanted = flags.split(',').chain(own.split(',')).chain(["ro"]).filter(|flag| *flag != "strictatime");
                let absent: Vec<_> = wanted.filter(|flag| !has.split(',').any(|known| known == *flag)).collect();
                assert!(absent.is_empty(), "{flags}, before Linux 5.12: {is_old}: {point} has {has}, not {absent:?}");
            }
        }
    }
}

/// As on a kernel before Linux 5.12.
fn without_mount_setattr(command: &mut std::process::Command) {
    use nix::libc;
    let line = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_mount_setattr as u32),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let hook = move || {
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the filter lives through the call, which copies it.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the hook makes one system call and allocates nothing.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, hook) };
}

#[test]
fn who_trusts_a_root_folder_is_told_so() {
    let Some(stage) = stage() else { return };
    let root = busybox_root(&stage);
    for (arguments, is_told) in [("", true), ("--userns", false)] {
        let (status, _, err) = stage.container(&format!("--rootfs {} {arguments}", root.display()), "true");
        assert!(status == 0 && err.contains("trust its maker") == is_told, "{arguments}: {err}");
    }
    assert_eq!(stage.container("", "true").2, "");
}

/// The names of folders on the standard descriptors, and of those that a careless caller left open.
#[test]
fn no_descriptor_leads_to_the_host() {
    let Some(stage) = stage() else { return };
    let mut command = stage.shell("$0 container run -w /proc/self/fd/7 -- true 7</");
    command.arg(env!("CARGO_BIN_EXE_bench"));
    let (status, _, err) = finish(command);
    assert!(status == 125 && err.contains("/proc/self/fd/7"), "{status} {err}");
    // A folder is no stream, and what is no stream is not handed in.
    let mut command = stage.shell("$0 container run -- readlink /proc/self/fd/0 </");
    command.arg(env!("CARGO_BIN_EXE_bench"));
    let (status, out, err) = finish(command);
    assert!(status == 0 && out == "/dev/null\n", "{status} {out}{err}");
    let mut command = stage.shell("$0 container run -i -- true </");
    command.arg(env!("CARGO_BIN_EXE_bench"));
    let (status, _, err) = finish(command);
    assert!(status == 125 && err.contains("Is a directory"), "{status} {err}");
}
