//! The storage under test: what may be used, and what is refused, with the reason.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench_results::record::Target;
use nix::sys::statfs::{FsType, statfs};
use nix::unistd::geteuid;

use super::disk::Disk;
use super::read;
use crate::caller::Hands;
use crate::ledger::Ledger;
use crate::{pinned, trusted};

/// Sizes are multiples of this, so that every block size fits.
pub const GRAIN_BYTES: u64 = 1 << 20;
/// Left free beside the target: a full disk measures the file system's despair.
const RESERVE_BYTES: u64 = 256 << 20;

/// File systems that are memory: some accept `O_DIRECT`, and none is storage (linux/magic.h).
const MEMORY: &[(i64, &str)] = &[
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x6265_6570, "configfs"),
    (0x6264_6576, "bdevfs"),
    (0x9584_58f6, "hugetlbfs"),
];
/// File systems that write each block to a new place.
const COPY_ON_WRITE: &[(i64, &str)] = &[(0x9123_683e, "btrfs"), (0x2fc1_2fc1, "zfs"), (0xca45_1a4e, "bcachefs")];
const OTHERS: &[(i64, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0xf2f5_2010, "f2fs"),
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
];

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// `--target`; absent: a new file in the run's folder.
    pub path: Option<PathBuf>,
    /// `--size` or the profile's.
    pub size_bytes: u64,
    /// True when `size_bytes` was asked for; a device is otherwise used up to the profile's size.
    pub destroy_data: bool,
}

/// A target that can be used, and what the reader of the report should know about it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// For the record.
    pub target: Target,
    /// The device beneath, whose counters tell how many bytes really moved.
    pub disk: Option<Disk>,
    /// True when the file does not exist yet and is ours to make and to remove.
    pub is_ours: bool,
    /// With whose rights it is opened.
    hands: Hands,
    /// Where it is opened from then on, if not by its name.
    pinned: Option<PathBuf>,
    /// Warnings for the report.
    pub warnings: Vec<String>,
}

impl Checked {
    /// The path by which it is opened, on this machine.
    pub fn path(&self) -> &Path {
        self.pinned.as_deref().unwrap_or(Path::new(&self.target.path))
    }

    /// Make it if it is ours, an empty file of the right length, so that guests can open it; and where others could put another file
    /// in its place, keep its path.
    pub fn prepare(self, ledger: &Ledger) -> Result<Checked> {
        if self.target.is_device {
            return Ok(self);
        }
        let path = Path::new(&self.target.path);
        let length = self.target.size_bytes;
        let file = match (self.is_ours, path.parent(), path.file_name()) {
            (true, Some(folder), Some(name)) => ledger.create_file(&self.hands.folder(folder)?, name)?.1,
            _ => self.hands.act(|| open_existing(path))?,
        };
        file.metadata()
            .and_then(|found| if found.len() < length { file.set_len(length) } else { Ok(()) })
            .with_context(|| format!("making {} {length} bytes long", path.display()))?;
        let pinned = self.hands.whose().map(|_| pinned::pin(&file)).transpose()?;
        Ok(Checked { pinned, ..self })
    }
}

/// A file, whatever was at its name when it was checked.
fn open_existing(path: &Path) -> Result<File> {
    let doing = || format!("opening the target {}", path.display());
    // A pipe would keep who opens it waiting.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).with_context(doing)?;
    ensure!(file.metadata().with_context(doing)?.is_file(), "{}: it is no file any more", doing());
    Ok(file)
}

/// Check the target, without changing anything; `default` is where a target of our own would stand.
pub fn check(wish: &Wish, default: &Path) -> Result<Checked> {
    let path = wish.path.as_deref().unwrap_or(default);
    let doing = || format!("checking the target {}", path.display());
    let hands = Hands::in_folder(path)?;
    let found = hands.act(|| match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(doing),
    })?;
    match found {
        Some(found) if found.file_type().is_block_device() => check_device(path, wish, hands).with_context(doing),
        Some(found) if found.is_file() => {
            hands.act(|| check_existing(path, wish, found.len(), hands)).with_context(doing)
        }
        Some(found) if found.is_dir() => bail!("{}: it is a folder; name a file in it, or a block device", doing()),
        Some(_) => bail!("{}: it is neither a file nor a block device", doing()),
        None => hands.act(|| check_new(path, wish, hands)).with_context(doing),
    }
}

fn check_new(path: &Path, wish: &Wish, hands: Hands) -> Result<Checked> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    ensure!(parent.is_dir(), "the folder {} does not exist; create it first", parent.display());
    let warnings = check_file_system(parent, wish.size_bytes)?;
    check_direct_io(parent)?;
    finish(path, parent, wish.size_bytes, (true, hands), warnings)
}

fn check_existing(path: &Path, wish: &Wish, length: u64, hands: Hands) -> Result<Checked> {
    ensure!(
        wish.destroy_data,
        "this file exists and its content would be overwritten; add --destroy-data if that is what you want"
    );
    let missing = wish.size_bytes.saturating_sub(length);
    let warnings = check_file_system(path, missing)?;
    let direct = OpenOptions::new().read(true).custom_flags(libc_direct()).open(path);
    direct.context("opening it for direct I/O, which bypasses the page cache")?;
    finish(path, path, wish.size_bytes, (false, hands), warnings)
}

fn check_device(path: &Path, wish: &Wish, hands: Hands) -> Result<Checked> {
    // From here on by the path of its node, with root's rights.
    let path = &hands.act(|| Ok(fs::canonicalize(path)?))?;
    // Who may write to the node is the machine's business; who may put another in its place is not.
    if geteuid().is_root()
        && let Err(stranger) = trusted::way_to(path.parent().unwrap_or(path))?
    {
        bail!("{stranger}, so that it could become another device at any time; name the device by its node in /dev");
    }
    let mut disk = Disk::beneath(path).context("sysfs does not know this block device")?;
    if let Some(mount) = mounted(&disk.name) {
        bail!("the device is mounted on {mount}; unmount it, or name a file on it");
    }
    let holders = disk.holders();
    ensure!(holders.is_empty(), "the device is in use by {} (RAID, LVM, or encryption)", holders.join(", "));
    let partitions = disk.partitions();
    ensure!(partitions.is_empty(), "the device has partitions ({}); name an empty one of them", partitions.join(", "));
    ensure!(!is_swap(path), "the device is swap space; `swapoff {}` first", path.display());
    ensure!(
        wish.destroy_data,
        "everything on this block device would be overwritten; add --destroy-data if that is what you want"
    );
    let size = disk.size_bytes().context("sysfs does not tell the size of this block device")?;
    ensure!(
        size >= wish.size_bytes,
        "the device has {size} bytes, fewer than the {} to be driven; give a smaller --size",
        wish.size_bytes
    );
    let exclusive = OpenOptions::new().read(true).write(true).custom_flags(libc_direct() | libc_exclusive()).open(path);
    let exclusive = exclusive.context("opening it alone and for direct I/O (is something else using it?)")?;
    let warnings = disk.check_counting(|| exclusive.read_exact_at(&mut Sectors::new().0, 0))?.into_iter().collect();
    let target = Target {
        path: path.display().to_string(),
        is_device: true,
        size_bytes: wish.size_bytes,
        file_system: None,
        disk: Some(disk.name.clone()),
    };
    Ok(Checked { target, disk: Some(disk), is_ours: false, hands, pinned: None, warnings })
}

fn finish(
    path: &Path,
    existing: &Path,
    size_bytes: u64,
    (is_ours, hands): (bool, Hands),
    mut warnings: Vec<String>,
) -> Result<Checked> {
    let mut disk = Disk::beneath(existing);
    match &mut disk {
        Some(disk) => warnings.extend(check_counting(disk, existing)?),
        None => warnings.push(
            "the file system does not name one disk beneath it, so that CPU per I/O and device bytes are absent; \
             use a file system on one block device to have them"
                .to_owned(),
        ),
    }
    let path = std::path::absolute(path)?;
    let target = Target {
        path: path.display().to_string(),
        is_device: false,
        size_bytes,
        file_system: Some(file_system_name(statfs(existing)?.filesystem_type())),
        disk: disk.as_ref().map(|disk| disk.name.clone()),
    };
    Ok(Checked { target, disk, is_ours, hands, pinned: None, warnings })
}

/// See whether the disk beneath a file or folder counts, by a nameless file beside it.
fn check_counting(disk: &mut Disk, existing: &Path) -> Result<Option<String>> {
    let folder = if existing.is_dir() { Some(existing) } else { existing.parent() };
    // A file may be mounted from elsewhere.
    let beside = folder.filter(|folder| Disk::beneath(folder).as_ref() == Some(disk));
    let Some(folder) = beside else { return Ok(None) };
    let probe = tempfile::tempfile_in(folder).with_context(|| format!("writing to {}", folder.display()))?;
    let direct = reopen_directly(&probe, OpenOptions::new().read(true).write(true))?;
    disk.check_counting(|| direct.write_all_at(&Sectors::new().0, 0))
}

/// Memory that can be read and written directly on a disk with blocks of up to 64 KiB.
#[repr(align(65536))]
struct Sectors([u8; 65536]);

impl Sectors {
    fn new() -> Box<Sectors> {
        Box::new(Sectors([0x5a; 65536]))
    }
}

/// What holds a folder or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type.
    kind: FsType,
    /// The one disk beneath it, where there is one.
    disk: Option<Disk>,
    /// True when it is memory.
    pub is_memory: bool,
    free_bytes: u64,
}

impl std::fmt::Display for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on = match (&self.disk, self.is_memory) {
            (_, true) => " (memory, not storage)".to_owned(),
            (Some(disk), false) => format!(" ({})", disk.name),
            (None, false) => String::new(),
        };
        write!(f, "{}{on}", file_system_name(self.kind))
    }
}

impl FileSystem {
    /// Of an existing path.
    pub fn of(path: &Path) -> Result<FileSystem> {
        let stat = statfs(path).with_context(|| format!("asking for the file system of {}", path.display()))?;
        let kind = stat.filesystem_type();
        Ok(FileSystem {
            kind,
            disk: Disk::beneath(path),
            is_memory: named(MEMORY, kind).is_some(),
            free_bytes: stat.blocks_available() * stat.block_size() as u64,
        })
    }

    /// Bytes of the disk's logical blocks; 0 where there is no disk that says so.
    pub fn block_bytes(&self) -> u32 {
        let text = self.disk.as_ref().and_then(|disk| disk.attribute("queue/logical_block_size"));
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Refuse too little space.
    pub fn check_space(&self, needed_bytes: u64) -> Result<()> {
        ensure!(
            self.free_bytes >= needed_bytes.saturating_add(RESERVE_BYTES),
            "{} MiB are free, and {} MiB are needed ({} MiB of it as a reserve); free some, or give a smaller --size",
            self.free_bytes >> 20,
            needed_bytes.saturating_add(RESERVE_BYTES) >> 20,
            RESERVE_BYTES >> 20
        );
        Ok(())
    }
}

/// Refuse memory and too little space; warn of copy-on-write.
fn check_file_system(path: &Path, needed_bytes: u64) -> Result<Vec<String>> {
    let file_system = FileSystem::of(path)?;
    let kind = file_system.kind;
    if let Some(name) = named(MEMORY, kind) {
        bail!("its file system is {name}, which is memory, not storage; give --out or --target on a disk");
    }
    file_system.check_space(needed_bytes)?;
    Ok(named(COPY_ON_WRITE, kind)
        .map(|name| {
            format!(
                "the target is on {name}, which copies on write: each overwritten block moves, and what is measured is \
                 the file system as much as the disk; a block device or ext4/xfs measures the disk"
            )
        })
        .into_iter()
        .collect())
}

fn check_direct_io(folder: &Path) -> Result<()> {
    // Without a name: nothing stays, however this ends.
    let probe = tempfile::tempfile_in(folder).with_context(|| format!("writing to {}", folder.display()))?;
    let direct = reopen_directly(&probe, OpenOptions::new().read(true).write(true));
    direct.map(drop).context("its file system refuses direct I/O, without which the page cache would be measured")
}

/// Open a file without a name once more, past the page cache.
pub(super) fn reopen_directly(file: &File, options: &mut OpenOptions) -> std::io::Result<File> {
    options.custom_flags(libc_direct()).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn libc_direct() -> i32 {
    rustix::fs::OFlags::DIRECT.bits() as i32
}

fn libc_exclusive() -> i32 {
    rustix::fs::OFlags::EXCL.bits() as i32
}

fn named(table: &[(i64, &'static str)], kind: FsType) -> Option<&'static str> {
    table.iter().find(|(magic, _)| *magic == kind.0).map(|(_, name)| *name)
}

fn file_system_name(kind: FsType) -> String {
    let known = named(OTHERS, kind).or_else(|| named(COPY_ON_WRITE, kind)).or_else(|| named(MEMORY, kind));
    known.map_or_else(|| format!("{:#x}", kind.0), str::to_owned)
}

/// Where the device is mounted, by its number in mountinfo (proc(5)).
fn mounted(name: &str) -> Option<String> {
    let number = read(format!("/sys/class/block/{name}/dev"))?;
    read("/proc/self/mountinfo")?.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields.get(2) == Some(&number.as_str())).then(|| fields.get(4).map(|&point| point.to_owned()))?
    })
}

fn is_swap(path: &Path) -> bool {
    let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let swaps = read("/proc/swaps").unwrap_or_default();
    swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).any(|swap| Path::new(swap) == canonical)
}

/// A size that can be used, or the nearest that can.
pub fn check_size(size_bytes: u64) -> Result<u64, String> {
    if size_bytes.is_multiple_of(GRAIN_BYTES) && size_bytes > 0 {
        return Ok(size_bytes);
    }
    let nearest = ((size_bytes + GRAIN_BYTES / 2) / GRAIN_BYTES).max(1);
    Err(format!("{size_bytes} bytes is not a multiple of 1 MiB; the nearest is {nearest}MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(path: Option<&Path>) -> Wish {
        Wish { path: path.map(Path::to_path_buf), size_bytes: 64 << 20, destroy_data: false }
    }

    #[test]
    fn memory_is_refused_by_type() {
        let error = check(&wish(Some(Path::new("/dev/shm/target"))), Path::new("/")).unwrap_err();
        assert!(format!("{error:#}").contains("tmpfs, which is memory"), "{error:#}");
    }

    #[test]
    fn an_existing_file_needs_consent() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = folder.path().join("mine");
        fs::write(&path, "precious").unwrap();
        let error = check(&wish(Some(&path)), Path::new("/")).unwrap_err();
        assert!(format!("{error:#}").contains("--destroy-data"), "{error:#}");
        let checked = check(&Wish { destroy_data: true, ..wish(Some(&path)) }, Path::new("/")).unwrap();
        assert!(!checked.is_ours);
    }

    #[test]
    fn a_new_file_on_a_disk_is_ours() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let checked = check(&wish(None), &folder.path().join("target")).unwrap();
        assert!(checked.is_ours && !folder.path().join("target").exists());
    }

    #[test]
    fn too_much_is_refused_with_figures() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let wish = Wish { size_bytes: 1 << 60, ..wish(None) };
        let error = check(&wish, &folder.path().join("target")).unwrap_err();
        assert!(format!("{error:#}").contains("MiB are free"), "{error:#}");
    }

    #[test]
    fn the_nearest_size_is_named() {
        assert_eq!(check_size(3 << 20), Ok(3 << 20));
        assert!(check_size((3 << 20) + 5).unwrap_err().contains("3MiB"));
        assert!(check_size(100).unwrap_err().contains("1MiB"));
    }
}
