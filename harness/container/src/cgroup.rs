//! Control groups on v1, hybrid and v2 hosts: made, limited and read.
//!
//! cgroups-rs makes the folders and writes the limits, in this file only. It hides failures, so that every limit is read back
//! here, and usage is read by ourselves (docs/adr/0001-cgroups-rs.md).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Controller, MaxValue};

use crate::hierarchy::{Hierarchy, Layout, layout};
use crate::kill::remove_paths;

/// The scheduler's period for CPU quotas, in microseconds (the kernel's default).
const PERIOD_US: u64 = 100_000;
/// Memory limits are multiples of it.
const PAGE: u64 = 4096;

/// A group could not be made, limited, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing is mounted.
    #[error("no cgroup file system is mounted (see `mount -t cgroup2`), so that nothing can be limited or accounted")]
    NotMounted,
    /// The kernel lacks a controller, or it is not available at our place.
    #[error("the cgroup controller `{0}` is not available here")]
    NoController(String),
    /// A limit could not be written.
    #[error("setting {what} to {value} in {group}: {reason}")]
    Set {
        /// What is limited.
        what: &'static str,
        /// To what.
        value: String,
        /// Where.
        group: String,
        /// Why not.
        reason: String,
    },
    /// A limit was written, but is not in force.
    #[error("{file} reads `{found}` after {what} was set to {value}: the limit is not in force")]
    NotInForce {
        /// What is limited.
        what: &'static str,
        /// To what.
        value: String,
        /// The file.
        file: String,
        /// What it holds.
        found: String,
    },
    /// A file or folder of the cgroup file system.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CgroupError {
    let path = path.display().to_string();
    move |source| CgroupError::Io { doing, path, source }
}

/// Limits of a group; what is absent is not limited.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// CPUs as a list: `0-1,4`.
    pub cpus: Option<String>,
    /// CPU time per time: 1.5 is one and a half CPUs.
    pub cpu_quota: Option<f64>,
    /// Memory in bytes; rounded down to a page by the kernel.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Throttles of block devices.
    pub io: Vec<IoLimit>,
}

/// Throttle of one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoLimit {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Reads per second.
    pub read_iops: Option<u64>,
    /// Writes per second.
    pub write_iops: Option<u64>,
    /// Bytes read per second.
    pub read_bytes_per_s: Option<u64>,
    /// Bytes written per second.
    pub write_bytes_per_s: Option<u64>,
}

/// What a group has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in nanoseconds (v1 `cpuacct.usage`, v2 `cpu.stat`).
    pub cpu_ns: u64,
    /// Memory held now, in bytes.
    pub memory_bytes: u64,
}

/// A limit that was read back when it was set.
#[derive(Debug, Clone)]
struct InForce {
    what: &'static str,
    file: PathBuf,
    text: String,
}

/// A control group of ours.
#[derive(Debug)]
pub struct Cgroup {
    place: Place,
    paths: Vec<PathBuf>,
    in_force: Vec<InForce>,
}

/// The folder of each controller.
#[derive(Debug, Clone)]
struct Place {
    v2: bool,
    folders: Vec<(Vec<String>, PathBuf)>,
    /// Mount point and the group above ours; only on v2.
    above: Option<(PathBuf, PathBuf)>,
}

impl Place {
    fn find(name: &str) -> Result<Place, CgroupError> {
        let read = |path: &str| fs::read_to_string(path).map_err(io("reading", Path::new(path)));
        match layout(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?).ok_or(CgroupError::NotMounted)? {
            Layout::V1(hierarchies) => {
                let folder = |h: Hierarchy| (h.controllers, h.own.join(name));
                Ok(Place { v2: false, folders: hierarchies.into_iter().map(folder).collect(), above: None })
            }
            Layout::V2 { mount, own } => {
                let above = parent_v2(&mount, &own);
                Ok(Place { v2: true, folders: vec![(Vec::new(), above.join(name))], above: Some((mount, above)) })
            }
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|(_, folder)| folder.clone()).collect()
    }

    /// The folder of a controller, by its v1 name.
    fn folder(&self, controller: &str) -> Result<&Path, CgroupError> {
        let has = |(names, _): &&(Vec<String>, PathBuf)| self.v2 || names.iter().any(|name| name == controller);
        let found = self.folders.iter().find(has).map(|(_, folder)| folder.as_path());
        found.ok_or_else(|| CgroupError::NoController(controller.to_owned()))
    }
}

/// Controllers that a v2 group of ours needs from the group above it.
const V2_CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "memory", "pids", "io"];

/// The group above ours on v2: our own place or the nearest above it that hands down all controllers; where none does, the
/// nearest that can be made to. A group with processes cannot hand down controllers, and ours has at least this process.
fn parent_v2(mount: &Path, own: &Path) -> PathBuf {
    let candidates: Vec<_> =
        own.ancestors().take_while(|path| path.starts_with(mount)).map(Path::to_path_buf).collect();
    let hands_down = |path: &&PathBuf| missing_v2(path).is_empty();
    let can = |path: &&PathBuf| {
        is_root_v2(path) || fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|text| text.is_empty())
    };
    let found = candidates.iter().find(hands_down).or_else(|| candidates.iter().find(can));
    found.cloned().unwrap_or_else(|| mount.to_path_buf())
}

fn is_root_v2(path: &Path) -> bool {
    !path.join("cgroup.type").exists()
}

fn missing_v2(path: &Path) -> Vec<&'static str> {
    let words = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    let (has, down) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let in_words = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    V2_CONTROLLERS.into_iter().filter(|name| in_words(&has, name) && !in_words(&down, name)).collect()
}

impl Cgroup {
    /// The folders that [`Cgroup::create`] will make.
    pub fn plan(name: &str) -> Result<Vec<PathBuf>, CgroupError> {
        Ok(Place::find(name)?.paths())
    }

    /// Make the group and set its limits; each is read back. On v2 controllers may have to be enabled on the way down; they
    /// stay enabled, which sets no limit: to disable them would take away what others set there meanwhile.
    pub fn create(name: &str, limits: &Limits) -> Result<Cgroup, CgroupError> {
        let place = Place::find(name)?;
        if let Some((mount, above)) = &place.above {
            enable_v2(mount, above)?;
        }
        let paths = place.paths();
        for path in &paths {
            // Not `create_dir_all`: a group of this name that exists already is not ours.
            fs::create_dir(path).map_err(io("creating the cgroup", path))?;
        }
        let mut group = Cgroup { place, paths, in_force: Vec::new() };
        match group.limit(limits) {
            Ok(()) => Ok(group),
            Err(e) => {
                // The reason is worth more than a second failure while tidying up; the ledger still has the paths.
                drop(remove_paths(&group.paths));
                Err(e)
            }
        }
    }

    /// Its folders, one per hierarchy.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn limit(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        self.limit_cpus(limits)?;
        self.limit_memory(limits)?;
        if let Some(pids) = limits.pids {
            let controller: PidController = self.controller("pids", PidController::new)?;
            let done = controller.set_pid_max(MaxValue::Value(pids as i64));
            self.took("pids", "pids", "pids.max", &pids.to_string(), done, |text| text == pids.to_string())?;
        }
        limits.io.iter().try_for_each(|limit| self.limit_io(limit))
    }

    fn limit_cpus(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if self.place.v2 && limits.cpus.is_none() && limits.cpu_quota.is_none() {
            return Ok(());
        }
        // On v1 a cpuset must be filled before a process can join it; `create` inherits it from above.
        let cpuset: CpuSetController = self.controller("cpuset", CpuSetController::new)?;
        cpuset.create().map_err(|e| set_error("cpuset", "its parent's", cpuset.path(), &e))?;
        if let Some(cpus) = &limits.cpus {
            let done = cpuset.set_cpus(cpus);
            // v2 takes any list, and holds to what groups above leave of it (kernel: cgroup-v2, "Cpuset").
            let file = if self.place.v2 { "cpuset.cpus.effective" } else { "cpuset.cpus" };
            let same = |text: &str| crate::sys::cpu_list(text) == crate::sys::cpu_list(cpus);
            self.took("cpuset", "cpus", file, cpus, done, same)?;
        }
        if let Some(quota) = limits.cpu_quota {
            let us = (quota * PERIOD_US as f64).round() as i64;
            let controller: CpuController = self.controller("cpu", CpuController::new)?;
            let done = controller.set_cfs_quota_and_period(Some(us), Some(PERIOD_US));
            let file = if self.place.v2 { "cpu.max" } else { "cpu.cfs_quota_us" };
            let same = |text: &str| text.split_whitespace().next() == Some(&us.to_string());
            self.took("cpu", "CPU quota", file, &format!("{quota} CPUs"), done, same)?;
        }
        Ok(())
    }

    fn limit_memory(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        let Some(bytes) = limits.memory_bytes else { return Ok(()) };
        let controller: MemController = self.controller("memory", MemController::new)?;
        let done = controller.set_limit(bytes as i64);
        let file = if self.place.v2 { "memory.max" } else { "memory.limit_in_bytes" };
        let expected = (bytes / PAGE * PAGE).to_string();
        self.took("memory", "memory", file, &format!("{bytes} bytes"), done, |text| text == expected)
    }

    fn limit_io(&mut self, limit: &IoLimit) -> Result<(), CgroupError> {
        let (major, minor) = (limit.major, limit.minor);
        let controller: BlkIoController = self.controller("blkio", BlkIoController::new)?;
        let wishes: [(&str, &str, Option<u64>, SetIo); 4] = [
            ("riops", "read_iops_device", limit.read_iops, BlkIoController::throttle_read_iops_for_device),
            ("wiops", "write_iops_device", limit.write_iops, BlkIoController::throttle_write_iops_for_device),
            ("rbps", "read_bps_device", limit.read_bytes_per_s, BlkIoController::throttle_read_bps_for_device),
            ("wbps", "write_bps_device", limit.write_bytes_per_s, BlkIoController::throttle_write_bps_for_device),
        ];
        for (key, v1_name, wish, set) in wishes {
            let Some(value) = wish else { continue };
            let done = set(&controller, major, minor, value);
            let (file, expected) = match self.place.v2 {
                true => ("io.max".to_owned(), format!("{key}={value}")),
                false => (format!("blkio.throttle.{v1_name}"), value.to_string()),
            };
            let device = format!("{major}:{minor}");
            let same = |text: &str| {
                text.lines().any(|line| {
                    let mut words = line.split_whitespace();
                    words.next() == Some(&device) && words.any(|word| word == expected)
                })
            };
            self.took("blkio", "I/O throttle", &file, &format!("{expected} of {device}"), done, same)?;
        }
        Ok(())
    }

    fn controller<T>(&self, name: &str, new: fn(PathBuf, PathBuf, bool) -> T) -> Result<T, CgroupError> {
        let folder = self.place.folder(name)?;
        let root = folder.parent().unwrap_or(folder).to_path_buf();
        Ok(new(folder.to_path_buf(), root, self.place.v2))
    }

    /// Read a limit back after it was written.
    fn took(
        &mut self,
        controller: &str,
        what: &'static str,
        file: &str,
        value: &str,
        written: cgroups_rs::fs::error::Result<()>,
        same: impl Fn(&str) -> bool,
    ) -> Result<(), CgroupError> {
        let folder = self.place.folder(controller)?;
        written.map_err(|e| set_error(what, value, folder, &e))?;
        let file = folder.join(file);
        let text = fs::read_to_string(&file).map_err(io("reading back", &file))?.trim().to_owned();
        if !same(&text) {
            let (value, file) = (value.to_owned(), file.display().to_string());
            return Err(CgroupError::NotInForce { what, value, file, found: text });
        }
        self.in_force.push(InForce { what, file, text });
        Ok(())
    }

    /// Limits that are not in force any more, in words.
    pub fn verify(&self) -> Result<Vec<String>, CgroupError> {
        let mut broken = Vec::new();
        for limit in &self.in_force {
            let found = fs::read_to_string(&limit.file).map_err(io("reading back", &limit.file))?;
            if found.trim() != limit.text {
                let file = limit.file.display();
                broken.push(format!(
                    "the limit of {} was `{}` and is `{}` ({file})",
                    limit.what,
                    limit.text,
                    found.trim()
                ));
            }
        }
        Ok(broken)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        let (cpu, memory) = match self.place.v2 {
            true => ("cpu.stat", "memory.current"),
            false => ("cpuacct.usage", "memory.usage_in_bytes"),
        };
        let cpu = self.read("cpuacct", cpu)?;
        let cpu_ns = match self.place.v2 {
            true => field(&cpu, "usage_usec").map(|us| us * 1000),
            false => cpu.trim().parse().ok(),
        };
        Ok(Usage {
            cpu_ns: cpu_ns.ok_or_else(|| CgroupError::NoController("cpuacct".into()))?,
            memory_bytes: self.read("memory", memory)?.trim().parse().unwrap_or(0),
        })
    }

    /// Processes that were killed because its memory limit was met.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let file = if self.place.v2 { "memory.events" } else { "memory.oom_control" };
        Ok(field(&self.read("memory", file)?, "oom_kill").unwrap_or(0))
    }

    /// Begin to watch its largest memory use; absent where the kernel cannot forget the peak of before (v2 before 6.12).
    pub fn memory_peak(&self) -> Option<MemoryPeak> {
        let name = if self.place.v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        let path = self.place.folder("memory").ok()?.join(name);
        let mut file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        file.write_all(b"0").ok()?;
        Some(MemoryPeak { file })
    }

    fn read(&self, controller: &str, file: &str) -> Result<String, CgroupError> {
        let path = self.place.folder(controller)?.join(file);
        fs::read_to_string(&path).map_err(io("reading", &path))
    }

    /// Kill everything in it and remove it.
    pub fn remove(self) -> Result<(), CgroupError> {
        remove_paths(&self.paths)
    }
}

type SetIo = fn(&BlkIoController, u64, u64, u64) -> cgroups_rs::fs::error::Result<()>;

fn set_error(what: &'static str, value: &str, group: &Path, reason: &dyn std::error::Error) -> CgroupError {
    let reason = reason.source().map_or_else(|| reason.to_string(), ToString::to_string);
    CgroupError::Set { what, value: value.to_owned(), group: group.display().to_string(), reason }
}

/// The value of a `key value` line.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// Make every group from the root to `above` hand down the controllers that it has.
fn enable_v2(mount: &Path, above: &Path) -> Result<(), CgroupError> {
    let mut down: Vec<_> = above.ancestors().take_while(|path| path.starts_with(mount)).collect();
    down.reverse();
    for path in down {
        let wanted: Vec<_> = missing_v2(path).into_iter().map(|name| format!("+{name}")).collect();
        if !wanted.is_empty() {
            let file = path.join("cgroup.subtree_control");
            fs::write(&file, wanted.join(" ")).map_err(io("enabling controllers in", &file))?;
        }
    }
    Ok(())
}

/// Watches the largest memory use of a group from the moment it was begun.
#[derive(Debug)]
pub struct MemoryPeak {
    file: File,
}

impl MemoryPeak {
    /// The peak so far, in bytes.
    pub fn bytes(&self) -> Option<u64> {
        let mut buffer = [0; 32];
        let length = self.file.read_at(&mut buffer, 0).ok()?;
        std::str::from_utf8(&buffer[..length]).ok()?.trim().parse().ok()
    }
}
