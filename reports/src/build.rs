//! From a record and its analysis to the model of its report.

use std::collections::BTreeMap;

use bench_results::analysis::{Analysis, Cell, Comparison};
use bench_results::claims::{ClaimResult, Outcome as ClaimOutcome};
use bench_results::patterns::Pattern;
use bench_results::record::{Environment, Run, Workload};
use bench_results::statistics::Interval;
use bench_results::store::Record;
use bench_results::verdict::Verdict;
use bench_results::{Direction, Unit};
use bench_results::{metric, shell};

use crate::report::{AbsoluteRow, ClaimRow, Outcome, Report, ResultRow};
use crate::{facts, isolation, ladder, patterns, pictures, skew, validity};

/// A record and its analysis, with the look-ups that tables and figures share.
pub(crate) struct Source<'a> {
    pub(crate) record: &'a Record,
    pub(crate) analysis: &'a Analysis,
    cells: BTreeMap<Key<'a>, &'a Cell>,
    comparisons: BTreeMap<Key<'a>, &'a Comparison>,
    notable: BTreeMap<(&'a str, &'a str), Vec<&'a Pattern>>,
}

/// Names of a workload, an environment and a metric.
type Key<'a> = (&'a str, &'a str, &'a str);

impl<'a> Source<'a> {
    fn new(record: &'a Record, analysis: &'a Analysis) -> Source<'a> {
        // Of several alike the first.
        let cells = analysis.cells.iter().rev();
        let comparisons = analysis.comparisons.iter().rev();
        let mut notable: BTreeMap<_, Vec<&Pattern>> = BTreeMap::new();
        for pattern in analysis.patterns.iter().filter(|pattern| pattern.notable) {
            notable.entry((pattern.workload.as_str(), pattern.environment.as_str())).or_default().push(pattern);
        }
        Source {
            record,
            analysis,
            cells: cells.map(|cell| ((&*cell.workload, &*cell.environment, &*cell.metric), cell)).collect(),
            comparisons: comparisons.map(|c| ((&*c.workload, &*c.environment, &*c.metric), c)).collect(),
            notable,
        }
    }

    /// The notable patterns of an environment in a workload.
    pub(crate) fn notable(&self, workload: &str, environment: &str) -> impl Iterator<Item = &'a Pattern> + use<'a> {
        self.notable.get(&(workload, environment)).cloned().unwrap_or_default().into_iter()
    }

    pub(crate) fn run(&self) -> &'a Run {
        &self.record.run
    }

    /// All environments but the control: its ratio is the noise floor, not a row of its own.
    pub(crate) fn environments(&self) -> impl Iterator<Item = &'a Environment> {
        let run = self.run();
        run.environments.iter().filter(move |environment| run.plan.control.as_ref() != Some(&environment.name))
    }

    /// The environments that are compared with the reference.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &'a Environment> {
        let run = self.run();
        self.environments().filter(move |environment| environment.name != run.plan.reference)
    }

    /// True when this environment is never judged, because a side of the comparison is emulated.
    pub(crate) fn is_apart(&self, environment: &Environment) -> bool {
        let run = self.run();
        let reference = run.environments.iter().find(|other| other.name == run.plan.reference);
        environment.is_emulated() || reference.is_some_and(Environment::is_emulated)
    }

    pub(crate) fn cell(&self, workload: &str, environment: &str, metric: &str) -> Option<&'a Cell> {
        self.cells.get(&(workload, environment, metric)).copied()
    }

    pub(crate) fn comparison(&self, workload: &str, environment: &str, metric: &str) -> Option<&'a Comparison> {
        self.comparisons.get(&(workload, environment, metric)).copied()
    }

    /// The control's interval in a workload and metric.
    pub(crate) fn noise_floor(&self, workload: &str, metric: &str) -> Option<Interval> {
        let control = self.run().plan.control.as_ref()?;
        self.comparison(workload, control, metric).filter(|control| !control.partial)?.interval
    }

    /// True when no environment could be compared with the reference, yet something was measured.
    pub(crate) fn nothing_to_compare(&self) -> bool {
        let compared = |comparison: &Comparison| !comparison.is_control && comparison.ratio.is_some();
        !self.analysis.comparisons.iter().any(compared) && !self.analysis.cells.is_empty()
    }
}

/// Title, unit and direction of a metric; of one that this build does not know, its name.
pub(crate) fn described(name: &str) -> (String, Unit, Direction) {
    match metric::find(name) {
        Some(metric) => (metric.title.to_owned(), metric.unit, metric.better),
        None => (name.to_owned(), Unit::Ns, Direction::Lower),
    }
}

impl Report {
    /// The report of a record, finished or not.
    pub fn new(record: &Record, analysis: &Analysis) -> Report {
        let source = Source::new(record, analysis);
        let run = &record.run;
        let (emulated, results): (Vec<_>, Vec<_>) =
            source.compared().partition(|environment| source.is_apart(environment));
        let revision = run.bench.git_revision.as_ref().map_or(String::new(), |revision| format!(" ({revision})"));
        let (mut results, mut secondaries) = (rows(&source, &results), secondaries(&source, &results));
        skew::add(&source, results.iter_mut().chain(&mut secondaries));
        Report {
            id: run.id.clone(),
            suite: run.plan.suite.clone(),
            profile: run.plan.profile.name.clone(),
            started_at: run.started_at.clone(),
            unfinished: facts::unfinished(record),
            headline: analysis.headline.clone(),
            reportable: analysis.reportable.clone(),
            facts: facts::facts(run),
            reference: run.plan.reference.clone(),
            margin: run.plan.profile.verdicts.then_some(run.plan.profile.margin),
            results,
            secondaries,
            emulated: rows(&source, &emulated),
            absolutes: if source.nothing_to_compare() { absolutes(&source) } else { Vec::new() },
            patterns: patterns::rows(&source),
            claims: analysis.claims.iter().map(claim).collect(),
            ladder: ladder::rows(&source),
            isolation: isolation::section(&source),
            figures: if run.plan.workloads.is_empty() || run.plan.workloads.iter().any(Workload::is_measured) {
                pictures::figures(&source)
            } else {
                Vec::new()
            },
            sameness: facts::sameness(run),
            left_out: facts::left_out(run),
            warnings: facts::warnings(record),
            troubles: facts::troubles(record),
            remarks: validity::remarks(record),
            checks: validity::checks(record),
            instances: facts::instances(record),
            fingerprint: run.fingerprint.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            command: shell::line(&run.command),
            bench: format!("bench {}{revision}", run.bench.version),
        }
    }
}

/// A row for each workload and environment, by workload, once anything was compared.
fn rows(source: &Source<'_>, environments: &[&Environment]) -> Vec<ResultRow> {
    if source.analysis.cells.is_empty() || source.nothing_to_compare() {
        return Vec::new();
    }
    let workloads = source.run().plan.workloads.iter().filter(|workload| workload.is_measured());
    let planned = |workload: &'_ Workload| {
        let home: Vec<_> = environments.iter().filter(|environment| workload.runs_in(&environment.name)).collect();
        let mut rows: Vec<_> =
            home.into_iter().map(|environment| row(source, workload, environment, &workload.deciding)).collect();
        // What holds for the reference holds for all rows of the workload, and is said once.
        if let Some(first) = rows.first_mut() {
            first.notes.extend(patterns::notes(source, &workload.name, &source.run().plan.reference));
        }
        rows
    };
    workloads.flat_map(planned).collect()
}

/// A row for each secondary metric of a workload in an environment.
fn secondaries(source: &Source<'_>, environments: &[&Environment]) -> Vec<ResultRow> {
    let mut rows = Vec::new();
    for workload in &source.run().plan.workloads {
        for environment in environments {
            let of = |name| source.comparison(&workload.name, &environment.name, name);
            let metrics = metric::METRICS.iter().map(|metric| metric.name);
            let metrics = metrics.filter(|name| of(name).is_some_and(|comparison| comparison.secondary));
            rows.extend(metrics.map(|name| row(source, workload, environment, name)));
        }
    }
    rows
}

fn row(source: &Source<'_>, workload: &Workload, environment: &Environment, name: &str) -> ResultRow {
    let (metric, unit, better) = described(name);
    let decides = workload.deciding == name;
    let comparison = source.comparison(&workload.name, &environment.name, name);
    let mean = |environment: &str| {
        let cell = source.cell(&workload.name, environment, name)?;
        let shown = comparison.map_or(cell.shown, |comparison| cell.beside(&comparison.pairs));
        (!decides || !patterns::has_value_modes(source, &workload.name, environment)).then_some(shown)
    };
    // Only deciding series are tested for what a mean hides.
    let modes = || patterns::ratio_modes(source, &workload.name, &environment.name);
    let ratio_modes = if decides { modes() } else { None };
    let notes = if decides { patterns::notes(source, &workload.name, &environment.name) } else { Vec::new() };
    ResultRow {
        workload: workload.name.clone(),
        environment: environment.label(),
        metric,
        metric_name: name.to_owned(),
        unit,
        better,
        mean: mean(&environment.name).filter(|_| ratio_modes.is_none()),
        reference_mean: mean(&source.run().plan.reference),
        ratio: comparison.and_then(|c| c.ratio),
        ratio_modes,
        interval: comparison.and_then(|c| c.interval).map(pair),
        blocks: comparison.map_or(0, |c| c.pairs.len()),
        verdict: outcome(comparison.and_then(|c| c.verdict)),
        p_holm: comparison.and_then(|c| c.p_holm),
        sign_flip_p: comparison.and_then(|c| c.sign_flip_p),
        bootstrap_t: None,
        sentence: comparison.map_or("no block is whole on both sides".to_owned(), |c| c.sentence.clone()),
        notes,
        noise_floor: source.noise_floor(&workload.name, name).map(pair),
        // The paper's guest was not emulated: beside an emulated one its ratio would only mislead.
        paper: comparison.filter(|c| !c.emulated).and_then(|c| c.paper_ratio),
    }
}

pub(crate) fn pair(interval: Interval) -> (f64, f64) {
    (interval.low, interval.high)
}

pub(crate) fn outcome(verdict: Option<Verdict>) -> Outcome {
    match verdict {
        Some(Verdict::Better) => Outcome::Better,
        Some(Verdict::Worse) => Outcome::Worse,
        Some(Verdict::Equivalent) => Outcome::Equivalent,
        Some(Verdict::Inconclusive) => Outcome::Inconclusive,
        None => Outcome::None,
    }
}

fn absolutes(source: &Source<'_>) -> Vec<AbsoluteRow> {
    let row = |workload: &Workload, environment: &Environment| {
        let (metric, unit, better) = described(&workload.deciding);
        let cell = source.cell(&workload.name, &environment.name, &workload.deciding)?;
        let values = || cell.values.iter().map(|&(_, value)| value);
        Some(AbsoluteRow {
            workload: workload.name.clone(),
            environment: environment.label(),
            metric,
            unit,
            better,
            mean: cell.shown,
            range: (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)),
            blocks: cell.values.len(),
        })
    };
    let workloads = source.run().plan.workloads.iter();
    workloads
        .flat_map(|workload| source.environments().filter_map(move |environment| row(workload, environment)))
        .collect()
}

fn claim(result: &ClaimResult) -> ClaimRow {
    let (outcome, class) = match &result.outcome {
        ClaimOutcome::Holds => ("holds", "equivalent"),
        ClaimOutcome::DoesNotHold => ("does not hold", "differs"),
        ClaimOutcome::Inconclusive => ("inconclusive", "inconclusive"),
        ClaimOutcome::NotTested(_) => ("not tested", "none"),
    };
    let reason = match &result.outcome {
        ClaimOutcome::NotTested(why) if result.evidence.is_empty() => why.clone(),
        ClaimOutcome::NotTested(why) => format!("{why}; {}", result.evidence),
        _ => result.evidence.clone(),
    };
    ClaimRow {
        sentence: result.sentence.clone(),
        source: result.source.clone(),
        outcome: outcome.to_owned(),
        reason,
        class,
    }
}
