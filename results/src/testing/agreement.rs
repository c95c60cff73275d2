//! That `report RUN` and `compare RUN --env reference,X` say the same of a record.

use crate::analysis::{Analysis, Comparison, analyse};
use crate::compare::{CompareError, Judged, Judgement, Sides, compare};
use crate::policy::Policy;
use crate::statistics::Interval;
use crate::store::Record;
use crate::verdict::{Verdict, decide};

/// Share by which two numbers of the same thing may differ.
const TOLERANCE: f64 = 1e-9;

/// Where the two say different things of a record, in words.
pub fn disagreement(record: &Record) -> Option<String> {
    let analysis = analyse(record);
    let (runs, base) = (std::slice::from_ref(record), record.run.plan.reference.as_str());
    let others = record.run.environments.iter().map(|one| one.name.as_str()).filter(|name| *name != base);
    others.into_iter().find_map(|new| {
        let found = match compare(Sides::Environments { runs, base, new }, &Policy::default(), None) {
            Ok(judgement) => of_environment(&analysis, &judgement, new),
            Err(e) => refused(&analysis, &e, new),
        };
        found.map(|what| format!("{new} against {base}: {what}"))
    })
}

/// What cannot be compared has no verdict.
fn refused(analysis: &Analysis, e: &CompareError, environment: &str) -> Option<String> {
    let mut judged = analysis.comparisons.iter().filter(|one| one.environment == environment);
    let judged = judged.find(|one| one.deciding && one.verdict.is_some())?;
    Some(format!("the report says {:?} of {}, and a comparison is refused: {e}", judged.verdict, judged.workload))
}

fn of_environment(analysis: &Analysis, judgement: &Judgement, name: &str) -> Option<String> {
    let mut comparisons = analysis.comparisons.iter().filter(|one| one.environment == name);
    let missing = comparisons.clone().find(|one| one.verdict.is_some() && row_of(judgement, one).is_none());
    if let Some(one) = missing {
        return Some(format!(
            "the report judges {} by {}, and the comparison has no such row",
            one.workload, one.metric
        ));
    }
    comparisons.find_map(|one| {
        let row = row_of(judgement, one)?;
        differ(one, row).map(|what| format!("{} by {}: {what}", one.workload, one.metric))
    })
}

fn row_of<'a>(judgement: &'a Judgement, one: &Comparison) -> Option<&'a Judged> {
    judgement.rows.iter().find(|row| row.workload == one.workload && row.metric == one.metric)
}

fn differ(one: &Comparison, row: &Judged) -> Option<String> {
    // A block without a ratio is 0 in the comparison, and named in the sentence of the report.
    let compared = row.new_values.iter().filter(|value| **value > 0.0).count();
    if one.pairs.len() != compared {
        return Some(format!("{} blocks in the report and {compared} in the comparison", one.pairs.len()));
    }
    let is_near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()) || a.to_bits() == b.to_bits();
    let same_ratio = match (one.ratio, row.ratio) {
        (Some(a), Some(b)) => is_near(a, b),
        (a, b) => a.is_none() == b.is_none(),
    };
    let same = |a: Interval, b: Interval| is_near(a.low, b.low) && is_near(a.high, b.high);
    // An interval that has no end is shown by neither, or has no verdict.
    let same_interval = one.interval.zip(row.interval).is_none_or(|(a, b)| same(a, b));
    if !same_ratio || !same_interval {
        return Some(format!("{:?} {:?} and {:?} {:?}", one.ratio, one.interval, row.ratio, row.interval));
    }
    if !one.deciding {
        return None;
    }
    let decided = |verdict: Option<Verdict>| verdict.filter(|verdict| *verdict != Verdict::Inconclusive);
    let (report, comparison) = (decided(one.verdict), decided(alone(row)));
    (report != comparison).then(|| {
        format!("{report:?} ({}) in the report and {comparison:?} ({}) in the comparison", one.sentence, row.sentence)
    })
}

/// The verdict of a row as if there were no other: a gate adjusts its alarms for the family, and a report does not.
fn alone(row: &Judged) -> Option<Verdict> {
    let is_adjusted = row.verdict == Some(Verdict::Inconclusive) && row.p_holm > row.p;
    match row.interval.filter(|_| is_adjusted) {
        Some(interval) => Some(decide(interval, row.margin, row.better)),
        None => row.verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_disagreement_is_seen() {
        let record = crate::testing::record(1, 8, false);
        assert_eq!(disagreement(&record), None);
        let analysis = analyse(&record);
        let sides = Sides::Environments { runs: std::slice::from_ref(&record), base: "native", new: "vm" };
        let judgement = compare(sides, &Policy::default(), None).unwrap();
        let edits: [fn(&mut Comparison); 5] = [
            |one| one.verdict = Some(Verdict::Equivalent),
            |one| one.verdict = None,
            |one| one.ratio = one.ratio.map(|ratio| ratio * (1.0 + 1e-8)),
            |one| one.interval = one.interval.map(|interval| Interval { low: interval.low * 1.001, ..interval }),
            |one| one.pairs.truncate(7),
        ];
        for (at, edit) in edits.iter().enumerate() {
            let mut other = analysis.clone();
            let is_it = |one: &&mut Comparison| one.deciding && one.environment == "vm" && one.workload == "rand-read";
            other.comparisons.iter_mut().filter(is_it).for_each(edit);
            assert!(of_environment(&other, &judgement, "vm").is_some(), "{at}");
        }
        assert_eq!(of_environment(&analysis, &judgement, "vm"), None);
        let refusal = CompareError::SameEnvironment("vm".to_owned());
        assert!(refused(&analysis, &refusal, "vm").is_some() && refused(&analysis, &refusal, "nobody").is_none());
        let none = Judgement { rows: Vec::new(), ..judgement };
        assert!(of_environment(&analysis, &none, "vm").unwrap().contains("no such row"));
    }
}
