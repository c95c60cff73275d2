//! The block device beneath a path, and its counters.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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
}

impl Disk {
    /// The device that a file system's file or a device node stands on; absent where the kernel names none (network and
    /// multi-device file systems).
    pub fn beneath(path: &Path) -> Option<Disk> {
        let metadata = fs::metadata(path).ok()?;
        let number = if metadata.file_type().is_block_device() { metadata.rdev() } else { metadata.dev() };
        Disk::by_number(number)
    }

    fn by_number(number: u64) -> Option<Disk> {
        let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
        let sys = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        Some(Disk { name: sys.file_name()?.to_string_lossy().into_owned(), sys })
    }

    /// A file in the device's sysfs folder, or for a partition in its disk's (`queue/...`).
    pub fn attribute(&self, name: &str) -> Option<String> {
        read(self.sys.join(name)).or_else(|| read(self.sys.parent()?.join(name)))
    }

    /// Major and minor number of the whole disk, also of a partition: what can be throttled.
    pub fn number(&self) -> Option<(u64, u64)> {
        let folder = if self.sys.join("partition").exists() { self.sys.parent()? } else { &self.sys };
        let text = read(folder.join("dev"))?;
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

    /// Open its counters for many readings.
    pub fn counters(&self) -> Result<Counters> {
        let path = self.sys.join("stat");
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Counters { file })
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The open `stat` file of a device.
pub struct Counters {
    file: File,
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

    /// Both directions together.
    pub fn bytes(self) -> u64 {
        self.read_bytes.saturating_add(self.written_bytes)
    }
}

impl Counters {
    /// What was moved so far.
    pub fn moved(&self) -> std::io::Result<Moved> {
        let mut buffer = [0; 512];
        let length = self.file.read_at(&mut buffer, 0)?;
        Moved::parse(&String::from_utf8_lossy(&buffer[..length]))
            .ok_or_else(|| std::io::Error::other("the device's stat file has another form"))
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
