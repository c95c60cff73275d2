//! Error rates of the verdicts on this machine: `calibrate record PARENT RUN FILE` keeps the block residuals of a run,
//! `calibrate replay FILE` simulates runs from them and prints a table. `make calibrate` does both.

use std::error::Error;
use std::path::Path;

use bench_results::calibration::{Residuals, calibrate};
use bench_results::simulation::RUNS;
use bench_results::store::{Record, find_run};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["record", parent, run, file] => {
            let record = Record::load(&find_run(Path::new(parent), run)?)?;
            std::fs::write(file, format!("{}\n", serde_json::to_string_pretty(&Residuals::of(&record))?))?;
            Ok(())
        }
        ["replay", file] => {
            print(&serde_json::from_slice(&std::fs::read(file)?)?);
            Ok(())
        }
        _ => Err("usage: calibrate record PARENT RUN FILE | calibrate replay FILE".into()),
    }
}

fn print(residuals: &Residuals) {
    println!("residuals of {}: {}", residuals.started_at, residuals.command.join(" "));
    println!(
        "{} × {} s, each after {} s; {RUNS} simulated runs for each figure\n",
        residuals.turns, residuals.runtime_s, residuals.warmup_s
    );
    println!(
        "| profile | workload | environment | blocks | spread | false alarms | equal found | 10 % found | 5 % worse | 5 % equal |"
    );
    println!("|{}", " --- |".repeat(10));
    for row in calibrate(residuals, RUNS) {
        let percent = |fraction: f64| format!("{:.1} %", fraction * 100.0);
        let cells = [
            row.profile.to_owned(),
            row.workload.clone(),
            row.environment.clone(),
            row.blocks.to_string(),
            percent(row.sd_log),
            format!("{:.2} %", row.false_alarms() * 100.0),
            percent(row.equal.equivalent),
            percent(row.slowdown.worse),
            percent(row.edge.worse),
            percent(row.edge.equivalent),
        ];
        println!("| {} |", cells.join(" | "));
    }
}
