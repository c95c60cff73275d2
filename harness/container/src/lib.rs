//! What `bench`'s containers are made of: namespaces, a root file system, and cgroups.
//!
//! Every process that `bench` starts is started by [`command`]: the same executable as `container-init` joins the cgroup, makes
//! namespaces and root where there are any, and executes the program. It is synchronous code without threads: namespaces belong
//! to threads, and after a fork only a process without threads may do ordinary things.

/// As std's, which panics where standard error cannot be written: what a container could not do has its exit code all the same.
/// Names in it come from arguments and from folders, and must not steer a terminal or a CI system.
#[cfg(not(test))]
macro_rules! eprintln {
    ($($text:tt)*) => {
        drop(std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("{}\n", bench_text::lines(&format!($($text)*))).as_bytes(),
        ))
    };
}

mod below;
mod capabilities;
mod cgroup;
mod cpuset;
mod detached;
mod device;
mod hierarchy;
mod image_name;
mod init;
mod inside;
mod kill;
mod loop_device;
mod mounts;
mod place;
mod program;
mod reaper;
mod seccomp;
pub mod signals;
mod spec;
mod special;
mod streams;
mod sys;
mod user;
mod work;

pub use below::Below;
pub use capabilities::names as capability_names;
pub use cgroup::{Cgroup, CgroupError, IoLimit, Limits, MemoryPeak, PlannedCgroup, Usage};
pub use cpuset::{format_cpus, free_cpus, parse_cpus, refused_cpus};
pub use device::{make_tap, offloads};
pub use init::init_main;
pub use kill::remove_paths;
pub use loop_device::{LoopDevice, detach};
pub use reaper::exit_status;
pub use seccomp::{PROFILE as SECCOMP_PROFILE, seccomp_for_runtimes};
pub use spec::{Bind, Namespace, Root, Spec, Starter, UserMap, Work, command};
pub use special::{SPECIAL, masked_paths, read_only_paths};
pub use streams::{Size, Stream, is_pipe, receive_descriptors, resize};
pub use sys::pin;
