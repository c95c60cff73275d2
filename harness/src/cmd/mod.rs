//! One module per subcommand: its arguments and its `run`, which returns the exit code.

pub mod clean;
pub mod compare;
pub mod container;
pub mod doctor;
pub mod export;
pub mod image;
pub mod list;
pub mod power;
pub mod probe;
mod raw;
pub mod report;
pub mod run;
pub mod vm;

/// Version and, where known, the git revision of this build.
pub const VERSION: &str = env!("BENCH_VERSION");
