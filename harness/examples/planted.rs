//! Planted truth: real runs whose right answer is known by design, and real runs in which nothing differs. Run by `make planted`
//! on a machine that does nothing else, as root.
//!
//! Two containers may do so many reads a second, far below the slowest this disk was ever seen: their ratio is what was planted,
//! whatever the disk does. The last lines are `planted: RATIO VERDICT RIGHT/RUNS` and `a/a: false alarms WRONG/RUNS`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use bench_results::analysis::analyse;
use bench_results::record::State;
use bench_results::store::{Record, find_run};
use bench_results::validity::why_again;
use bench_results::verdict::Verdict;

/// Eight blocks of a second: at this rate each trial of a cap is within 0.5 % of it.
const SUITE: &str = r#"
name = "planted"
title = "differences that are known by design"
environments = ["native"]

[[workload]]
name = "rand-read"
title = "random read"
deciding = "iops"
pattern = "random-read"
block-size = "4KiB"
iodepth = 4
jobs = 1

[[profile]]
name = "quick"
blocks = 8
runtime = "1s"
warm-up = "300ms"
settle = "0s"
size = "64MiB"
margin = "5%"
verdicts = true
"#;
/// Reads a second of the reference.
const CAP: f64 = 2000.0;
/// True ratios, and the right answer at a margin of 5 %.
const PLANTED: [(f64, Verdict); 3] = [(0.97, Verdict::Equivalent), (0.90, Verdict::Worse), (0.80, Verdict::Worse)];
const PLANTED_RUNS: usize = 5;
const EQUAL_RUNS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("planted.toml"), SUITE)?;
    let capped = |name: &str, ratio: f64| format!("{name}=container:read_iops={}", (CAP * ratio).round());
    let slower = PLANTED.map(|(ratio, _)| capped(&name(ratio), ratio)).join(",");
    let planted = format!("{},{slower} --reference cap", capped("cap", 1.0));
    let mut right = [0; PLANTED.len()];
    for run in 1..=PLANTED_RUNS {
        let record = measure(folder.path(), &planted)?;
        for (count, (ratio, wanted)) in right.iter_mut().zip(PLANTED) {
            let (verdict, said) = verdict(&record, &name(ratio))?;
            println!("planted run {run}: {ratio}: {said}");
            *count += usize::from(verdict == Some(wanted));
        }
    }
    let (mut judged, mut alarms, mut equal) = (0, 0, 0);
    for run in 1..=EQUAL_RUNS {
        let record = measure(folder.path(), "one=native,other=native --reference one")?;
        let (verdict, said) = verdict(&record, "other")?;
        println!("a/a run {run}: {said}");
        judged += usize::from(verdict.is_some());
        alarms += usize::from(matches!(verdict, Some(Verdict::Better | Verdict::Worse)));
        equal += usize::from(verdict == Some(Verdict::Equivalent));
    }
    println!();
    for (count, (ratio, wanted)) in right.iter().zip(PLANTED) {
        println!("planted: {ratio:.2} {wanted} {count}/{PLANTED_RUNS}");
    }
    // A run without a verdict cannot have given a false one.
    println!("a/a: false alarms {alarms}/{judged}");
    println!("a/a: equivalent {equal}/{judged}");
    let all_found = right.iter().all(|&count| count == PLANTED_RUNS);
    // Of twenty runs with at most 1 % false alarms two or more have one in 1.7 % of all tries.
    if all_found && alarms <= 1 && judged >= EQUAL_RUNS * 3 / 4 {
        Ok(())
    } else {
        Err("a planted truth was not told, or false alarms were given, or too few runs had a verdict".into())
    }
}

fn name(ratio: f64) -> String {
    format!("at-{:.0}", ratio * 100.0)
}

/// The binary that was built with this example.
fn bench() -> Result<PathBuf, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let path = own.ancestors().nth(2).ok_or("this example is in no target folder")?.join("bench");
    Ok(path)
}

fn measure(folder: &Path, environments: &str) -> Result<Record, Box<dyn Error>> {
    let arguments = format!("run --suite ./planted.toml --no-control --env {environments}");
    let output = Command::new(bench()?).args(arguments.split(' ')).current_dir(folder).output()?;
    // 3 is looked into below.
    if !matches!(output.status.code(), Some(0 | 3)) {
        return Err(format!("bench {arguments}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let record = Record::load(&find_run(&folder.join("bench-runs"), "last")?)?;
    if record.run.state != State::Complete {
        return Err(format!("bench {arguments}: the run did not end").into());
    }
    // What stayed disturbed is in no ratio; anything else that is wrong is no planted truth.
    if let Some(trial) = record.trials.iter().find(|trial| !trial.is_valid() && why_again(trial).is_none()) {
        let id = &trial.planned.id;
        return Err(format!("bench {arguments}: {id}: {:?}, invalid: {:?}", trial.failure, trial.invalid).into());
    }
    Ok(record)
}

/// The verdict on an environment, if there is one, and its ratio in words.
fn verdict(record: &Record, environment: &str) -> Result<(Option<Verdict>, String), Box<dyn Error>> {
    let analysis = analyse(record);
    let found = analysis.comparisons.iter().find(|c| c.deciding && c.environment == environment);
    let comparison = found.ok_or_else(|| format!("`{environment}` was not compared"))?;
    let Some(((verdict, ratio), interval)) = comparison.verdict.zip(comparison.ratio).zip(comparison.interval) else {
        return Ok((None, comparison.sentence.clone()));
    };
    let blocks = comparison.pairs.len();
    Ok((Some(verdict), format!("{verdict}, {ratio:.4} [{:.4}, {:.4}], {blocks} blocks", interval.low, interval.high)))
}
