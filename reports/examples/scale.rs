//! How time and memory grow with what is read: `cargo run -p bench-reports --all-features --example scale [-- TRIALS...]`.
//!
//! For each size a made-up run is written to disk, and each step is taken in a process of its own, so that its peak of memory is its own.
//! The exponent is the slope between one size and the next on a log scale: 1 is proportional. `results/reference/scale-*.txt` is what it
//! printed. Sets are made up in memory one run at a time, as they are read.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bench_reports::Report;
use bench_results::analysis::analyse;
use bench_results::compare::{Sides, compare};
use bench_results::lean::Set;
use bench_results::policy::Policy;
use bench_results::record::{Remark, Trial};
use bench_results::store::Record;
use bench_results::testing::{another, counted, peak_kib};

/// Trials of a block of the made-up run.
const BLOCK: usize = 28;
/// Sizes in trials.
const SIZES: [usize; 3] = [5_600, 22_400, 50_400];
/// Sizes of sets, in runs a side.
const SETS: [usize; 3] = [60, 250, 1_000];
/// Every so many trials one is remarked.
const REMARKED: usize = 16;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a step took: seconds, and bytes of what it made.
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

fn measure(sizes: &[usize], sets: &[usize]) -> Outcome<()> {
    println!(
        "{:<28} {:>9} {:>9} {:>8} {:>9} {:>8} {:>10}",
        "step", "size", "s", "exponent", "peak MiB", "exponent", "bytes"
    );
    let parent = tempfile::tempdir()?;
    let mut folders = Vec::new();
    for &size in sizes {
        for name in ["base", "new"] {
            let folder = parent.path().join(format!("{name}-{size}"));
            fs::create_dir(&folder)?;
            child(&["make".as_ref(), folder.as_os_str(), size.to_string().as_ref()])?;
            folders.push(folder);
        }
    }
    let of = |name: &str| -> Vec<(usize, String)> {
        let path = |size: &usize| parent.path().join(format!("{name}-{size}")).display().to_string();
        sizes.iter().map(|size| (*size, path(size))).collect()
    };
    for (step, title) in [
        ("read", "read"),
        ("analyse", "read, analyse"),
        ("page", "read, analyse, page"),
        ("compare", "compare two runs"),
    ] {
        print(step, title, &of("base"))?;
    }
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

/// A run's folder as a finished run leaves it: some trials are remarked, more than a run may have that is reportable.
fn make(folder: &Path, trials: usize) -> Outcome<()> {
    let is_new = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("new"));
    let record = counted(another(1 + u64::from(is_new), (trials / BLOCK) as u32, false));
    fs::write(folder.join("run.json"), serde_json::to_vec(&record.run)?)?;
    let mut lines = BufWriter::new(File::create(folder.join("trials.jsonl"))?);
    for (index, mut trial) in record.trials.into_iter().enumerate() {
        if index % REMARKED == 0 {
            remark(&mut trial);
        }
        serde_json::to_writer(&mut lines, &trial)?;
        lines.write_all(b"\n")?;
    }
    Ok(lines.flush()?)
}

fn remark(trial: &mut Trial) {
    trial.facts.insert("host.other_cpu_percent".to_owned(), 9.into());
    let text = "other processes took 9 % of the machine's CPUs".to_owned();
    trial.remarks.push(Remark { check: "host.other_cpu_percent".to_owned(), text });
}

fn take(step: &str, what: &str) -> Outcome<Took> {
    let path = PathBuf::from(what);
    let began = Instant::now();
    let bytes = match step {
        "read" => Record::load(&path)?.trials.len(),
        "analyse" => analyse(&Record::load(&path)?).headline.len(),
        "page" => {
            let record = Record::load(&path)?;
            Report::new(&record, &analyse(&record)).html()?.len()
        }
        "compare" => {
            let new = PathBuf::from(what.replacen("base-", "new-", 1));
            judged(&[Record::load(&path)?], &[Record::load(&new)?])?
        }
        "sets" => {
            let runs: u64 = what.parse()?;
            judged(&set(1, runs), &set(1 + runs, runs))?
        }
        other => return Err(format!("there is no step {other}").into()),
    };
    Ok((began.elapsed().as_secs_f64(), bytes))
}

fn set(first_seed: u64, runs: u64) -> Vec<Record> {
    let mut set = Set::default();
    (first_seed..first_seed + runs).for_each(|seed| set.add(counted(another(seed, 8, false))));
    set.into_records()
}

fn judged(base: &[Record], new: &[Record]) -> Outcome<usize> {
    let judgement = compare(Sides::Runs { base, new, allowed: &Default::default() }, &Policy::default(), None)?;
    Ok(judgement.headline.len())
}
