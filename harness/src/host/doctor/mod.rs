//! What this machine has and lacks for measuring, and what makes its numbers noisy: one line each.

mod engine;
mod files;
mod guests;
mod probe;
mod storage;
mod system;

use serde::Serialize;

use super::{fingerprint, packages, read, versions};

pub use probe::{NoiseFigure, measure as measure_noise};

/// How a finding bears on measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Numbers will be noisier, or something cannot be measured.
    Matters,
    /// The kernel does not say here.
    Unreadable,
    /// `bench run` cannot work.
    Missing,
}

/// One line of `bench doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How it bears on measuring.
    pub level: Level,
    /// What was found.
    pub value: String,
    /// Why it matters.
    pub why: String,
    /// What to do; empty when fine, and where nothing can be done.
    pub advice: String,
}

/// A value with its level, why it matters, and what to do where it is not fine.
fn finding(name: &str, level: Level, value: impl Into<String>, why: &str, advice: &str) -> Finding {
    let advice = if level == Level::Fine { String::new() } else { advice.to_owned() };
    Finding { name: name.to_owned(), level, value: value.into(), why: why.to_owned(), advice }
}

/// What cannot be read is said to be so, never guessed.
fn unreadable(name: &str, why: &str) -> Finding {
    finding(name, Level::Unreadable, "not readable here", why, "")
}

fn fine_if(fine: bool) -> Level {
    if fine { Level::Fine } else { Level::Matters }
}

/// Look at everything.
pub fn examine() -> Vec<Finding> {
    let mut findings = vec![system::root()];
    findings.extend(packages::programs().map(program));
    findings.extend(system::cgroups());
    findings.extend(system::limits());
    findings.extend(guests::all());
    findings.push(engine::docker());
    findings.push(system::machine());
    findings.extend(files::all());
    findings.extend(system::noise());
    findings.extend(storage::all(std::path::Path::new(".")));
    findings
}

fn program(program: &packages::Program) -> Finding {
    let name = program.name;
    let why = format!("needed for {}", program.purpose);
    match packages::find(name).map(|path| (versions::unfit(name, &path), path)) {
        Some((None, path)) => finding(name, Level::Fine, path.display().to_string(), &why, ""),
        Some((Some(unfit), _)) => finding(name, Level::Missing, unfit, &why, "put a working one first in PATH"),
        None => {
            let advice = format!("install the package {} (`bench doctor --install`)", program.package);
            finding(name, Level::Missing, "not found", &why, &advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_says_why_and_what_is_not_fine_what_to_do() {
        let findings = examine();
        assert!(findings.len() >= 30, "{}", findings.len());
        for finding in &findings {
            assert!(!finding.why.is_empty() && !finding.value.is_empty(), "{finding:?}");
            let has_advice = matches!(finding.level, Level::Matters | Level::Missing);
            assert_eq!(has_advice, !finding.advice.is_empty(), "{finding:?}");
        }
        let mut names: Vec<_> = findings.iter().map(|finding| &finding.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), findings.len(), "no name twice");
    }
}
