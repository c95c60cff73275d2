//! `--history DIR`: the earlier runs of a series, of which only what a comparison needs is kept.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use bench_results::compare::History;
use bench_results::primary::Primary;
use bench_results::store::{Record, find_runs};

use super::load_record;

/// Read the folder, one run at a time.
pub fn of(folder: &Path, base: &[Record], new: &[Record], primary: Option<&Primary>) -> Result<History> {
    let ([base], [new]) = (base, new) else {
        bail!(
            "--history gives the spread between two single runs, and a set of runs contains its own spread: leave it out"
        );
    };
    let shown = folder.display();
    ensure!(folder.is_dir(), "--history {shown}: there is no such folder; give the parent of the earlier runs");
    ensure!(
        !folder.join("run.json").exists(),
        "--history {shown} is one run: give the folder that holds the earlier ones"
    );
    let mut history = History::new(base, new);
    // A run that is being written, or was damaged, is one run less and no reason to judge nothing.
    for path in find_runs(Path::new(""), &folder.join("").display().to_string())? {
        match load_record(&path) {
            Ok(mut record) => {
                primary.iter().for_each(|primary| primary.decide(&mut record));
                history.add(&record);
            }
            Err(error) => {
                eprintln!("bench: {} is left out of the history: {error:#}", path.display());
                history.leave_out("that cannot be read");
            }
        }
    }
    Ok(history)
}
