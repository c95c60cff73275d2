//! How time and memory grow with what is read: `cargo run --release -p bench-reports --all-features --example scale [-- TRIALS...]`.
//!
//! Runs are read as `bench report` and `bench compare` read them. For each size a made-up run is written to disk, and each step is taken in
//! a process of its own, so that its peak of memory is its own. Times are of the CPU. The exponent is the slope between one size and the
//! next on a log scale: 1 is proportional. `results/reference/scale-*.txt` is what it printed. Sets are made up in memory one run at a time,
//! as they are read, and their time is mostly that of making them up.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use bench_reports::{Report, write_all};
use bench_results::Histogram;
use bench_results::analysis::analyse;
use bench_results::compare::{Sides, compare};
use bench_results::lean::Set;
use bench_results::policy::Policy;
use bench_results::record::{Remark, Trial};
use bench_results::store::Record;
use bench_results::testing::{another, counted, cpu_s, peak_kib};
use bench_results::validity::{Bound, CHECKS};

/// Trials of a block of the made-up run.
const BLOCK: u32 = 28;
/// So many blocks are made up at once.
const BLOCKS: u32 = 200;
/// Sizes in trials: the last is the most that a run may have, but for less than a block.
const SIZES: [u32; 3] = [50_008, 158_004, 499_968];
/// Larger runs are not compared: two of them are read.
const MOST_COMPARED: u32 = 158_004;
/// Sizes of sets, in runs a side.
const SETS: [usize; 3] = [60, 250, 1_000];
/// Every so many trials one is remarked.
const REMARKED: usize = 16;
/// Facts of a trial of a real run; those of checks are among them.
const FACTS: usize = 48;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a step took: seconds of CPU time, and bytes of what it made.
type Took = (f64, usize);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["step", "make", folder, trials] => make(Path::new(folder), trials.parse()?),
        ["step", step, what] => {
            let (seconds, bytes) = take(step, what)?;
            println!("{seconds} {} {bytes}", peak_kib());
            Ok(())
        }
        [] => measure(&SIZES, &SETS),
        ref sizes => measure(&sizes.iter().map(|size| size.parse()).collect::<Result<Vec<_>, _>>()?, &[]),
    }
}

fn measure(sizes: &[u32], sets: &[usize]) -> Outcome<()> {
    println!(
        "{:<28} {:>9} {:>9} {:>8} {:>9} {:>8} {:>10}",
        "step", "size", "CPU s", "exponent", "peak MiB", "exponent", "bytes"
    );
    let parent = tempfile::tempdir()?;
    let mut folders = Vec::new();
    for &size in sizes {
        for name in ["base", "new"].into_iter().take(if size > MOST_COMPARED { 1 } else { 2 }) {
            let folder = parent.path().join(format!("{name}-{size}"));
            fs::create_dir(&folder)?;
            child(&["make".as_ref(), folder.as_os_str(), size.to_string().as_ref()])?;
            folders.push(folder);
        }
    }
    let of = |most: u32| -> Vec<(usize, String)> {
        let path = |size: u32| parent.path().join(format!("base-{size}")).display().to_string();
        sizes.iter().filter(|size| **size <= most).map(|&size| (size as usize, path(size))).collect()
    };
    for (step, title) in [
        ("read", "read"),
        ("analyse", "read, analyse"),
        ("page", "read, analyse, page"),
        ("report", "read, analyse, all files"),
    ] {
        print(step, title, &of(u32::MAX))?;
    }
    print("compare", "compare two runs", &of(MOST_COMPARED))?;
    let sets: Vec<_> = sets.iter().map(|runs| (*runs, runs.to_string())).collect();
    print("sets", "compare sets (runs a side)", &sets)
}

/// One step at every size.
fn print(step: &str, title: &str, sizes: &[(usize, String)]) -> Outcome<()> {
    let mut before: Option<(f64, [f64; 2])> = None;
    for (size, what) in sizes {
        let said = child(&[step.as_ref(), what.as_ref()])?;
        let figures = said.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [seconds, kib, bytes] = figures[..] else { return Err(format!("{step} said {said}").into()) };
        let (now, size) = ([seconds, kib], *size as f64);
        let slope = |at: usize| {
            let (other, values) = before?;
            Some(format!("{:.2}", (now[at] / values[at]).ln() / (size / other).ln()))
        };
        let [time, memory] = [slope(0), slope(1)].map(Option::unwrap_or_default);
        println!("{title:<28} {size:>9} {seconds:>9.2} {time:>8} {:>9.0} {memory:>8} {bytes:>10}", kib / 1024.0);
        before = Some((size, now));
    }
    Ok(())
}

fn child(arguments: &[&std::ffi::OsStr]) -> Outcome<String> {
    let output = Command::new(std::env::current_exe()?).arg("step").args(arguments).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A run's folder as a finished run leaves it: some trials are remarked, more than a run may have that is reportable. A few blocks at a
/// time are made up, each time with other values.
fn make(folder: &Path, trials: u32) -> Outcome<()> {
    let is_new = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("new"));
    let blocks = trials / BLOCK;
    let mut run = counted(another(1 + u64::from(is_new), 1, false)).run;
    run.plan.trials.clear();
    run.plan.profile.blocks = blocks;
    let mut lines = BufWriter::new(File::create(folder.join("trials.jsonl"))?);
    for first in (0..blocks).step_by(BLOCKS as usize) {
        let seed = u64::from(first) * 2 + u64::from(is_new);
        let made = made_up(seed, BLOCKS.min(blocks - first));
        for (index, mut trial) in made.trials.into_iter().enumerate() {
            let planned = &mut trial.planned;
            planned.block += first;
            planned.id = format!("b{:02}-{}-{}", planned.block, planned.workload, planned.environment).into();
            run.plan.trials.push(planned.clone());
            add_facts(&mut trial);
            if index % REMARKED == 0 {
                remark(&mut trial);
            }
            serde_json::to_writer(&mut lines, &trial)?;
            lines.write_all(b"\n")?;
        }
    }
    fs::write(folder.join("run.json"), serde_json::to_vec_pretty(&run)?)?;
    Ok(lines.flush()?)
}

/// A run whose latencies are named as fio names them: else those of every trial would be other ones, and all of them together many more
/// than any tool tells apart.
fn made_up(seed: u64, blocks: u32) -> Record {
    let mut record = another(seed, blocks, false);
    for histogram in record.trials.iter_mut().flat_map(|trial| trial.histograms.values_mut()) {
        let bins = histogram.bins().iter().map(|&(ns, count)| (middle_of_bin(ns), count));
        *histogram = Histogram::from_bins(bins);
    }
    counted(record)
}

/// Of fio's 64 bins in each power of two.
fn middle_of_bin(ns: u64) -> u64 {
    let width = 1_u64 << ns.checked_ilog2().unwrap_or(0).saturating_sub(6);
    ns / width * width + width / 2
}

/// As many as a real trial has; the figures of checks are at their bounds.
fn add_facts(trial: &mut Trial) {
    for check in CHECKS {
        let (Bound::AtMost(bound) | Bound::AtLeast(bound)) = check.bound;
        trial.facts.entry(check.fact.to_owned()).or_insert_with(|| bound.into());
    }
    for number in trial.facts.len()..FACTS {
        trial.facts.insert(format!("made.up_{number}"), number.into());
    }
}

fn remark(trial: &mut Trial) {
    trial.facts.insert("host.other_cpu_percent".to_owned(), 9.into());
    let text = "other processes took 9 % of the machine's CPUs".to_owned();
    trial.remarks.push(Remark { check: "host.other_cpu_percent".to_owned(), text });
}

fn take(step: &str, what: &str) -> Outcome<Took> {
    let path = PathBuf::from(what);
    let began = cpu_s();
    let bytes = match step {
        "read" => read(&path)?.trials.len(),
        "analyse" => analyse(&read(&path)?).headline.len(),
        "page" => {
            let record = read(&path)?;
            Report::new(&record, &analyse(&record)).html()?.len()
        }
        "report" => {
            let to = tempfile::tempdir()?;
            write_all(&read(&path)?, to.path())?.len()
        }
        "compare" => {
            let new = PathBuf::from(what.replacen("base-", "new-", 1));
            judged(&[read(&path)?], &[read(&new)?])?
        }
        "sets" => {
            let runs: u64 = what.parse()?;
            judged(&set(1, runs), &set(1 + runs, runs))?
        }
        other => return Err(format!("there is no step {other}").into()),
    };
    Ok((cpu_s() - began, bytes))
}

fn read(path: &Path) -> Outcome<Record> {
    Ok(Record::load_lean(path, |_| {})?)
}

fn set(first_seed: u64, runs: u64) -> Vec<Record> {
    let mut set = Set::default();
    (first_seed..first_seed + runs).for_each(|seed| set.add(made_up(seed, 8)));
    set.into_records()
}

fn judged(base: &[Record], new: &[Record]) -> Outcome<usize> {
    let judgement = compare(Sides::Runs { base, new, allowed: &Default::default() }, &Policy::default(), None)?;
    Ok(judgement.headline.len())
}
