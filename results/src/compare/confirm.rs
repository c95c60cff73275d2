//! An alarm must come back in fresh runs before it fails the gate.

use super::{Judged, Judgement, Part};
use crate::between::{self, LEAST_BLOCKS_A_RUN, RunMean};
use crate::metric;
use crate::sentence;
use crate::statistics::Interval;
use crate::verdict::{Verdict, decide};

impl Judgement {
    /// Take a fresh comparison into account: an alarm whose row has another verdict there does not fail the gate any more. One
    /// whose row is broken there, or absent, stands. Where the fresh run is beyond the margin and by itself cannot tell, all runs of
    /// NEW together may: each is a draw of its own, and their mean is known better.
    pub fn confirm(&mut self, fresh: &Judgement) {
        for row in self.rows.iter_mut().filter(|row| row.part == Part::Fails) {
            let found = fresh.rows.iter().find(|other| other.is_about_the_same_as(row));
            let verdict = found.and_then(|found| found.verdict);
            row.confirmations.push(verdict);
            // A fresh run that failed, or did not execute the row, speaks for nobody.
            let Some(found) = found.filter(|found| found.part != Part::Broken) else {
                row.sentence.push_str("; it stands, since a fresh run has no valid values of it");
                continue;
            };
            row.fresh_values.push(found.new_values.clone());
            let word = verdict.map_or("no verdict".to_owned(), |verdict| verdict.to_string());
            if verdict == row.verdict {
                row.sentence.push_str("; it came back in a fresh run");
            } else if verdict.is_some_and(|verdict| verdict != Verdict::Inconclusive) {
                row.part = Part::Unconfirmed;
                row.sentence.push_str(&format!("; it did not come back in a fresh run ({word})"));
            } else if let Some(together) = together(row, found) {
                row.sentence.push_str(&format!("; a fresh run by itself cannot tell, and together: {together}"));
            } else {
                row.part = Part::Undecided;
                row.sentence.push_str(&format!("; a fresh run cannot tell ({word})"));
            }
        }
        self.conclude();
    }
}

/// What all runs of NEW together say against BASE, where it is still the row's verdict and each run has enough blocks.
fn together(row: &Judged, fresh: &Judged) -> Option<String> {
    let points_to = |ratio| decide(Interval { low: ratio, high: ratio }, row.margin, row.better);
    fresh.ratio.filter(|&ratio| fresh.p.is_some() && Some(points_to(ratio)) == row.verdict)?;
    let enough = |values: &Vec<f64>| RunMean::of(values).filter(|run| run.blocks >= LEAST_BLOCKS_A_RUN);
    let new: Option<Vec<RunMean>> = std::iter::once(&row.new_values).chain(&row.fresh_values).map(enough).collect();
    let effect = between::effect(&new?, &[RunMean::of(&row.base_values)?], &row.between?)?;
    let interval = effect.interval()?;
    let verdict = decide(interval, row.margin, row.better);
    let metric = metric::find(&row.metric)?;
    (Some(verdict) == row.verdict).then(|| sentence::judged(effect.ratio, interval, verdict, row.margin, metric))
}
