//! `bench doctor`: is this machine fit to measure on?

use anyhow::Result;

use crate::host::doctor::{Level, examine};
use crate::host::packages;
use crate::output;

/// Arguments of `bench doctor`.
#[derive(clap::Args)]
pub struct DoctorArgs {
    /// Install the packages that are missing (Debian, Ubuntu); asks first on a terminal
    #[arg(long)]
    install: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "install")]
    json: bool,
}

/// Look, or install. Exit code 2 when something is missing without which `bench run` cannot work.
pub fn run(args: &DoctorArgs) -> Result<i32> {
    if args.install {
        packages::install()?;
        return Ok(0);
    }
    let findings = examine();
    if args.json {
        output::print_line(&serde_json::to_string_pretty(&findings)?);
    } else {
        let rows = findings.iter().map(|finding| {
            let mark = match finding.level {
                Level::Fine => "ok",
                Level::Matters => "note",
                Level::Missing => "MISSING",
            };
            vec![mark.to_owned(), finding.name.clone(), finding.value.clone()]
        });
        output::print(&output::columns(&rows.collect::<Vec<_>>()));
        for finding in findings.iter().filter(|finding| finding.level != Level::Fine) {
            output::print_line(&format!("\n{}: {}", finding.name, finding.advice));
        }
    }
    let broken = findings.iter().any(|finding| finding.level == Level::Missing);
    Ok(if broken { crate::failure::USAGE } else { 0 })
}
