//! The disk beneath a folder in which a target would be made.

use std::path::Path;

use super::super::disk::Disk;
use super::super::read;
use super::files::chosen;
use super::{Finding, Level, finding, fine_if, unreadable};

/// The io suite's target with room for images and raw output.
const ROOM: u64 = 4 << 30;

pub(super) fn all(folder: &Path) -> Vec<Finding> {
    let disk = Disk::beneath(folder);
    let attribute = |name: &str| disk.as_ref().and_then(|disk| disk.attribute(&format!("queue/{name}")));
    let stat = nix::sys::statvfs::statvfs(folder).ok();
    vec![
        match &disk {
            Some(disk) => finding("disk here", Level::Fine, disk.name.clone(), DISK, ""),
            None => unreadable("disk here", DISK),
        },
        write_cache(attribute("write_cache").as_deref()),
        scheduler(attribute("scheduler").as_deref()),
        accounting(disk.as_ref().and_then(Disk::number), read(BLKIO).as_deref()),
        free_space(stat.map(|stat| stat.blocks_available() * stat.fragment_size())),
        loop_devices(),
    ]
}

const DISK: &str = "CPU per I/O needs a single disk with I/O counters";

fn loop_devices() -> Finding {
    let there = Path::new("/dev/loop-control").exists();
    let value = if there { "/dev/loop-control is there" } else { "there is no /dev/loop-control" };
    const WHY: &str = "the work folder of commands is an image on a loop device";
    finding("loop devices", fine_if(there), value, WHY, "load the module loop")
}

fn write_cache(text: Option<&str>) -> Finding {
    const WHY: &str = "the disk acknowledges writes from its cache until it is full, so short trials measure the cache";
    match text {
        None => unreadable("write cache", WHY),
        Some("write through") => finding("write cache", Level::Fine, "write through", WHY, ""),
        Some(text) => finding("write cache", Level::Matters, text, WHY, "for sustained writes use --profile paper"),
    }
}

fn scheduler(text: Option<&str>) -> Finding {
    const WHY: &str =
        "it delays and reorders I/O, which costs CPU time; a guest's disk has its own scheduler in addition";
    match text.map(chosen) {
        None => unreadable("i/o scheduler", WHY),
        Some(name) => {
            let level = fine_if(name == "none");
            finding("i/o scheduler", level, name, WHY, "`echo none > /sys/block/DISK/queue/scheduler` for fast disks")
        }
    }
}

/// What all groups of cgroup v1 moved, disk by disk.
const BLKIO: &str = "/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive";

/// Without v1's controller it is v2's, which always counts.
fn accounting(disk: Option<(u64, u64)>, blkio: Option<&str>) -> Finding {
    const WHY: &str = "a trial's bytes are compared with those that its cgroup is accounted for; cgroup v1 counts a disk's only after \
                       some limit of I/O was set on it since the machine was booted";
    const HOW: &str =
        "`bench container run --io-read-iops /dev/DISK:1000000000 -- true` starts the counters, until the next boot";
    let Some((major, minor)) = disk else { return unreadable("i/o by cgroup", WHY) };
    let counts = blkio.is_none_or(|text| text.lines().any(|line| line.starts_with(&format!("{major}:{minor} "))));
    finding("i/o by cgroup", fine_if(counts), if counts { "counted" } else { "not counted yet" }, WHY, HOW)
}

fn free_space(bytes: Option<u64>) -> Finding {
    const WHY: &str = "the whole target is written, and a nearly full file system fragments it";
    match bytes {
        None => unreadable("free space here", WHY),
        Some(bytes) => {
            let advice = "free some space, or choose another place with --target";
            finding("free space here", fine_if(bytes >= ROOM), crate::output::bytes(bytes), WHY, advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_disk_is_understood() {
        let said = |found: Finding| (found.value, found.level);
        assert_eq!(said(write_cache(Some("write back"))), ("write back".into(), Level::Matters));
        assert_eq!(said(write_cache(Some("write through"))), ("write through".into(), Level::Fine));
        assert_eq!(said(write_cache(None)), ("not readable here".into(), Level::Unreadable));
        assert_eq!(said(scheduler(Some("none [mq-deadline] kyber bfq"))), ("mq-deadline".into(), Level::Matters));
        assert_eq!(said(scheduler(Some("[none] mq-deadline"))), ("none".into(), Level::Fine));
        let v1 = "254:0 Read 20480\n254:0 Total 20480\nTotal 20480\n";
        assert_eq!(said(accounting(Some((254, 0)), Some(v1))), ("counted".into(), Level::Fine));
        assert_eq!(said(accounting(Some((4, 0)), Some(v1))), ("not counted yet".into(), Level::Matters));
        assert_eq!(said(accounting(Some((254, 0)), None)), ("counted".into(), Level::Fine));
        assert_eq!(said(accounting(None, None)), ("not readable here".into(), Level::Unreadable));
        assert_eq!(said(free_space(Some(8 << 30))), ("8 GiB".into(), Level::Fine));
        assert_eq!(said(free_space(Some(1 << 30))), ("1 GiB".into(), Level::Matters));
    }
}
