//! From nothing to a guest: tools tree, kernel, initramfs, root image, the VMM that makes its machine, and the guest's own first process.

#![forbid(unsafe_code)]

mod accelerator;
mod boot;
mod cache;
mod closure;
mod guest;
mod image;
mod initramfs;
mod kernel;
mod modules;
mod programs;
mod qemu;
mod sources;
mod tools;
mod vmm;

pub use accelerator::{KvmVerdict, recall, remember};
pub use boot::{BootError, LAST_WORDS, LOG_BYTES, connect};
pub use cache::{CacheItem, list, remove, remove_half_made};
pub use closure::{SEARCH, is_executable, is_program, obstacle, search};
pub use guest::{
    MEMORY_IN_GUEST, TARGET_IN_GUEST, TARGET_SCHEDULER, TARGET_STAT, WORK_FILES, WORK_IN_GUEST, guest_main,
    is_guest_init,
};
pub use image::{Image, agent_executable, write_ext4};
pub use kernel::check_kernel;
pub use programs::{PROGRAMS, Program, find_program};
#[cfg(feature = "silent-vmm")]
pub use qemu::Silent;
pub use qemu::{MachineType, QEMU, Qemu, installed_vmm};
pub use sources::Sources;
pub use tools::{Check, ToolsTree};
pub use vmm::{Accelerator, Disk, DiskIo, Doing, Guest, Launch, Machine, Resident, Tap, VcpuThreads, Vmm, VmmError};

/// Something about images could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The system refused.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program that builds images failed.
    #[error("`{command}` failed: {said}")]
    Program {
        /// What was run.
        command: String,
        /// Its last words.
        said: String,
    },
    /// A program that builds images is not installed.
    #[error("`{name}` is missing ({purpose}): install the package {package}, or let `bench doctor --install` do it")]
    NoProgram {
        /// Its name.
        name: String,
        /// What it is for.
        purpose: &'static str,
        /// Debian's package of it.
        package: &'static str,
    },
    /// Something needed is not there, and what to do.
    #[error("{0}")]
    Missing(String),
}

pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> ImageError {
    let path = path.display().to_string();
    move |source| ImageError::Io { doing, path, source }
}

pub(crate) use programs::{program, run};
