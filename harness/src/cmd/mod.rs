//! One module per subcommand: its arguments and its `run`, which returns the exit code.

pub mod clean;
pub mod compare;
pub mod container;
pub mod doctor;
pub mod export;
pub mod image;
pub mod import;
pub mod list;
pub mod power;
pub mod probe;
mod raw;
pub mod report;
pub mod run;
pub mod vm;

use anyhow::{Context, Result};
use bench_results::record;

/// Version and, where known, the git revision of this build.
pub const VERSION: &str = env!("BENCH_VERSION");

/// This build, for a record.
fn this_build() -> Result<record::Version> {
    Ok(record::Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_revision: option_env!("BENCH_GIT_REVISION").map(str::to_owned),
        sha256: bench_agent::sha256(crate::paths::OWN_EXECUTABLE.as_ref()).context("reading bench's own executable")?,
    })
}

/// The words of this process; what is no UTF-8 has no place in a record.
fn given() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}
