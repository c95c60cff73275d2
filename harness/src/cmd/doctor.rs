//! `bench doctor`: is this machine fit to measure on?

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::caller::Hands;
use crate::failure::need_root;
use crate::host::doctor::{Finding, Level, NoiseFigure, examine, measure_noise};
use crate::host::packages;
use crate::{output, paths};

/// Arguments of `bench doctor`.
#[derive(clap::Args)]
pub struct DoctorArgs {
    /// Install the packages that are missing (Debian, Ubuntu); asks first on a terminal
    #[arg(long)]
    install: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "install")]
    json: bool,
    /// Boot a guest under KVM unless the result is known already: nothing else tells whether KVM works
    #[arg(long, conflicts_with = "install")]
    kvm: bool,
    /// Measure the noise of the CPUs and of the disk below a folder for ten seconds
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = ".", conflicts_with = "install")]
    noise: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Told {
    findings: Vec<Finding>,
    noise: Option<NoiseFigure>,
}

/// Look, or install. Exit code 2 when something is missing without which `bench run` cannot work.
pub fn run(args: &DoctorArgs) -> Result<i32> {
    if args.install {
        packages::install()?;
        return Ok(0);
    }
    if args.kvm {
        try_kvm()?;
    }
    let findings = examine();
    let noise = args.noise.as_deref().map(|folder| Hands::in_folder(folder)?.act(|| measure_noise(folder)));
    let noise = noise.transpose()?;
    let broken = findings.iter().any(|finding| finding.level == Level::Missing);
    if args.json {
        output::print_json(&Told { findings, noise })?;
    } else {
        let noise = noise.as_ref();
        let noise = noise.map_or("\nnoise: `bench doctor --noise` measures it in ten seconds\n".to_owned(), told);
        output::print(&(text(&findings) + &noise))?;
    }
    Ok(if broken { crate::failure::USAGE } else { 0 })
}

/// Whether it worked or not is remembered where [`examine`] looks.
fn try_kvm() -> Result<()> {
    need_root("bench doctor --kvm", "the guest gets a cgroup of its own")?;
    let mut boot = Command::new(paths::OWN_EXECUTABLE);
    boot.args(["vm", "run", "--options", "accel=kvm", "--", "true"]).stdin(Stdio::null()).stdout(Stdio::null());
    boot.status().context("booting a guest under KVM").map(drop)
}

fn text(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        let mark = match finding.level {
            Level::Fine => "ok",
            Level::Matters => "note",
            Level::Unreadable => "?",
            Level::Missing => "MISSING",
        };
        vec![mark.to_owned(), finding.name.clone(), format!("{} ({})", finding.value, finding.why)]
    });
    let mut text = output::columns(&rows.collect::<Vec<_>>());
    for finding in findings.iter().filter(|finding| !finding.advice.is_empty()) {
        text.push_str(&format!("\n{}: {}\n", finding.name, finding.advice));
    }
    text
}

fn told(noise: &NoiseFigure) -> String {
    let percent = |share: Option<f64>| share.map_or("not known".to_owned(), |share| format!("{:.2} %", share * 100.0));
    let disk = match &noise.no_disk {
        Some(why) => format!("not known: {why}"),
        None => percent(noise.disk_sd_log),
    };
    let rows = [
        ("taken from a spinning program", percent(Some(noise.taken))),
        ("longest gap", format!("{:.0} µs", noise.longest_gap_ns as f64 / 1e3)),
        ("steal", percent(noise.steal)),
        ("spread of CPU work", percent(noise.cpu_sd_log)),
        ("spread of direct reads", disk),
    ]
    .map(|(name, value)| vec![format!("  {name}"), value]);
    format!("\nnoise in ten seconds\n{}{}\n", output::columns(&rows), noise.sentence)
}
