//! `bench run`: from arguments to a run's folder.

mod along;
mod asked;
mod calibration;
mod definition;
mod dry;
mod execution;
mod jobs;
mod resume;
mod storage;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bench_results::quantity::{parse_count, parse_margin};
use bench_workloads::{Engine, parse_size};

use crate::conductor;
use crate::failure::need_root;
use crate::host::target::check_size;
use asked::Asked;
use definition::Definition;

/// Arguments of `bench run`.
#[derive(clap::Args, Debug, Clone)]
pub struct RunArgs {
    /// Continue a run that was stopped: a folder, a unique prefix of an id in bench-runs, or `last`
    #[arg(long, value_name = "RUN", exclusive = true)]
    resume: Option<String>,
    /// Built-in suites, or suite files of your own (`mine.toml`), executed in one run
    #[arg(long, default_value = "io", value_delimiter = ',')]
    suite: Vec<String>,
    /// fio job files, executed unchanged instead of a suite's workloads; the profile sets blocks and margin
    #[arg(long = "fio-job", value_name = "FILE", num_args = 1.., conflicts_with_all = ["suite", "command"])]
    fio_job: Vec<PathBuf>,
    /// Duration of fio job files, instead of the one in the files
    #[arg(long, value_name = "TIME", value_parser = jobs::runtime, allow_hyphen_values = true)]
    runtime: Option<f64>,
    /// How fio does its I/O in all of the suite's workloads of kind fio, instead of what the suite says
    #[arg(long, value_name = "ENGINE", conflicts_with_all = ["fio_job", "command"])]
    ioengine: Option<Engine>,
    /// Only these workloads of the suite
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// The environments, instead of the suite's: NAME[=KIND][:KEY=VALUE]...,...; +ENV adds one to the suite's
    #[arg(long, value_name = "ENV", value_delimiter = ',')]
    env: Vec<Asked>,
    /// The environment that the others are compared with [default: `native`, else the first]
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
    /// Leave out the control, a second copy of the reference that shows the noise of the run
    #[arg(long)]
    no_control: bool,
    /// Durations and number of blocks: smoke, quick, standard, paper
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Number of blocks, instead of the profile's
    #[arg(long, value_name = "N", value_parser = blocks, allow_hyphen_values = true)]
    blocks: Option<u32>,
    /// End early, at the first planned look at which all verdicts are given; --blocks is then the maximum
    #[arg(long)]
    until_decided: bool,
    /// The deciding metric of every workload that yields it, instead of the suite's
    #[arg(long, value_name = "METRIC")]
    primary: Option<String>,
    /// Seed of all random choices [default: a random one, which is recorded]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The file or block device to measure, instead of a new file in the run's folder; for a command, the place of its work folder
    #[arg(long, value_name = "PATH")]
    target: Option<PathBuf>,
    /// Allow overwriting the content of an existing --target
    #[arg(long, requires = "target")]
    destroy_data: bool,
    /// Size of the target, instead of the profile's; for a command, of its work folder: 1GiB (or 1G) is 2^30 bytes, 1GB is 10^9
    #[arg(long, value_name = "SIZE", value_parser = target_size, allow_hyphen_values = true)]
    size: Option<u64>,
    /// CPUs of every environment, such as 0-3 [default: one NUMA node; of 4 or more all but one]
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// Memory of every environment
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true, default_value = "1GiB")]
    memory: u64,
    /// The smallest difference that you care about, instead of the profile's: 5% (or 5) is 5 %
    #[arg(long, value_name = "PERCENT", value_parser = parse_margin, allow_hyphen_values = true)]
    margin: Option<f64>,
    /// Parent of the run's folder
    #[arg(long, value_name = "DIR", default_value = "bench-runs")]
    out: PathBuf,
    /// A file or folder to copy into every environment, with the libraries it needs
    #[arg(long = "with", value_name = "PATH")]
    with: Vec<PathBuf>,
    /// Check whether the run is possible and print its plan, without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Your own command, measured instead of a suite's workloads (wall time, CPU time, peak memory)
    #[arg(last = true, value_name = "CMD", conflicts_with = "only")]
    command: Vec<String>,
}

/// As many as a suite file may say.
fn blocks(text: &str) -> Result<u32, String> {
    parse_count(text, 10_000).map(|number| number as u32)
}

fn target_size(text: &str) -> Result<u64, String> {
    parse_size(text).and_then(check_size)
}

/// Measure, or show the plan.
pub fn run(args: &RunArgs) -> Result<i32> {
    ensure!(
        !args.command.is_empty() || !std::env::args_os().any(|word| word == "--"),
        "there is no command after `--`: name one, as in `bench run -- sort /etc/passwd`, or leave `--` out to execute a suite"
    );
    if let Some(name) = &args.resume {
        return resume::run(name);
    }
    let definition = Definition::resolve(args)?;
    if args.dry_run {
        return dry::run(args, &definition);
    }
    need_root("bench run", "it makes cgroups, namespaces, mounts and guests, and reads the CPU time of all of them")?;
    execution::execute(args, &definition, None)
}

/// Name of this run's folder.
pub(super) fn run_id(suite: &str) -> String {
    let time: String = conductor::now().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{time}-{suite}-{:06x}", rand::random::<u32>() & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_plain_name_that_sorts_by_time() {
        let id = run_id("io");
        assert!(id.contains("Z-io-") && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{id}");
    }
}
