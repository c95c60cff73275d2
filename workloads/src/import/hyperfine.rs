//! hyperfine's results (`--export-json`): the time of each run of each command.

use std::collections::BTreeMap;

use super::place::{Fault, Place};
use super::{Results, Sample, Tool, Workload, number_equals};
use crate::workload::Measured;

/// Name of the metric that commands are compared by.
const DECIDING: &str = "wall_time_ns";

/// Read a result.
pub(super) fn results(at: &Place<'_>) -> Result<Results, Fault> {
    let list = at.field("results")?;
    let commands = list.items()?;
    if commands.is_empty() {
        return Err(list.fault("it is empty: no command was measured"));
    }
    let mut workloads: Vec<Workload> = Vec::new();
    for command in &commands {
        workloads.push(workload(command)?);
    }
    number_equals(workloads.iter_mut().map(|workload| &mut workload.name));
    let version = Tool::Hyperfine.name().to_owned();
    Ok(Results { tool: Tool::Hyperfine, version, workloads, notes: Vec::new() })
}

fn workload(at: &Place<'_>) -> Result<Workload, Fault> {
    at.fields()?;
    let name = at.field("command")?.text()?.to_owned();
    let all = at.field("times")?;
    let times = all.items()?;
    if times.is_empty() {
        return Err(all.fault("it is empty: there is the time of no run"));
    }
    // They are of those times: what cannot be read of them says that the file is not whole.
    for summary in ["mean", "median", "min", "max"] {
        at.find(summary).map(|summary| summary.positive()).transpose()?;
    }
    check_exits(at, times.len())?;
    let sample = |time: &Place<'_>| {
        let seconds = time.seconds()?;
        let mut measured = Measured::default();
        measured.put(DECIDING, seconds * 1e9);
        Sample::of(time, measured, seconds, DECIDING)
    };
    let samples = times.iter().map(sample).collect::<Result<_, Fault>>()?;
    let mut parameters = BTreeMap::from([
        ("engine".to_owned(), "hyperfine, imported".to_owned()),
        ("command".to_owned(), bench_agent::printable(&name, 400)),
    ]);
    for (parameter, value) in at.find("parameters").map(|all| all.fields()).transpose()?.into_iter().flatten() {
        let text = value.value().as_str().map_or_else(|| value.value().to_string(), str::to_owned);
        parameters
            .insert(bench_agent::printable(&format!("parameter {parameter}"), 80), bench_agent::printable(&text, 80));
    }
    let title = bench_agent::printable(&name, 120);
    Ok(Workload { name, title, deciding: DECIDING, parameters, samples })
}

/// That no run of the command failed (`--ignore-failure` goes on then).
fn check_exits(at: &Place<'_>, runs: usize) -> Result<(), Fault> {
    let Some(codes) = at.find("exit_codes") else { return Ok(()) };
    let all = codes.items()?;
    if all.len() != runs {
        return Err(codes.fault(format!("there are {} exit codes and {runs} times", all.len())));
    }
    for code in &all {
        match code.value().as_i64() {
            Some(0) => {}
            Some(status) => {
                return Err(code.fault(format!("this run failed with exit code {status}: its time is of no whole run")));
            }
            None if code.value().is_null() => {
                return Err(code.fault("this run was killed by a signal: its time is of no whole run"));
            }
            None => return Err(code.not("a whole number")),
        }
    }
    Ok(())
}
