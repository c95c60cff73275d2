//! The policy of a gate: margins, which metrics decide, what fails, what is ignored and until when.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::limits;
use crate::metric;
use crate::quantity::{Written, parse_margin};
use crate::verdict::Verdict;

/// Most fresh runs that an alarm can be asked to come back in.
const MOST_CONFIRMATIONS: u32 = 10;

/// How a comparison is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The margin of every row that no rule gives another; absent: that of BASE's profile.
    pub margin: Option<f64>,
    /// Verdicts of deciding rows that fail the gate: `worse`, `better`.
    pub fail_on: Vec<Verdict>,
    /// Whether a gate that cannot tell passes or fails.
    pub on_inconclusive: OnInconclusive,
    /// In how many fresh runs an alarm must come back.
    pub confirm: u32,
    metrics: Vec<MetricRule>,
    ignores: Vec<IgnoreRule>,
}

/// What a gate does that cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInconclusive {
    /// It passes.
    Pass,
    /// It fails, with an exit code of its own.
    Fail,
}

/// What the policy says of a metric.
#[derive(Debug, Clone, PartialEq)]
struct MetricRule {
    name: String,
    workloads: Option<Vec<String>>,
    decides: Option<bool>,
    margin: Option<f64>,
}

/// Rows that do not fail the gate for a while.
#[derive(Debug, Clone, PartialEq)]
struct IgnoreRule {
    workload: Option<String>,
    environment: Option<String>,
    metric: Option<String>,
    ignored: Ignored,
}

/// Why a row is ignored, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ignored {
    /// Why.
    pub reason: String,
    /// Last day, `2026-12-31`.
    pub until: String,
}

/// Names that a policy may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// Workloads of the runs and of the suites.
    pub workloads: BTreeSet<String>,
    /// Environments of the runs and of the suites.
    pub environments: BTreeSet<String>,
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("reading the policy {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something wrong.
    #[error("{file}:{line}:{column}: {message}")]
    Definition {
        /// The file.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// Line and column (in characters) of a byte of a text, both counted from 1.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PolicyFile {
    margin: Option<Spanned<Written>>,
    fail_on: Option<Vec<Spanned<String>>>,
    on_inconclusive: Option<Spanned<String>>,
    confirm: Option<Spanned<Written>>,
    #[serde(default, rename = "metric")]
    metrics: Vec<MetricEntry>,
    #[serde(default, rename = "ignore")]
    ignores: Vec<IgnoreEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricEntry {
    name: Spanned<String>,
    workloads: Option<Vec<Spanned<String>>>,
    decides: Option<bool>,
    margin: Option<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IgnoreEntry {
    workload: Option<Spanned<String>>,
    environment: Option<Spanned<String>>,
    metric: Option<Spanned<String>>,
    reason: Spanned<String>,
    until: Spanned<toml::value::Datetime>,
}

/// Something wrong at a place of the file.
type Wrong = (Range<usize>, String);

fn wrong<T>(at: &Spanned<T>, message: impl Into<String>) -> Wrong {
    (at.span(), message.into())
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            margin: None,
            fail_on: vec![Verdict::Worse],
            on_inconclusive: OnInconclusive::Pass,
            confirm: 0,
            metrics: Vec::new(),
            ignores: Vec::new(),
        }
    }
}

impl Policy {
    /// From a file; `today` is for the dates in it.
    pub fn load(path: &Path, known: &KnownNames, today: Date) -> Result<Policy, PolicyError> {
        let file = path.display().to_string();
        let text = limits::read_definition(path).map_err(|source| PolicyError::Read { path: file.clone(), source })?;
        Policy::parse(&text, &file, known, today)
    }

    /// From the text of a policy file; `file` is its name for errors.
    pub fn parse(text: &str, file: &str, known: &KnownNames, today: Date) -> Result<Policy, PolicyError> {
        let read = toml::from_str::<PolicyFile>(text)
            .map_err(|e| (e.span().unwrap_or(0..0), e.message().to_owned()))
            .and_then(|policy| build(&policy, known, today));
        read.map_err(|(span, message)| {
            let (line, column) = position(text, span.start);
            PolicyError::Definition { file: file.to_owned(), line, column, message }
        })
    }

    /// Whether a metric decides about a workload; `by_suite`: what the suite says. Of several rules the last that matches
    /// counts.
    pub fn decides(&self, workload: &str, metric: &str, by_suite: bool) -> bool {
        self.rules(workload, metric).filter_map(|rule| rule.decides).last().unwrap_or(by_suite)
    }

    /// The margin of a metric in a workload; `by_profile`: what the profile says.
    pub fn margin(&self, workload: &str, metric: &str, by_profile: f64) -> f64 {
        let rule = self.rules(workload, metric).filter_map(|rule| rule.margin).last();
        rule.or(self.margin).unwrap_or(by_profile)
    }

    /// Why a row is ignored, where it is.
    pub fn ignored(&self, workload: &str, environment: &str, metric: &str) -> Option<&Ignored> {
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        let matches = |rule: &&IgnoreRule| {
            is(&rule.workload, workload) && is(&rule.environment, environment) && is(&rule.metric, metric)
        };
        self.ignores.iter().find(matches).map(|rule| &rule.ignored)
    }

    fn rules<'a>(&'a self, workload: &'a str, metric: &'a str) -> impl Iterator<Item = &'a MetricRule> {
        let here = move |rule: &&MetricRule| {
            rule.name == metric && rule.workloads.as_ref().is_none_or(|names| names.iter().any(|name| name == workload))
        };
        self.metrics.iter().filter(here)
    }
}

fn build(file: &PolicyFile, known: &KnownNames, today: Date) -> Result<Policy, Wrong> {
    let policy = Policy::default();
    Ok(Policy {
        margin: margin(file.margin.as_ref())?,
        fail_on: match &file.fail_on {
            Some(verdicts) => verdicts.iter().map(failing).collect::<Result<_, _>>()?,
            None => policy.fail_on,
        },
        on_inconclusive: match &file.on_inconclusive {
            None => policy.on_inconclusive,
            Some(word) if word.get_ref() == "pass" => OnInconclusive::Pass,
            Some(word) if word.get_ref() == "fail" => OnInconclusive::Fail,
            Some(word) => return Err(wrong(word, format!("`{}`: it must be pass or fail", word.get_ref()))),
        },
        confirm: match &file.confirm {
            None => policy.confirm,
            Some(number) => match number.get_ref().text().trim().parse::<u32>() {
                Ok(count) if count <= MOST_CONFIRMATIONS => count,
                _ => return Err(wrong(number, format!("it must be a number of runs from 0 to {MOST_CONFIRMATIONS}"))),
            },
        },
        metrics: file.metrics.iter().map(|entry| metric_rule(entry, known)).collect::<Result<_, _>>()?,
        ignores: file.ignores.iter().map(|entry| ignore_rule(entry, known, today)).collect::<Result<_, _>>()?,
    })
}

fn margin(text: Option<&Spanned<Written>>) -> Result<Option<f64>, Wrong> {
    text.map(|text| parse_margin(&text.get_ref().text()).map_err(|e| wrong(text, e))).transpose()
}

fn failing(word: &Spanned<String>) -> Result<Verdict, Wrong> {
    match word.get_ref().as_str() {
        "worse" => Ok(Verdict::Worse),
        "better" => Ok(Verdict::Better),
        "inconclusive" => {
            Err(wrong(word, "write on-inconclusive = \"fail\": what cannot be told has an exit code of its own"))
        }
        other => Err(wrong(word, format!("`{other}`: a gate can fail on worse and on better"))),
    }
}

fn metric_rule(entry: &MetricEntry, known: &KnownNames) -> Result<MetricRule, Wrong> {
    check_metric(&entry.name)?;
    if entry.decides.is_none() && entry.margin.is_none() {
        return Err(wrong(&entry.name, "the rule changes nothing: give it decides = true or false, or a margin"));
    }
    let workloads = entry.workloads.as_ref().map(|names| {
        names.iter().map(|name| check_name(name, "workload", &known.workloads)).collect::<Result<Vec<_>, _>>()
    });
    Ok(MetricRule {
        name: entry.name.get_ref().clone(),
        workloads: workloads.transpose()?,
        decides: entry.decides,
        margin: margin(entry.margin.as_ref())?,
    })
}

fn ignore_rule(entry: &IgnoreEntry, known: &KnownNames, today: Date) -> Result<IgnoreRule, Wrong> {
    if entry.workload.is_none() && entry.environment.is_none() && entry.metric.is_none() {
        return Err(wrong(&entry.reason, "this would ignore everything: name a workload, an environment or a metric"));
    }
    if entry.reason.get_ref().trim().is_empty() {
        return Err(wrong(&entry.reason, "say why it is ignored"));
    }
    let until = date(entry.until.get_ref())
        .ok_or_else(|| wrong(&entry.until, "it must be a day, such as 2026-12-31, without a time"))?;
    if until < today {
        let message = format!("ignoring this ended on {until}: remove the rule, or give it a new day and reason");
        return Err(wrong(&entry.until, message));
    }
    if let Some(name) = &entry.metric {
        check_metric(name)?;
    }
    let name = |name: &Option<Spanned<String>>, what, known| {
        name.as_ref().map(|name| check_name(name, what, known)).transpose()
    };
    Ok(IgnoreRule {
        workload: name(&entry.workload, "workload", &known.workloads)?,
        environment: name(&entry.environment, "environment", &known.environments)?,
        metric: entry.metric.as_ref().map(|name| name.get_ref().clone()),
        ignored: Ignored { reason: entry.reason.get_ref().clone(), until: until.to_string() },
    })
}

fn date(value: &toml::value::Datetime) -> Option<Date> {
    match (value.date, value.time, value.offset) {
        (Some(date), None, None) => Date::new(i16::try_from(date.year).ok()?, date.month as i8, date.day as i8).ok(),
        _ => None,
    }
}

fn check_metric(name: &Spanned<String>) -> Result<(), Wrong> {
    match metric::find(name.get_ref()) {
        Some(_) => Ok(()),
        None => {
            let known: Vec<_> = metric::METRICS.iter().map(|metric| metric.name).collect();
            Err(wrong(name, format!("there is no metric `{}`; there are {}", name.get_ref(), known.join(", "))))
        }
    }
}

fn check_name(name: &Spanned<String>, what: &str, known: &BTreeSet<String>) -> Result<String, Wrong> {
    if known.contains(name.get_ref()) {
        return Ok(name.get_ref().clone());
    }
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    Err(wrong(name, format!("there is no {what} `{}`; there are {}", name.get_ref(), known.join(", "))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = r#"
margin = "5%"
fail-on = ["worse", "better"]
on-inconclusive = "fail"
confirm = 2

[[metric]]
name = "read_latency_p99_ns"
workloads = ["rand-read"]
decides = true
margin = "20%"

[[metric]]
name = "iops"
decides = false

[[ignore]]
workload = "rand-read"
environment = "vm"
reason = "the disk of the runner is being replaced"
until = 2026-12-31
"#;

    fn known() -> KnownNames {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        KnownNames { workloads: names(&["rand-read", "seq-read"]), environments: names(&["container", "vm"]) }
    }

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text, "gate.toml", &known(), Date::constant(2026, 6, 1))
    }

    #[test]
    fn a_whole_policy_is_read() {
        let policy = parse(WHOLE).unwrap();
        assert_eq!(policy.fail_on, [Verdict::Worse, Verdict::Better]);
        assert_eq!((policy.on_inconclusive, policy.confirm), (OnInconclusive::Fail, 2));
        assert_eq!(policy.margin("rand-read", "read_latency_p99_ns", 0.1), 0.2);
        assert_eq!(policy.margin("seq-read", "read_latency_p99_ns", 0.1), 0.05);
        assert!(policy.decides("rand-read", "read_latency_p99_ns", false));
        assert!(!policy.decides("seq-read", "read_latency_p99_ns", false));
        assert!(!policy.decides("rand-read", "iops", true) && policy.decides("rand-read", "wall_time_ns", true));
        assert_eq!(policy.ignored("rand-read", "vm", "iops").unwrap().until, "2026-12-31");
        assert_eq!(policy.ignored("rand-read", "container", "iops"), None);
        assert_eq!(parse("").unwrap(), Policy::default());
        for text in ["margin = 5", "margin = 5.0", "margin = \"5\"", "margin = \"5 %\""] {
            assert_eq!(parse(text).unwrap().margin, Some(0.05), "{text}");
        }
        assert_eq!(parse("confirm = \"2\"").unwrap().confirm, 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_would_be_right() {
        let ignore = |lines: &str| format!("[[ignore]]\nreason = \"x\"\nuntil = 2026-12-31\n{lines}");
        let metric = |lines: &str| format!("[[metric]]\nname = \"iops\"\n{lines}");
        for (text, place, said) in [
            ("margin = \"-5%\"".to_owned(), "1:10", "such as 5%"),
            ("margin = 0.05".to_owned(), "1:10", "`5%`"),
            ("margin = true".to_owned(), "1:10", "such as 5%"),
            ("margins = \"5%\"".to_owned(), "1:1", "margin"),
            ("fail-on = [\"slower\"]".to_owned(), "1:12", "worse and on better"),
            ("fail-on = [\"inconclusive\"]".to_owned(), "1:12", "on-inconclusive"),
            ("on-inconclusive = \"maybe\"".to_owned(), "1:19", "pass or fail"),
            ("confirm = 11".to_owned(), "1:11", "0 to 10"),
            ("confirm = -1".to_owned(), "1:11", "0 to 10"),
            ("[[metric]]\nname = \"iop\"\ndecides = true".to_owned(), "2:8", "read_iops"),
            (metric(""), "2:8", "changes nothing"),
            (metric("decides = true\nworkloads = [\"rand-raed\"]"), "4:14", "rand-read, seq-read"),
            (metric("margin = \"0%\""), "3:10", "such as 5%"),
            (ignore(""), "2:10", "everything"),
            (ignore("workload = \"x\""), "4:12", "rand-read"),
            (ignore("environment = \"docker\""), "4:15", "container, vm"),
            (ignore("metric = \"x\""), "4:10", "iops"),
            ("[[ignore]]\nworkload = \"rand-read\"\nreason = \" \"\nuntil = 2026-12-31".to_owned(), "3:10", "why"),
            (
                "[[ignore]]\nworkload = \"rand-read\"\nreason = \"x\"\nuntil = 2026-05-31".to_owned(),
                "4:9",
                "ended on 2026-05-31",
            ),
            ("[[ignore]]\nworkload = \"rand-read\"\nreason = \"x\"\nuntil = \"later\"".to_owned(), "4:9", "datetime"),
            ("[[ignore]]\nworkload = \"rand-read\"\nreason = \"x\"\nuntil = 10:00:00".to_owned(), "4:9", "2026-12-31"),
            ("[[ignore]]\nworkload = \"rand-read\"\nuntil = 2026-12-31".to_owned(), "1:1", "reason"),
            ("not toml".to_owned(), "1:5", ""),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("gate.toml:{place}: ")) && error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z\\[\\]=\"\\n0-9 -]{0,60}") {
            let _ = parse(&text);
        }
    }
}
