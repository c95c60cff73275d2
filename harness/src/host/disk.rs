//! The block device beneath a path, and its counters.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::read;

/// Bytes of a sector in `/proc/diskstats` and `/sys/block`, whatever the disk's own sector size (kernel: iostats.rst).
pub const SECTOR_BYTES: u64 = 512;

/// A block device of `/sys/dev/block`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Name: `vda`, `vda1`, `loop0`.
    pub name: String,
    /// Its folder in sysfs.
    sys: PathBuf,
    /// The folders of the devices that count what it moves: its own, or those of the paths of an NVMe multipath device.
    counted: Vec<PathBuf>,
}

/// All block devices, also the hidden ones.
const CLASS: &str = "/sys/class/block";

impl Disk {
    /// The device that a file system's file or a device node stands on; absent where the kernel names none (network and
    /// multi-device file systems).
    pub fn beneath(path: &Path) -> Option<Disk> {
        let metadata = fs::metadata(path).ok()?;
        let number = if metadata.file_type().is_block_device() { metadata.rdev() } else { metadata.dev() };
        let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
        Disk::at(Path::new(&format!("/sys/dev/block/{major}:{minor}")), Path::new(CLASS))
    }

    /// The device of a folder in sysfs, among all devices of a folder such as `/sys/class/block`.
    pub(super) fn at(sys: &Path, class: &Path) -> Option<Disk> {
        let sys = fs::canonicalize(sys).ok()?;
        let name = sys.file_name()?.to_string_lossy().into_owned();
        let mut disk = Disk { name, sys, counted: Vec::new() };
        let whole = disk.whole()?.file_name()?.to_string_lossy().into_owned();
        let paths = names_in(class).into_iter().filter(|name| is_path_of(name, &whole));
        disk.counted = paths.filter_map(|name| fs::canonicalize(class.join(name)).ok()).collect();
        disk.counted.sort();
        if disk.counted.is_empty() {
            disk.counted.push(disk.sys.clone());
        }
        Some(disk)
    }

    /// The folder of the whole disk, also of a partition.
    fn whole(&self) -> Option<&Path> {
        if self.sys.join("partition").exists() { self.sys.parent() } else { Some(&self.sys) }
    }

    /// How many paths lead to an NVMe multipath device; 0 for any other.
    pub fn paths(&self) -> usize {
        self.counted.iter().filter(|folder| **folder != self.sys).count()
    }

    /// The devices that this one is made of: those that it is stacked on, or for a loop device the one that its file lies on.
    fn parts(&self) -> Vec<Disk> {
        let Some(whole) = self.whole() else { return Vec::new() };
        let slaves = names_in(&whole.join("slaves"));
        let file = read(whole.join("loop/backing_file")).and_then(|file| Disk::beneath(Path::new(&file)));
        slaves.iter().filter_map(|name| Disk::at(&Path::new(CLASS).join(name), Path::new(CLASS))).chain(file).collect()
    }

    /// The disks at the bottom of a stack, each once; none where it is no stack.
    pub fn bottom(&self) -> Vec<Disk> {
        let mut bottom: Vec<Disk> = Vec::new();
        let mut todo = self.parts();
        // A loop device on a file on a loop device may go on for long, not for ever.
        for _ in 0..64 {
            let Some(disk) = todo.pop() else { break };
            let parts = disk.parts();
            if parts.is_empty() && !bottom.contains(&disk) {
                bottom.push(disk);
            } else {
                todo.extend(parts);
            }
        }
        bottom
    }

    /// What kind of device it is where it is more than a disk: `LVM`, `CRYPT`, `mpath`, `raid1`, `loop`, `bcache`, `zram`.
    pub fn layer(&self) -> Option<String> {
        let whole = self.whole()?;
        let mapped = read(whole.join("dm/uuid")).map(|uuid| uuid.split('-').next().unwrap_or_default().to_owned());
        let mapped = mapped.map(|kind| if kind.is_empty() { "dm".to_owned() } else { kind });
        let has = |name: &str| whole.join(name).exists().then(|| name.to_owned());
        let zram = || whole.file_name()?.to_str()?.starts_with("zram").then(|| "zram".to_owned());
        mapped.or_else(|| read(whole.join("md/level"))).or_else(|| has("loop")).or_else(|| has("bcache")).or_else(zram)
    }

    /// Serial number: NVMe, virtio and MMC have a file of it, SCSI and ATA a page of vital product data (SPC, page 80h).
    pub fn serial(&self) -> Option<String> {
        let mut named = ["serial", "device/serial"].into_iter().filter_map(|name| self.attribute(name));
        named.find(|serial| !serial.is_empty()).or_else(|| {
            let page = fs::read(self.whole()?.join("device/vpd_pg80")).ok()?;
            let text: String =
                page.get(4..)?.iter().filter(|byte| byte.is_ascii_graphic()).map(|&b| b as char).collect();
            (!text.is_empty()).then_some(text)
        })
    }

    /// Number of the partition; absent for a whole disk.
    pub fn partition(&self) -> Option<String> {
        read(self.sys.join("partition"))
    }

    /// Size of the whole disk in bytes.
    pub fn whole_bytes(&self) -> Option<u64> {
        read(self.whole()?.join("size"))?.parse::<u64>().ok().map(|sectors| sectors * SECTOR_BYTES)
    }

    /// See whether it counts what `action`, a direct read or write, moves. Where it does not, every trial would look as if nothing
    /// had reached the disk: an error where that can be switched on, else a warning, and it is not asked any more.
    pub fn check_counting(&mut self, action: impl FnOnce() -> std::io::Result<()>) -> Result<Option<String>> {
        let moved =
            |disk: &Disk| disk.counters()?.context("it has no counters")?.moved().context("reading its counters");
        let before = moved(self)?;
        action().context("reading or writing it directly")?;
        let counts = moved(self)? != before;
        let whole =
            |folder: &Path| if folder.join("queue").exists() { folder.to_path_buf() } else { folder.join("..") };
        let switches = self.counted.iter().map(|folder| whole(folder).join("queue/iostats"));
        let off: Vec<_> = switches.filter(|file| read(file).as_deref() == Some("0")).collect();
        // Of several paths the next request may go by another one.
        if counts && (off.is_empty() || self.paths() == 0) {
            return Ok(None);
        }
        if let Some(file) = off.iter().find_map(|file| fs::canonicalize(file).ok()) {
            let (name, file) = (&self.name, file.display());
            bail!(
                "the disk {name} counts nothing, since its queue/iostats is 0, so that nobody could tell whether the I/O reached it; \
                 switch it on: `echo 1 > {file}`"
            );
        }
        self.counted.clear();
        Ok(Some(format!(
            "the disk {} counts no I/O: whether the tool's bytes reached it is not checked, and CPU per I/O is absent",
            self.name
        )))
    }

    /// A file in the device's sysfs folder, or for a partition in its disk's (`queue/...`).
    pub fn attribute(&self, name: &str) -> Option<String> {
        read(self.sys.join(name)).or_else(|| read(self.sys.parent()?.join(name)))
    }

    /// Major and minor number of the whole disk, also of a partition: what can be throttled.
    pub fn number(&self) -> Option<(u64, u64)> {
        let text = read(self.whole()?.join("dev"))?;
        let (major, minor) = text.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// The devices that are stacked on this one, by name.
    pub fn holders(&self) -> Vec<String> {
        names_in(&self.sys.join("holders"))
    }

    /// The partitions of this disk, by name.
    pub fn partitions(&self) -> Vec<String> {
        names_in(&self.sys).into_iter().filter(|name| self.sys.join(name).join("partition").exists()).collect()
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> Option<u64> {
        self.attribute("size")?.parse::<u64>().ok().map(|sectors| sectors * SECTOR_BYTES)
    }

    /// Open its counters for many readings; absent where it counts nothing.
    pub fn counters(&self) -> Result<Option<Counters>> {
        let open = |folder: &PathBuf| {
            let path = folder.join("stat");
            File::open(&path).with_context(|| format!("opening {}", path.display()))
        };
        let files = self.counted.iter().map(open).collect::<Result<Vec<_>>>()?;
        Ok((!files.is_empty()).then_some(Counters { files }))
    }
}

/// Whether a device is a path of an NVMe multipath device: `nvme0c1n2` of `nvme0n2`. Before Linux 6.4 only the paths count
/// (kernel: drivers/nvme/host/multipath.c), and each request goes by one of them.
fn is_path_of(name: &str, head: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((subsystem, namespace)) = head.strip_prefix("nvme").and_then(|rest| rest.split_once('n')) else {
        return false;
    };
    let controller = name.strip_prefix("nvme").and_then(|rest| rest.strip_prefix(subsystem)?.strip_prefix('c'));
    let parts = controller.and_then(|rest| rest.split_once('n'));
    is_number(subsystem) && parts.is_some_and(|(controller, of)| is_number(controller) && of == namespace)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The open `stat` files of a device.
pub struct Counters {
    files: Vec<File>,
}

/// Bytes and requests in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// From the device.
    pub read_bytes: u64,
    /// To the device.
    pub written_bytes: u64,
    /// Requests that the device completed; absent where they are not counted.
    pub requests: Option<u64>,
}

impl Moved {
    /// By a device's `stat` file: fields 1 and 5 are reads and writes, 3 and 7 their sectors (kernel: block/stat.rst).
    pub fn parse(stat: &str) -> Option<Moved> {
        let fields: Vec<u64> = stat.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let bytes = |at: usize| Some(fields.get(at)?.saturating_mul(SECTOR_BYTES));
        let requests = fields.first()?.saturating_add(*fields.get(4)?);
        Some(Moved { read_bytes: bytes(2)?, written_bytes: bytes(6)?, requests: Some(requests) })
    }

    /// What was added since `before`.
    pub fn since(self, before: Moved) -> Moved {
        Moved {
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
            requests: self.requests.zip(before.requests).map(|(now, before)| now.saturating_sub(before)),
        }
    }

    /// What two devices moved.
    fn and(self, other: Moved) -> Moved {
        Moved {
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            written_bytes: self.written_bytes.saturating_add(other.written_bytes),
            requests: self.requests.zip(other.requests).map(|(one, other)| one.saturating_add(other)),
        }
    }

    /// Both directions together.
    pub fn bytes(self) -> u64 {
        self.read_bytes.saturating_add(self.written_bytes)
    }
}

impl Counters {
    /// What was moved so far.
    pub fn moved(&self) -> std::io::Result<Moved> {
        let mut sum = Moved { requests: Some(0), ..Moved::default() };
        for file in &self.files {
            let mut buffer = [0; 512];
            let length = file.read_at(&mut buffer, 0)?;
            let moved = Moved::parse(&String::from_utf8_lossy(&buffer[..length]))
                .ok_or_else(|| std::io::Error::other("the device's stat file has another form"))?;
            sum = sum.and(moved);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_read_and_written_are_bytes() {
        let text =
            "    4451      112   345000     2110    91822     3310  1120016    40211        0    51212    44321\n";
        let moved = Moved::parse(text).unwrap();
        assert_eq!((moved.read_bytes, moved.written_bytes), (345_000 * 512, 1_120_016 * 512));
        assert_eq!(moved.requests, Some(4451 + 91822));
        let later = moved.since(Moved { read_bytes: 512, written_bytes: 512, requests: Some(1) });
        assert_eq!((later.bytes(), later.requests), ((345_000 + 1_120_016 - 2) * 512, Some(4451 + 91822 - 1)));
        assert_eq!(moved.since(Moved::default()).requests, None);
        assert_eq!(Moved::parse("1 2 3"), None);
    }

    /// Two paths to an NVMe disk that counts nothing itself, and a SATA disk with a partition.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let stat = |read: u64, written: u64| format!("1 0 {read} 0 2 0 {written} 0 0 0 0\n");
        let files = [
            ("nvme0n1/stat", stat(0, 0)),
            ("nvme0n1/nvme0n1p1/partition", "1".to_owned()),
            ("nvme0n1/nvme0n1p1/stat", stat(0, 0)),
            ("nvme0c0n1/stat", stat(8, 16)),
            ("nvme0c0n1/queue/iostats", "1".to_owned()),
            ("nvme0c1n1/stat", stat(2, 4)),
            ("nvme0c1n1/queue/iostats", "0".to_owned()),
            ("nvme0c1n2/stat", stat(1000, 1000)),
            ("nvme1c0n1/stat", stat(1000, 1000)),
            ("sda/size", "2048".to_owned()),
            ("sda/device/vpd_pg80", "\0\u{7f}\0\u{8}  S1D5NSAF".to_owned()),
            ("sda/queue/iostats", "1".to_owned()),
            ("sda/sda1/partition", "1".to_owned()),
            ("sda/sda1/stat", stat(1, 1)),
        ];
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn disk(root: &tempfile::TempDir, name: &str) -> Disk {
        Disk::at(&root.path().join(name), root.path()).unwrap()
    }

    #[test]
    fn a_disk_with_several_paths_moves_what_all_of_them_moved() {
        let root = tree();
        for name in ["nvme0n1", "nvme0n1/nvme0n1p1"] {
            let disk = disk(&root, name);
            let moved = disk.counters().unwrap().unwrap().moved().unwrap();
            assert_eq!((moved.read_bytes, moved.written_bytes, moved.requests), (10 * 512, 20 * 512, Some(6)));
            assert_eq!(disk.paths(), 2);
        }
        assert_eq!(disk(&root, "sda/sda1").paths(), 0);
        assert!(is_path_of("nvme10c3n12", "nvme10n12"));
        for (name, head) in
            [("nvme0n1", "nvme0n1"), ("nvme0c0n1p1", "nvme0n1"), ("nvme0c0n11", "nvme0n1"), ("sdc0n1", "sdn1")]
        {
            assert!(!is_path_of(name, head), "{name} {head}");
        }
    }

    #[test]
    fn a_disk_that_counts_nothing_is_found_out_before_the_run() {
        let root = tree();
        let count = |name: &str| {
            let stat = root.path().join(name);
            move || fs::write(&stat, "9 0 9 0 9 0 9 0 0 0 0\n")
        };
        assert_eq!(disk(&root, "sda/sda1").check_counting(count("sda/sda1/stat")).unwrap(), None);
        let error = disk(&root, "nvme0n1").check_counting(count("nvme0c0n1/stat")).unwrap_err().to_string();
        assert!(error.contains("queue/iostats is 0") && error.contains("nvme0c1n1/queue/iostats`"), "{error}");
        fs::write(root.path().join("nvme0c1n1/queue/iostats"), "1\n").unwrap();
        assert_eq!(disk(&root, "nvme0n1").check_counting(count("nvme0c1n1/stat")).unwrap(), None);
        // Switched on, as far as it says, and silent all the same.
        let mut silent = disk(&root, "sda/sda1");
        let warning = silent.check_counting(|| Ok(())).unwrap().unwrap();
        assert!(warning.contains("sda1 counts no I/O"), "{warning}");
        assert!(silent.counters().unwrap().is_none());
        fs::write(root.path().join("sda/queue/iostats"), "0\n").unwrap();
        let error = disk(&root, "sda/sda1").check_counting(|| Ok(())).unwrap_err().to_string();
        assert!(error.contains("sda/queue/iostats`"), "{error}");
    }

    #[test]
    fn a_partition_is_of_its_disk() {
        let root = tree();
        let disk = disk(&root, "sda/sda1");
        assert_eq!(disk.serial().as_deref(), Some("S1D5NSAF"));
        assert_eq!((disk.partition().as_deref(), disk.whole_bytes()), (Some("1"), Some(1 << 20)));
        assert_eq!(disk.layer(), None);
    }

    #[test]
    fn a_disk_has_a_number() {
        let Some(disk) = Disk::beneath(Path::new("/")) else {
            eprintln!("skipped: the kernel names no single disk beneath /");
            return;
        };
        let (major, minor) = disk.number().unwrap();
        assert!(Path::new(&format!("/sys/dev/block/{major}:{minor}/queue")).exists(), "{disk:?}");
    }

    #[test]
    fn proc_has_no_disk() {
        assert_eq!(Disk::beneath(Path::new("/proc")), None);
    }
}
