//! Control groups on v1, hybrid and v2 hosts: made, limited and read.
//!
//! cgroups-rs writes limits, in this file only. It hides failures, so every limit is read back here, and usage is read by ourselves
//! (docs/adr/0001-cgroups-rs.md). Each controller is used where the host has it (docs/adr/0028-each-controller-where-it-is.md).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;

use crate::cpuset::{self, parse_cpus};
use crate::kill::remove_paths;
use crate::place::{Folder, Place};

/// The scheduler's period for CPU quotas, in microseconds (the kernel's default).
const PERIOD_US: u64 = 100_000;
/// Memory limits are multiples of it.
const PAGE: u64 = 4096;

/// How deep, and how many, groups below ours may be in cgroup2: enough for a service manager inside, and nothing that takes long to be
/// removed. (v1 has no such limit.)
const GROUPS_BELOW: [(&str, &str); 2] = [("cgroup.max.depth", "32"), ("cgroup.max.descendants", "1024")];

/// What a limit of CPUs is called.
const CPUS: &str = "cpus";

/// A group could not be made, limited, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing is mounted.
    #[error(
        "no cgroup file system that can be written to is mounted (see `mount -t cgroup2`), so that nothing can be limited or \
         accounted"
    )]
    NotMounted,
    /// The kernel lacks a controller, or it is not available at our place; those that are.
    #[error(
        "the cgroup controller `{0}` is not available here (at hand: {1}): have it delegated to this place (systemd: \
         Delegate=yes), or enabled in the kernel (`cgroup_disable=` and `cgroup_no_v1=` of its command line)"
    )]
    NoController(String, String),
    /// No group of cgroup2 can have ours below it.
    #[error(
        "no cgroup at or above that of this process can have groups with the controllers {wanted}: {reasons}; have them \
         delegated to this place (systemd: Delegate=yes), or start bench outside of the container"
    )]
    NoPlace {
        /// The controllers.
        wanted: String,
        /// Why each group cannot.
        reasons: String,
    },
    /// What is asked for is no list of CPUs.
    #[error("{0}")]
    Cpus(String),
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
    /// Another failure, and its reason.
    #[error("{0}: {1}")]
    Refused(Box<CgroupError>, String),
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

pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CgroupError {
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
    pub(crate) place: Place,
    paths: Vec<PathBuf>,
    in_force: Vec<InForce>,
}

/// A group that is to be made, at a place that was found.
#[derive(Debug)]
pub struct PlannedCgroup(Place);

impl PlannedCgroup {
    /// The folders that [`PlannedCgroup::create`] will make.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.paths()
    }

    /// Make the group and set its limits; each is read back. On v2 controllers may have to be enabled on the way down; they
    /// stay enabled, which sets no limit: to disable them would take away what others set there meanwhile.
    pub fn create(&self, limits: &Limits) -> Result<Cgroup, CgroupError> {
        let place = self.0.clone();
        place.enable()?;
        let paths = place.paths();
        for path in &paths {
            // Not `create_dir_all`: a group of this name that exists already is not ours.
            fs::create_dir(path).map_err(io("creating the cgroup", path))?;
        }
        place.limit_groups_below(&GROUPS_BELOW);
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
}

impl Cgroup {
    /// Find the place for a group of this name: below our own, or below the nearest above it that can have it.
    pub fn plan(name: &str) -> Result<PlannedCgroup, CgroupError> {
        Ok(PlannedCgroup(Place::find(name)?))
    }

    /// The same at the top of every hierarchy: one path leads to it in all of them, which is what a container engine can be told.
    pub fn plan_at_top(name: &str) -> Result<PlannedCgroup, CgroupError> {
        Ok(PlannedCgroup(Place::at_top(name)?))
    }

    /// The controllers that are not at hand here, by their cgroup2 names.
    pub fn missing_controllers() -> Result<Vec<&'static str>, CgroupError> {
        Ok(Place::find("bench-any")?.missing())
    }

    /// Its folders, one per hierarchy.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn limit(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        self.limit_cpus(limits)?;
        self.limit_memory(limits)?;
        limits.pids.map_or(Ok(()), |pids| self.limit_pids(pids))?;
        limits.io.iter().try_for_each(|limit| self.limit_io(limit))
    }

    /// Limit processes and threads to so many, as [`Limits::pids`] does from the beginning.
    pub fn limit_pids(&mut self, pids: u64) -> Result<(), CgroupError> {
        let (controller, _) = self.controller("pids", PidController::new)?;
        let done = controller.set_pid_max(MaxValue::Value(pids as i64));
        self.took("pids", "pids", "pids.max", &pids.to_string(), done, |text| text == pids.to_string())
    }

    fn limit_cpus(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        let cpus = limits.cpus.as_deref().map(parse_cpus).transpose().map_err(CgroupError::Cpus)?;
        if let Some(folder) = self.cpuset(cpus.is_some())? {
            let file = cpuset::fill(&folder, cpus.as_ref())?;
            if let (Some(cpus), Some(list)) = (&cpus, &limits.cpus) {
                // v2 takes any list, and holds to what groups above leave of it.
                let same = |text: &str| parse_cpus(text).as_ref() == Ok(cpus);
                let taken = self.holds(CPUS, &file, list, same);
                let refused = |e| match cpuset::refusal(&folder, cpus) {
                    Some(reason) => CgroupError::Refused(Box::new(e), reason),
                    None => e,
                };
                taken.map_err(refused)?;
            }
        }
        if let Some(quota) = limits.cpu_quota {
            let us = (quota * PERIOD_US as f64).round() as i64;
            let (controller, v2) = self.controller("cpu", CpuController::new)?;
            let done = controller.set_cfs_quota_and_period(Some(us), Some(PERIOD_US));
            let file = if v2 { "cpu.max" } else { "cpu.cfs_quota_us" };
            let same = |text: &str| text.split_whitespace().next() == Some(&us.to_string());
            self.took("cpu", "CPU quota", file, &format!("{quota} CPUs"), done, same)?;
        }
        Ok(())
    }

    /// The cpuset's folder where there is something to write: on v1 a cpuset must be filled before a process can join it.
    fn cpuset(&self, is_limited: bool) -> Result<Option<Folder>, CgroupError> {
        match self.place.at("cpuset") {
            Ok(folder) => Ok((is_limited || !folder.v2).then(|| folder.clone())),
            Err(_) if !is_limited => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn limit_memory(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        let Some(bytes) = limits.memory_bytes else { return Ok(()) };
        let (controller, v2): (MemController, _) = self.controller("memory", MemController::new)?;
        let done = controller.set_limit(bytes as i64);
        let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
        let expected = (bytes / PAGE * PAGE).to_string();
        self.took("memory", "memory", file, &format!("{bytes} bytes"), done, |text| text == expected)
    }

    fn limit_io(&mut self, limit: &IoLimit) -> Result<(), CgroupError> {
        let (major, minor) = (limit.major, limit.minor);
        let (controller, v2) = self.controller("blkio", BlkIoController::new)?;
        let wishes: [(&str, &str, Option<u64>, SetIo); 4] = [
            ("riops", "read_iops_device", limit.read_iops, BlkIoController::throttle_read_iops_for_device),
            ("wiops", "write_iops_device", limit.write_iops, BlkIoController::throttle_write_iops_for_device),
            ("rbps", "read_bps_device", limit.read_bytes_per_s, BlkIoController::throttle_read_bps_for_device),
            ("wbps", "write_bps_device", limit.write_bytes_per_s, BlkIoController::throttle_write_bps_for_device),
        ];
        for (key, v1_name, wish, set) in wishes {
            let Some(value) = wish else { continue };
            let done = set(&controller, major, minor, value);
            let (file, expected) = match v2 {
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

    /// The crate's controller, and whether it is one of cgroup2.
    fn controller<T>(&self, name: &str, new: fn(PathBuf, PathBuf, bool) -> T) -> Result<(T, bool), CgroupError> {
        let folder = self.place.at(name)?;
        Ok((new(folder.path.clone(), folder.above().to_path_buf(), folder.v2), folder.v2))
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
        let folder = self.place.at(controller)?.path.clone();
        written.map_err(|e| {
            // The crate's own words hide the system's.
            let reason = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            set_error(what, value, &folder, reason)
        })?;
        self.holds(what, &folder.join(file), value, same)
    }

    /// Read back what was written.
    fn holds(
        &mut self,
        what: &'static str,
        file: &Path,
        value: &str,
        same: impl Fn(&str) -> bool,
    ) -> Result<(), CgroupError> {
        let text = fs::read_to_string(file).map_err(io("reading back", file))?.trim().to_owned();
        if !same(&text) {
            let (value, file) = (value.to_owned(), file.display().to_string());
            return Err(CgroupError::NotInForce { what, value, file, found: text });
        }
        self.in_force.push(InForce { what, file: file.to_path_buf(), text });
        Ok(())
    }

    /// True when it is limited to CPUs.
    pub(crate) fn has_cpus(&self) -> bool {
        self.in_force.iter().any(|limit| limit.what == CPUS)
    }

    /// Limits that are not in force any more, in words.
    pub fn verify(&self) -> Result<Vec<String>, CgroupError> {
        self.not_in_force(Path::to_path_buf)
    }

    /// Limits that are not in force where their files are taken to be, in words.
    pub(crate) fn not_in_force(&self, at: impl Fn(&Path) -> PathBuf) -> Result<Vec<String>, CgroupError> {
        let mut broken = Vec::new();
        for InForce { what, file, text } in &self.in_force {
            let file = at(file);
            let found = fs::read_to_string(&file).map_err(io("reading back", &file))?;
            if found.trim() != text {
                broken.push(format!("the limit of {what} was `{text}` and is `{}` ({})", found.trim(), file.display()));
            }
        }
        Ok(broken)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        let (cpu, v2) = self.read("cpuacct", "cpuacct.usage", "cpu.stat")?;
        let cpu_ns = match v2 {
            true => field(&cpu, "usage_usec").map(|us| us * 1000),
            false => cpu.trim().parse().ok(),
        };
        let silent =
            || io("reading the CPU time of", &self.paths[0])(std::io::Error::other("the kernel does not say it"));
        let (memory, _) = self.read("memory", "memory.usage_in_bytes", "memory.current")?;
        Ok(Usage { cpu_ns: cpu_ns.ok_or_else(silent)?, memory_bytes: memory.trim().parse().unwrap_or(0) })
    }

    /// Processes that were killed because its memory limit was met, or that of a group below it: v1 counts each group's own only.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let (events, v2) = self.read("memory", "memory.oom_control", "memory.events")?;
        let kills = field(&events, "oom_kill").unwrap_or(0);
        // v1 counts a kill in the group of who was killed alone.
        let below = if v2 { 0 } else { self.count_below("memory", "memory.oom_control", "oom_kill") };
        Ok(kills + below)
    }

    /// Begin to watch its largest memory use; absent where the kernel cannot forget the peak of before (v2 before 6.12).
    pub fn memory_peak(&self) -> Option<MemoryPeak> {
        let folder = self.place.at("memory").ok()?;
        let path = folder.path.join(if folder.v2 { "memory.peak" } else { "memory.max_usage_in_bytes" });
        let mut file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        file.write_all(b"0").ok()?;
        Some(MemoryPeak { file })
    }

    /// The text of the one file or the other, by the version of the controller, and whether that is cgroup2.
    fn read(&self, controller: &str, v1: &str, v2: &str) -> Result<(String, bool), CgroupError> {
        let folder = self.place.at(controller)?;
        let path = folder.path.join(if folder.v2 { v2 } else { v1 });
        Ok((fs::read_to_string(&path).map_err(io("reading", &path))?, folder.v2))
    }

    /// Kill everything in it and remove it.
    pub fn remove(self) -> Result<(), CgroupError> {
        remove_paths(&self.paths)
    }
}

type SetIo = fn(&BlkIoController, u64, u64, u64) -> cgroups_rs::fs::error::Result<()>;

fn set_error(what: &'static str, value: &str, group: &Path, reason: String) -> CgroupError {
    CgroupError::Set { what, value: value.to_owned(), group: group.display().to_string(), reason }
}

/// The value of a `key value` line.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
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
