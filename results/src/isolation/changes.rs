//! What changed between two runs: probes that come out in another way.

use super::matrix::{Isolation, of};
use super::{Outcome, PROBES};
use crate::store::Record;

/// The probes whose outcome in an environment is not the same in both runs, in words; empty where a run did not look.
pub fn changes(base: &Record, new: &Record) -> Vec<String> {
    match (of(base), of(new)) {
        (Some(before), Some(after)) => between((&before, None), (&after, None)),
        _ => Vec::new(),
    }
}

/// The same of two environments of one run.
pub(crate) fn between_environments(record: &Record, base: &str, new: &str) -> Vec<String> {
    of(record).map(|found| between((&found, Some(base)), (&found, Some(new)))).unwrap_or_default()
}

/// True when both runs looked.
pub(crate) fn both_looked(base: &Record, new: &Record) -> bool {
    [base, new].iter().all(|record| record.trials.iter().any(|trial| !trial.observations.is_empty()))
}

fn between((before, base): (&Isolation, Option<&str>), (after, new): (&Isolation, Option<&str>)) -> Vec<String> {
    let mut said = Vec::new();
    for environment in after.environments.iter().filter(|name| new.is_none_or(|new| new == name.as_str())) {
        let earlier = base.unwrap_or(environment);
        for probe in PROBES.iter() {
            let found = before.cell(probe.id, earlier).zip(after.cell(probe.id, environment));
            let Some((was, is)) = found.filter(|(was, is)| was.outcome.text() != is.outcome.text()) else { continue };
            let worse = if is_loss(&was.outcome, &is.outcome) { ": less isolated" } else { "" };
            said.push(format!(
                "isolation: `{}` ({}) is {} in {environment}, and was {} in {}{worse}",
                probe.id,
                probe.resource.name(),
                told(&is.outcome),
                told(&was.outcome),
                if base.is_some() { earlier } else { "BASE" }
            ));
        }
    }
    said
}

/// True where the host is nearer than it was.
fn is_loss(was: &Outcome, is: &Outcome) -> bool {
    matches!((was, is), (Outcome::Own | Outcome::Denied, Outcome::Hosts))
}

fn told(outcome: &Outcome) -> String {
    match outcome.why() {
        Some(why) => format!("{} ({why})", outcome.text()),
        None => outcome.text().to_owned(),
    }
}
