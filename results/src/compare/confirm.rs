//! An alarm must come back in fresh runs before it fails the gate.

use super::{Judgement, Part};
use crate::verdict::Verdict;

impl Judgement {
    /// Take a fresh comparison into account: an alarm whose row has another verdict there does not fail the gate any more. One
    /// whose row is broken there, or absent, stands.
    pub fn confirm(&mut self, fresh: &Judgement) {
        for row in self.rows.iter_mut().filter(|row| row.part == Part::Fails) {
            let found = fresh.rows.iter().find(|other| other.is_about_the_same_as(row));
            let verdict = found.and_then(|found| found.verdict);
            row.confirmations.push(verdict);
            // A fresh run that failed, or did not execute the row, speaks for nobody.
            if found.is_none_or(|found| found.part == Part::Broken) {
                row.sentence.push_str("; it stands, since a fresh run has no valid values of it");
                continue;
            }
            let word = verdict.map_or("no verdict".to_owned(), |verdict| verdict.to_string());
            if verdict == row.verdict {
                row.sentence.push_str("; it came back in a fresh run");
            } else if verdict.is_none_or(|verdict| verdict == Verdict::Inconclusive) {
                row.part = Part::Undecided;
                row.sentence.push_str(&format!("; a fresh run cannot tell ({word})"));
            } else {
                row.part = Part::Unconfirmed;
                row.sentence.push_str(&format!("; it did not come back in a fresh run ({word})"));
            }
        }
        self.conclude();
    }
}
