//! The seam below `vm`: what a guest's machine is asked, whichever VMM makes it.
//!
//! A [`Vmm`] says how its process is started for a guest; the caller starts it, since it knows where, and has it take control of that
//! process. A [`Machine`] is a guest's machine that runs. How a VMM is spoken to is its own affair.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitStatus;
use std::time::Duration;

use crate::boot::BootError;
use crate::image::Image;

/// Something that takes its time.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, VmmError>> + 'a>>;

/// The host's threads that are virtual CPUs: index of the CPU and thread.
pub type VcpuThreads = Vec<(usize, i32)>;

/// A VMM did not do what it was asked, in its own words.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct VmmError(#[from] Box<dyn std::error::Error + Send + Sync>);

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// Software emulation.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG emulation",
        })
    }
}

/// The target, or what commands work in, as a disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// File or block device of the host.
    pub path: PathBuf,
    /// Which of the two.
    pub is_device: bool,
    /// Bytes that the guest sees.
    pub size_bytes: u64,
    /// Name of a cache mode: `none`, `directsync`, `writeback`, `writethrough`, `unsafe`.
    pub cache: String,
    /// `io_uring`, `native` or `threads`.
    pub aio: String,
    /// A thread of its own for its I/O.
    pub iothread: bool,
}

impl Disk {
    /// True when its cache mode goes past the host's page cache.
    pub fn is_direct(&self) -> bool {
        matches!(self.cache.as_str(), "none" | "directsync")
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iothread = if self.iothread { "IOThread" } else { "no IOThread" };
        write!(f, "cache={}, aio={}, {iothread}", self.cache, self.aio)
    }
}

/// A guest's network card: a tap of the host that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// Name of the tap, in the network namespace that the VMM is started in.
    pub name: String,
    /// Whether the host's kernel moves the packets (vhost-net) or the VMM does.
    pub vhost: bool,
}

/// A guest, whichever VMM it gets its machine from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// What executes its instructions.
    pub accelerator: Accelerator,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// RAM.
    pub memory_bytes: u64,
    /// What it boots.
    pub image: Image,
    /// The storage under test.
    pub target: Option<Disk>,
    /// The ext4 image that commands work in.
    pub work: Option<Disk>,
    /// Its network card.
    pub network: Option<Tap>,
    /// True where the host's own CPU is emulated: the guest's instructions are, under KVM as well.
    pub emulated_host: bool,
    /// Speed of the host's time stamp counter in kHz, which is that of an emulated guest.
    pub tsc_khz: u64,
    /// The host's `mitigations=`, for the guest's kernel.
    pub mitigations: Option<String>,
    /// For sockets and logs; only for root.
    pub runtime_dir: PathBuf,
}

/// How a guest's machine is started, and where it is heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments. The guest's console is its standard output, and what it says itself its standard error.
    pub argv: Vec<String>,
    /// Where the agent's port is to be a socket.
    pub agent: PathBuf,
    /// Where the end of the console is to be kept.
    pub console: PathBuf,
    /// Where the VMM's own words are to be kept.
    pub log: PathBuf,
    /// Where its arguments are to be kept, one a line.
    pub arguments: PathBuf,
}

impl Launch {
    /// The files that are kept when the guest ends.
    pub fn logs(&self) -> Vec<PathBuf> {
        vec![self.console.clone(), self.log.clone(), self.arguments.clone()]
    }
}

/// Bytes that were moved for a disk of the guest since its machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskIo {
    /// Read by the guest.
    pub read_bytes: u64,
    /// Written by it.
    pub written_bytes: u64,
}

/// Resident memory of a VMM's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// The part of the guest's RAM that is resident.
    pub guest_ram_bytes: u64,
    /// Everything else: the price of the machine itself.
    pub rest_bytes: u64,
}

/// A VMM with one type of machine: it makes guests' machines.
pub trait Vmm: fmt::Debug + Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// Name of the type of machine that it makes.
    fn machine(&self) -> &'static str;

    /// The host's program that is the machine.
    fn program(&self) -> &Path;

    /// The fastest of its ways of doing I/O that this host has.
    fn best_aio(&self) -> &'static str;

    /// Whether a disk can have a thread of its own for its I/O.
    fn has_iothreads(&self, accelerator: Accelerator) -> bool;

    /// How the machine of a guest is started.
    fn launch(&self, guest: &Guest) -> Launch;

    /// Take control of what was started so, and has this process id. Completes when the machine is there: how long that may take, and
    /// whether the process is still there, is the caller's to see.
    fn control<'a>(&'a self, launch: &'a Launch, pid: u32) -> Doing<'a, Box<dyn Machine>>;

    /// Why a guest did not come up or went away, after `waited`, if its process has ended so or not at all.
    fn diagnose(&self, launch: &Launch, status: Option<ExitStatus>, waited: Duration) -> BootError {
        BootError::diagnose(self.name(), launch, status, waited)
    }
}

/// A guest's machine that runs. A VMM that cannot tell a figure says so: absent is never 0.
pub trait Machine {
    /// Stop its virtual CPUs: it costs nothing while it waits. Pausing twice is pausing once.
    fn pause(&mut self) -> Doing<'_, ()>;

    /// Let it go on, if it was paused.
    fn resume(&mut self) -> Doing<'_, ()>;

    /// The threads that its virtual CPUs are.
    fn vcpu_threads(&mut self) -> Doing<'_, VcpuThreads>;

    /// What was moved for the target so far.
    fn disk_io(&mut self) -> Doing<'_, Option<DiskIo>> {
        Box::pin(async { Ok(None) })
    }

    /// Whether the target is held open past the host's page cache, as it is in force.
    fn cache_bypassed(&mut self) -> Doing<'_, Option<bool>> {
        Box::pin(async { Ok(None) })
    }

    /// What tells how it was really run, besides the files of its launch: name and content.
    fn logs(&mut self) -> Doing<'_, Vec<(&'static str, Vec<u8>)>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Resident memory of its process by what it holds.
    fn resident(&self) -> Option<Resident> {
        None
    }
}
