//! The tools tree of this machine: the measured programs with everything they need.

use std::path::PathBuf;

use anyhow::{Context, Result};
use bench_vm::{Check, ToolsTree};

use crate::host::packages;
use crate::paths;

/// The tree with the measured programs, a shell, the programs given, and empty files to mount others on.
pub fn build(more: &[PathBuf], points: &[PathBuf], check: Check) -> Result<ToolsTree> {
    let mut programs = ["fio", "iperf3", "busybox"].map(packages::require).into_iter().collect::<Result<Vec<_>>>()?;
    programs.extend(more.iter().filter(|program| !programs.contains(program)).cloned().collect::<Vec<_>>());
    let cache = paths::cache_dir()?;
    ToolsTree::build(&cache, &programs, points, check).context("building the tools tree")
}

/// `bench` as it is executed in every environment: the same file, byte for byte.
pub fn executable() -> Result<PathBuf> {
    let cache = paths::cache_dir()?;
    bench_vm::agent_executable(&cache, paths::OWN_EXECUTABLE.as_ref()).context("preparing bench for environments")
}

/// The folder of the default tree, which is the default root of `bench container run`: checked in a millisecond.
pub fn tree() -> Result<PathBuf> {
    Ok(build(&[], &[], Check::Sources)?.path)
}
