//! `bench list`: what there is by name.

use std::path::PathBuf;

use anyhow::Result;
use bench_results::store::list_runs;
use bench_workloads::Suite;

use crate::caller::Caller;
use crate::{environments, output};

/// Arguments of `bench list`.
#[derive(clap::Args)]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Parent of the run folders
    #[arg(long, value_name = "DIR", default_value = "bench-runs")]
    out: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// Built-in suites
    Suites,
    /// Workloads of the built-in suites
    Workloads,
    /// Environments of the built-in suites, and the options of their kinds
    Environments,
    /// Runs in `--out`
    Runs,
}

/// Print the list.
pub fn run(args: &ListArgs) -> Result<i32> {
    Caller::take_over()?;
    let rows = match args.what {
        What::Suites => of_suites(|suite| vec![vec![suite.name.clone(), suite.title.clone()]])?,
        What::Workloads => of_suites(|suite| {
            let records = suite.workloads.iter().map(|workload| workload.record(Vec::new()));
            records.map(|workload| vec![suite.name.clone(), workload.name, workload.title]).collect()
        })?,
        What::Environments => of_suites(|suite| {
            suite.environments.iter().map(|environment| vec![suite.name.clone(), environment.to_string()]).collect()
        })?,
        What::Runs => list_runs(&args.out)?
            .into_iter()
            .map(|run| vec![run.id, run.started_at, run.state, run.path.display().to_string()])
            .collect(),
    };
    output::print(&output::columns(&rows))?;
    if matches!(args.what, What::Environments) {
        output::print(&format!("\noptions of the kinds\n{}", output::columns(&environments::described())))?;
    }
    Ok(0)
}

fn of_suites(rows: impl Fn(&Suite) -> Vec<Vec<String>>) -> Result<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for name in Suite::builtin_names() {
        all.extend(rows(&Suite::builtin(name)?));
    }
    Ok(all)
}
