//! What is kept of a trial's facts and histograms when they are let go, so that a report of half a million trials fits into memory.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::identity;
use crate::record::{Measurement, Remark, Trial};
use crate::validity::{self, CHECKS};

/// How many bytes fio moved. Nobody asks how many later, but whether it is known.
pub(crate) const MOVED: &str = "fio.bytes";
/// Why a job of fio moves bytes that nothing could account for. Asked for as [`MOVED`] is.
pub(crate) const UNACCOUNTED: &str = "fio.unaccounted";

/// What stands for facts and histograms of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// [`identity::of_trial`].
    pub(crate) digest: u128,
    /// Absent where all facts are there; else those are that findings are said with.
    figures: Option<Figures>,
}

fn bit(fact: &str) -> Option<u64> {
    Some(1 << facts().position(|known| known == fact)?)
}

/// The figures of checks.
#[derive(Debug, Clone, PartialEq)]
struct Figures {
    /// Which of [`facts`] there are, bit by bit.
    present: u64,
    /// Those of checks, in that order.
    figures: Box<[f64]>,
}

/// Facts that are kept: those of checks as figures, the others as known.
fn facts() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.fact).chain([MOVED, UNACCOUNTED])
}

const _: () = assert!(CHECKS.len() + 2 <= u64::BITS as usize, "each fact that is kept has a bit");

impl Figures {
    /// Absent where facts may be asked for that are no figures: one of a check is no number, or another bench remarked something.
    fn of(trial: &Trial) -> Option<Figures> {
        let known = &trial.facts;
        let (mut present, mut figures) = (0, Vec::new());
        for (at, fact) in facts().enumerate() {
            if let Some(value) = known.get(fact) {
                present |= 1 << at;
                if at < CHECKS.len() {
                    figures.push(value.as_f64()?);
                }
            }
        }
        let is_known = |remark: &Remark| validity::find(&remark.check).is_some();
        trial.remarks.iter().all(is_known).then(|| Figures { present, figures: figures.into() })
    }

    fn get(&self, fact: &str) -> Option<f64> {
        let bit = bit(fact).filter(|bit| self.present & bit != 0)?;
        let before = (self.present & (bit - 1)).count_ones() as usize;
        self.figures.get(before).copied()
    }
}

impl Trial {
    /// Let go of facts and histograms, and keep what is said of them. What is judged by them was judged before.
    pub(crate) fn fold(&mut self) {
        let figures = Figures::of(self);
        if figures.is_some() {
            let findings = validity::judge(&self.facts, true);
            let said: BTreeSet<&str> = findings.iter().flat_map(|finding| finding.check.says()).collect();
            self.facts =
                std::mem::take(&mut self.facts).into_iter().filter(|(name, _)| said.contains(&**name)).collect();
        }
        self.folded = Some(Box::new(Folded { digest: identity::of_trial(self), figures }));
        self.histograms = BTreeMap::new();
        self.measurements.shrink_to_fit();
    }

    /// Bytes that it takes in memory once it is folded, about.
    pub(crate) fn bytes(&self) -> u64 {
        /// An entry of a map: key, value, and their share of the tree.
        const ENTRY: usize = 150;
        fn of(value: &Value) -> usize {
            match value {
                Value::String(text) => text.len(),
                Value::Array(list) => list.iter().map(|one| size_of::<Value>() + of(one)).sum(),
                Value::Object(map) => map.iter().map(|(name, one)| ENTRY + name.len() + of(one)).sum(),
                _ => 0,
            }
        }
        let figures = self.figures().map_or(0, |figures| size_of_val(&*figures.figures));
        let names = [&self.planned.id, &self.planned.workload, &self.planned.environment, &self.started_at];
        let texts = names.map(|name| name.len()).iter().sum::<usize>() + self.failure.as_ref().map_or(0, String::len);
        let said = self.invalid.iter().map(|text| size_of::<String>() + text.len());
        let remarks = self.remarks.iter().map(|one| size_of::<Remark>() + one.check.len() + one.text.len());
        let measured = self.measurements.iter().map(|one| size_of::<Measurement>() + one.metric.len());
        let facts = self.facts.iter().map(|(name, value)| ENTRY + name.len() + of(value));
        let lists = said.chain(remarks).chain(measured).chain(facts).sum::<usize>();
        (size_of::<Trial>() + size_of::<Folded>() + figures + texts + lists) as u64
    }

    fn figures(&self) -> Option<&Figures> {
        self.folded.as_ref()?.figures.as_ref()
    }

    /// The figure of a check; absent where there is none.
    pub fn figure(&self, fact: &str) -> Option<f64> {
        match self.figures() {
            Some(figures) => figures.get(fact),
            None => self.facts.get(fact).and_then(Value::as_f64),
        }
    }

    /// True where one of [`facts`] is known.
    pub(crate) fn knows(&self, fact: &str) -> bool {
        let is_kept = |figures: &Figures| bit(fact).is_some_and(|bit| figures.present & bit != 0);
        self.figures().map_or_else(|| self.facts.contains_key(fact), is_kept)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn trial(facts: Vec<(String, Value)>) -> Trial {
        Trial { facts: facts.into_iter().collect(), ..testing::record(1, 1, false).trials[0].clone() }
    }

    #[test]
    fn facts_that_say_more_than_a_figure_are_kept() {
        for (value, is_kept) in [(json!(0), false), (json!(0.5), false), (json!(9), true), (json!("unknown"), true)] {
            let facts =
                [("host.other_cpu_percent", value.clone()), ("host.other_busiest", json!("cc1")), ("x", json!(1))];
            let mut folded = trial(facts.map(|(name, value)| (name.to_owned(), value)).to_vec());
            let whole = folded.clone();
            folded.fold();
            assert_eq!(folded.facts.contains_key("host.other_cpu_percent"), is_kept, "{value}");
            let mut remarked = whole.clone();
            remarked.remarks.push(Remark { check: "of.another".to_owned(), text: String::new() });
            remarked.fold();
            assert!(!remarked.facts.is_empty(), "the worst of them is told by it");
            assert!(folded.histograms.is_empty() && folded.measurements == whole.measurements);
            assert_eq!(identity::of_trial(&folded), identity::of_trial(&whole));
        }
    }

    proptest! {
        #[test]
        fn nobody_who_asks_hears_anything_else(
            chosen in proptest::collection::vec((any::<proptest::sample::Index>(), -10.0_f64..200.0), 0..40),
            others in proptest::collection::vec("[a-z.]{1,12}", 0..5),
        ) {
            let known: Vec<&str> = facts().collect();
            let figures = chosen.iter().map(|(at, figure)| match *at.get(&known) {
                UNACCOUNTED => (UNACCOUNTED.to_owned(), json!("text")),
                fact => (fact.to_owned(), json!(figure)),
            });
            let facts = figures.chain(others.into_iter().map(|name| (name, json!("text")))).collect();
            let whole = trial(facts);
            let mut folded = whole.clone();
            folded.fold();
            for (at, fact) in known.into_iter().enumerate() {
                prop_assert!(at >= CHECKS.len() || folded.figure(fact) == whole.figure(fact));
                prop_assert_eq!(folded.knows(fact), whole.knows(fact));
            }
            for soft in [true, false] {
                prop_assert_eq!(validity::judge(&folded.facts, soft), validity::judge(&whole.facts, soft));
            }
            prop_assert_eq!(validity::why_again(&folded), validity::why_again(&whole));
        }
    }
}
