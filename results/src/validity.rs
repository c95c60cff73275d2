//! The checks of a trial: one table of what is compared, the bound, what follows, and the words for it.
//!
//! The same table stands in docs/VALIDITY.md, written by the test at the end of this file.

mod table;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::record::{Remark, Trial};
pub use table::CHECKS;

/// Most that an idle disk may move: more before the run is somebody else's work, and does not excuse more of it.
pub const IDLE_DISK_BYTES_PER_S: f64 = 1e6;

/// What follows when a figure is beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The trial is invalid, whatever the profile.
    Hard,
    /// The trial is invalid, but in `smoke`: its trials are too short to be judged so.
    Soft,
    /// The same, and it is executed again at once: what disturbed it comes from outside of the machine, and may pass.
    Disturbed,
    /// It is remarked, but in `smoke`: the trial counts, and too many such trials make the run not reportable.
    Remark,
}

impl Weight {
    /// The words in the documentation.
    pub fn text(self) -> &'static str {
        match self {
            Weight::Hard => "invalid, also in `smoke`",
            Weight::Soft => "invalid",
            Weight::Disturbed => "invalid, and executed again",
            Weight::Remark => "remark",
        }
    }
}

/// The bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// More is too much.
    AtMost(f64),
    /// Less is too little.
    AtLeast(f64),
}

impl Bound {
    /// True when a figure keeps it.
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Bound::AtMost(bound) => figure <= bound,
            Bound::AtLeast(bound) => figure >= bound,
        }
    }

    /// The one of two figures that is nearer to the bound or farther beyond it.
    pub fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Bound::AtMost(_) => a.max(b),
            Bound::AtLeast(_) => a.min(b),
        }
    }
}

/// One check of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// Name of the fact that holds the figure, and of the check.
    pub fact: &'static str,
    /// What the figure is.
    pub compared: &'static str,
    /// Its bound.
    pub bound: Bound,
    /// Unit of figure and bound; empty for counts.
    pub unit: &'static str,
    /// What follows.
    pub weight: Weight,
    /// What is said then; `{name}` stands for the fact of that name.
    pub sentence: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

impl Check {
    /// The bound in words: `at most 1 %`.
    pub fn bound_text(&self) -> String {
        let (words, value) = match self.bound {
            Bound::AtMost(value) => ("at most", value),
            Bound::AtLeast(value) => ("at least", value),
        };
        format!("{words} {}", self.with_unit(&number(value)))
    }

    /// A figure with its unit: `0.4 %`.
    pub fn figure_text(&self, figure: f64) -> String {
        self.with_unit(&number(figure))
    }

    fn with_unit(&self, number: &str) -> String {
        format!("{number} {}", self.unit).trim_end().to_owned()
    }

    /// The facts that it is said with.
    pub(crate) fn says(&self) -> impl Iterator<Item = &'static str> {
        let named = self.sentence.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
        named.chain([self.fact])
    }

    /// The sentence with the figures of a trial, and what to do.
    fn words(&self, facts: &BTreeMap<String, Value>) -> String {
        let mut said = String::new();
        let mut rest = self.sentence;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            said.push_str(before);
            said.push_str(&match facts.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.as_f64().map_or_else(|| "unknown".to_owned(), number),
                None => "unknown".to_owned(),
            });
            rest = after;
        }
        format!("{said}{rest}; {}", self.advice)
    }
}

/// Three significant digits at most, and no decimals where they are zero.
fn number(value: f64) -> String {
    let decimals = if value.abs() >= 100.0 { 0 } else { 2 };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A check that a trial did not pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which.
    pub check: &'static Check,
    /// What it means, in words for people.
    pub sentence: String,
}

/// The checks that these facts do not pass; a figure that is absent is not judged. `soft`: not only the hard ones.
pub fn judge(facts: &BTreeMap<String, Value>, soft: bool) -> Vec<Finding> {
    let fails = |check: &&'static Check| {
        let figure = facts.get(check.fact).and_then(Value::as_f64);
        (soft || check.weight == Weight::Hard) && figure.is_some_and(|figure| !check.bound.holds(figure))
    };
    CHECKS.iter().filter(fails).map(|check| Finding { check, sentence: check.words(facts) }).collect()
}

/// Why a judged trial should be executed again: it was disturbed, and nothing else is wrong with it.
pub fn why_again(trial: &Trial) -> Option<&str> {
    let disturbances: Vec<Finding> =
        judge(&trial.facts, true).into_iter().filter(|finding| finding.check.weight == Weight::Disturbed).collect();
    let is_all = trial.failure.is_none() && disturbances.len() == trial.invalid.len();
    trial.invalid.first().filter(|_| is_all).map(String::as_str)
}

/// Judge a trial by its facts: reasons for which it is invalid, and remarks. `soft` as for [`judge`].
pub fn apply(trial: &mut Trial, soft: bool) {
    for Finding { check, sentence } in judge(&trial.facts, soft) {
        match check.weight {
            Weight::Hard | Weight::Soft | Weight::Disturbed => trial.invalid.push(sentence),
            Weight::Remark => trial.remarks.push(Remark { check: check.fact.to_owned(), text: sentence }),
        }
    }
}

/// The check of this name.
pub fn find(fact: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.fact == fact)
}

/// Of some trials the one whose figure is nearest to the bound of this check or farthest beyond it; the first of equals, and of those
/// without a figure where none has one.
pub fn worst<'a>(fact: &str, trials: impl IntoIterator<Item = &'a Trial>) -> Option<&'a Trial> {
    let bound = find(fact).map(|check| check.bound);
    let is_worse = |than: &Trial, trial: &Trial| match (bound, than.figure(fact), trial.figure(fact)) {
        (Some(bound), Some(than), Some(figure)) => figure != than && bound.worse(than, figure) == figure,
        (_, than, figure) => than.is_none() && figure.is_some(),
    };
    trials.into_iter().reduce(|worst, trial| if is_worse(worst, trial) { trial } else { worst })
}

/// The table for the documentation, in Markdown.
pub fn markdown() -> String {
    let mut text =
        String::from("| fact | what is compared | bound | beyond it | what to do |\n|---|---|---|---|---|\n");
    for check in CHECKS {
        let Check { fact, compared, weight, advice, .. } = check;
        text.push_str(&format!("| `{fact}` | {compared} | {} | {} | {advice} |\n", check.bound_text(), weight.text()));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_is_the_farthest_on_the_wrong_side() {
        let record = crate::testing::record(1, 1, false);
        let with = |fact: &str, figures: [Option<f64>; 3]| {
            let mut trials = record.trials[..3].to_vec();
            for (trial, figure) in trials.iter_mut().zip(figures) {
                trial.facts.remove(fact);
                trial.facts.extend(figure.map(|figure| (fact.to_owned(), json!(figure))));
            }
            let id = worst(fact, &trials).map(|trial| trial.planned.id.clone());
            trials.iter().position(|trial| Some(&trial.planned.id) == id.as_ref())
        };
        assert_eq!(with("host.other_cpu_percent", [Some(6.0), Some(48.0), Some(7.0)]), Some(1));
        assert_eq!(with("fio.depth_reached_percent", [Some(80.0), Some(99.0), Some(70.0)]), Some(2), "less is worse");
        assert_eq!(with("host.other_cpu_percent", [None, Some(0.0), Some(0.0)]), Some(1));
        assert_eq!(with("host.other_cpu_percent", [None, None, None]), Some(0));
        assert_eq!(worst("host.other_cpu_percent", []), None);
    }

    /// The nearest figures on both sides of a bound.
    fn around(bound: Bound) -> (f64, f64) {
        match bound {
            Bound::AtMost(bound) => (bound, bound + 0.01),
            Bound::AtLeast(bound) => (bound, bound - 0.01),
        }
    }

    #[test]
    fn every_check_passes_at_its_bound_and_fails_just_beyond_it() {
        for check in CHECKS {
            let (inside, outside) = around(check.bound);
            let facts = |figure: f64| BTreeMap::from([(check.fact.to_owned(), json!(figure))]);
            assert_eq!(judge(&facts(inside), true), [], "{}", check.fact);
            let found = judge(&facts(outside), true);
            assert!(found.len() == 1 && found[0].check.fact == check.fact, "{}: {found:?}", check.fact);
            assert_eq!(
                judge(&facts(outside), false).is_empty(),
                check.weight != Weight::Hard,
                "{} in smoke",
                check.fact
            );
        }
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        assert_eq!(judge(&BTreeMap::new(), true), []);
        let odd = CHECKS.iter().map(|check| (check.fact.to_owned(), json!("unreadable"))).collect();
        assert_eq!(judge(&odd, true), []);
    }

    #[test]
    fn every_sentence_names_its_figures_and_what_to_do() {
        let mut names = std::collections::BTreeSet::new();
        for check in CHECKS {
            assert!(names.insert(check.fact), "{} twice", check.fact);
            let facts = BTreeMap::from([(check.fact.to_owned(), json!(around(check.bound).1))]);
            let said = check.words(&facts);
            assert!(!said.contains(['{', '}']) && said.contains(check.advice), "{said}");
            assert!(!said.ends_with('.') && !check.compared.is_empty(), "{said}");
        }
    }

    #[test]
    fn a_sentence_has_the_value_filled_in() {
        let facts = BTreeMap::from([
            ("host.other_cpu_percent".to_owned(), json!(48.213)),
            ("host.other_busiest".to_owned(), json!("cc1plus")),
        ]);
        let said = &judge(&facts, true)[0].sentence;
        assert!(
            said.starts_with("other processes took 48.21 % of the machine's CPUs, most of it `cc1plus`; "),
            "{said}"
        );
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.0, 0.5, 5.0, 99.999, 1234.5].map(number), ["0", "0.5", "5", "100", "1234"]);
    }

    /// `BLESS=1 cargo test -p bench-results` writes the table in the documentation anew.
    #[test]
    fn the_documentation_has_this_table() {
        let begin = "checks: written by a test of results/src/validity.rs";
        crate::testing::documented_in("VALIDITY.md", begin, "/checks", &markdown());
    }
}
