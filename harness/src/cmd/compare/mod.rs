//! `bench compare`: NEW against BASE, judged by a policy; the exit code is the gate's.

mod confirm;
pub mod history;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench_reports::CompareReport;
use bench_results::compare::{Aspect, History, Judgement, Outcome, Sides, compare_with};
use bench_results::lean::Set;
use bench_results::policy::{KnownNames, OnInconclusive, Policy};
use bench_results::primary::Primary;
use bench_results::store::{Record, find_runs};
use bench_workloads::{Suite, Workload};

use super::raw;
use crate::caller::{Caller, Hands};
use crate::{failure, output, paths};

/// Arguments of `bench compare`.
#[derive(clap::Args)]
#[command(after_help = "BASE and NEW are each a run's folder, its archive, a unique prefix of its id, `last`, or a\n\
    folder of runs (a set: the run is the unit then).\n\n\
    Exit codes: 0 nothing fails, 1 a deciding metric fails (by default: got worse) or has too few values\n\
    because trials failed or NEW lacks it, 2 the two cannot be compared, or have no valid values in common,\n\
    4 it cannot be told and the policy says on-inconclusive = \"fail\", or the runs are imported.")]
pub struct CompareArgs {
    /// The baseline; with --env, the run with both sides
    base: String,
    /// The run to judge
    new: Option<String>,
    /// Two environments of one run, paired by block: the better method if you can measure both sides in one run
    #[arg(long, value_name = "BASE,NEW", value_delimiter = ',', conflicts_with = "new")]
    env: Vec<String>,
    /// Judge by this metric instead of the suite's, such as `read_latency_p99_ns`
    #[arg(long, value_name = "METRIC")]
    primary: Option<String>,
    /// TOML file with margins, deciding metrics and conditions of failure
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Differences between the two that you want to compare: cpu, kernel, device, accelerator, fio, vmm, guest-kernel, tools,
    /// profile, limits, environment, workload
    #[arg(long, value_name = "WHAT", value_delimiter = ',', conflicts_with = "env")]
    allow_difference: Vec<Aspect>,
    /// Folder of earlier runs of the same series, from which the between-run spread is estimated; without it, 2.5 % are assumed
    #[arg(long, value_name = "DIR", conflicts_with = "env")]
    history: Option<PathBuf>,
    /// Print this format instead of the summary
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write all formats into this folder: page, figures, Markdown, JSON, JUnit
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Parent of the run folders
    #[arg(long, value_name = "DIR", default_value = "bench-runs")]
    out: PathBuf,
    /// The command that executes a fresh run into --out, for a policy with `confirm`: an alarm must recur in it
    #[arg(last = true, value_name = "CMD", requires = "policy")]
    command: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// The page
    Html,
    /// For a comment of a pull request, or the summary of a CI job
    Md,
    /// The judgement in full precision
    Json,
    /// Test results for a CI system
    Junit,
    /// Annotations of a GitHub job
    Github,
}

/// The records of both sides; of one run, `new` is empty.
struct Loaded {
    base: Vec<Record>,
    new: Vec<Record>,
    allowed: BTreeSet<Aspect>,
    history: Option<History>,
    /// The metric that was asked for.
    primary: Option<Primary>,
}

impl Loaded {
    fn sides<'a>(&'a self, args: &'a CompareArgs) -> Sides<'a> {
        match &args.env[..] {
            [base, new] => Sides::Environments { runs: &self.base, base, new },
            _ => Sides::Runs { base: &self.base, new: &self.new, allowed: &self.allowed },
        }
    }

    fn judge(&self, args: &CompareArgs, sides: Sides<'_>, policy: &Policy) -> Result<Judgement> {
        Ok(compare_with(sides, policy, policy_file(args).as_deref(), self.history.as_ref())?)
    }
}

/// Compare, print, and judge.
pub fn run(args: &CompareArgs) -> Result<i32> {
    if args.command.is_empty() {
        Caller::take_over()?;
    }
    let loaded = load(args)?;
    let sides = loaded.sides(args);
    let policy = policy(args, sides.known_names())?;
    let mut judgement = loaded.judge(args, sides, &policy)?;
    if judgement.alarms().next().is_some() && policy.confirm > 0 {
        confirm::confirm(args, &loaded, &policy, &mut judgement)?;
    }
    show(args, &CompareReport::new(&judgement, sides))?;
    if judgement.outcome == Outcome::Incomparable {
        eprintln!("bench: nothing was compared: {}; see why its trials failed (bench report RUN)", judgement.headline);
    }
    Ok(exit_code(&judgement))
}

fn load(args: &CompareArgs) -> Result<Loaded> {
    let paths = |name: &String| find_runs(&args.out, name);
    let (base, new) = (paths(&args.base)?, args.new.as_ref().map(paths).transpose()?);
    let primary = args.primary.as_ref().map(|metric| primary(metric, base.iter().chain(new.iter().flatten())));
    let primary = primary.transpose()?;
    let base = records(&base, primary.as_ref())?;
    let new = match (new, &args.env[..]) {
        (Some(new), _) => records(&new, primary.as_ref())?,
        (None, [_, _]) => Vec::new(),
        (None, []) => {
            let names: Vec<&str> =
                base.iter().take(1).flat_map(|r| &r.run.environments).map(|one| one.name.as_str()).collect();
            bail!(
                "only one run is given: give NEW as well, or two environments of this one: --env BASE,NEW out of {}",
                names.join(", ")
            )
        }
        (None, _) => bail!("--env {}: it takes two names, as in --env old,new", args.env.join(",")),
    };
    let history = args.history.as_ref().map(|folder| history::of(folder, &base, &new, primary.as_ref())).transpose()?;
    Ok(Loaded { base, new, allowed: args.allow_difference.iter().copied().collect(), history, primary })
}

/// Whole records of a set would not fit into memory together: each is read twice.
fn primary<'a>(metric: &str, paths: impl Iterator<Item = &'a PathBuf>) -> Result<Primary> {
    let mut primary = Primary::of(metric);
    for path in paths {
        primary.look_at(&load_record(path)?);
    }
    primary.check()?;
    Ok(primary)
}

fn records(paths: &[PathBuf], primary: Option<&Primary>) -> Result<Vec<Record>> {
    let load = |path: &PathBuf| -> Result<Record> {
        let mut record = load_record(path)?;
        primary.iter().for_each(|primary| primary.decide(&mut record));
        Ok(record)
    };
    if let [path] = paths {
        return Ok(vec![load(path)?]);
    }
    let mut set = Set::default();
    for path in paths {
        set.add(load(path)?);
    }
    Ok(set.into_records())
}

/// With the rights of whose it is.
fn load_record(path: &Path) -> Result<Record> {
    raw::load(path, Hands::in_folder(path)?)
}

fn policy_file(args: &CompareArgs) -> Option<String> {
    args.policy.as_ref().map(|path| path.display().to_string())
}

fn policy(args: &CompareArgs, mut known: KnownNames) -> Result<Policy> {
    let Some(path) = &args.policy else { return Ok(Policy::default()) };
    // One policy may serve several suites, of which these runs have one.
    for name in Suite::builtin_names() {
        let suite = Suite::builtin(name)?;
        known.workloads.extend(suite.workloads.iter().map(Workload::name).map(str::to_owned));
        known.environments.extend(suite.environments.iter().map(|environment| environment.name.clone()));
    }
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let policy = Policy::load(path, &known, today)?;
    ensure!(
        policy.confirm > 0 || args.command.is_empty(),
        "a command is given and the policy does not ask for a fresh run: write `confirm = 1` into {}",
        path.display()
    );
    Ok(policy)
}

fn show(args: &CompareArgs, report: &CompareReport<'_>) -> Result<()> {
    let mut page = None;
    if let Some(folder) = &args.report {
        let hands = paths::create_for_caller(folder)?;
        let written = hands.act(|| {
            report.write_all(folder).with_context(|| format!("writing the comparison to {}", folder.display()))
        })?;
        paths::give_to_caller(folder, hands)?;
        page = written.into_iter().next();
    }
    output::print_document(&match args.format {
        None => report.terminal(output::width(), output::in_color(), page.as_deref()),
        Some(Format::Html) => report.html()?,
        Some(Format::Md) => report.markdown(),
        Some(Format::Json) => report.json()?,
        Some(Format::Junit) => report.junit()?,
        Some(Format::Github) => report.annotations(),
    })
}

fn exit_code(judgement: &Judgement) -> i32 {
    match (judgement.outcome, judgement.policy.on_inconclusive) {
        (Outcome::Incomparable, _) => failure::USAGE,
        (Outcome::Fail, _) => failure::REGRESSION,
        // What cannot be judged must not open a gate, whatever its policy says of what could be.
        (Outcome::Inconclusive, _) if judgement.is_imported() => failure::INCONCLUSIVE,
        (Outcome::Inconclusive, OnInconclusive::Fail) => failure::INCONCLUSIVE,
        (Outcome::Inconclusive, OnInconclusive::Pass) | (Outcome::Pass, _) => 0,
    }
}
