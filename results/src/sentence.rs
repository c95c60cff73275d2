//! Comparisons and the headline in words.

use crate::analysis::{Comparison, loss};
use crate::host;
use crate::isolation::Isolation;
use crate::metric::{self, Direction, Metric, Unit};
use crate::planning::{MOST_BLOCKS, POWER};
use crate::record::{Class, Environment, Workload};
use crate::reportable::{Reason, Reportable};
use crate::statistics::Interval;
use crate::store::Record;
use crate::verdict::Verdict;
use crate::work::OTHER_STORAGE;

/// A fraction in percent: one figure below ten, none above.
pub(crate) fn percent(fraction: f64) -> String {
    let percent = fraction.abs() * 100.0;
    if percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// The words for worse and better of a metric.
fn words(metric: &Metric) -> (&'static str, &'static str) {
    match metric.unit {
        Unit::Iops | Unit::BytesPerS | Unit::PerS => ("slower", "faster"),
        Unit::Ns => ("longer", "shorter"),
        Unit::NsPerIo | Unit::NsPerByte | Unit::NsPerUnit | Unit::CyclesPerByte | Unit::Bytes => ("more", "less"),
    }
}

/// The losses at the ends of an interval: the least and the most.
fn losses(interval: Interval, better: Direction) -> (f64, f64) {
    let (a, b) = (loss(interval.low, better), loss(interval.high, better));
    (a.min(b), a.max(b))
}

/// Of a row that is beyond the margin by itself, and no alarm among so many tests.
pub(crate) fn only_by_itself(ratio: Option<f64>, metric: &str, tests: &str) -> String {
    let by = ratio.zip(metric::find(metric)).map(|(ratio, metric)| by(ratio, metric)).unwrap_or_default();
    format!("{by}; beyond the margin by itself, not as one of {tests}")
}

/// How far a ratio is from 1, in words: `19.8 % slower`.
pub(crate) fn by(ratio: f64, metric: &Metric) -> String {
    let (worse, better) = words(metric);
    let lost = loss(ratio, metric.better);
    format!("{} {}", percent(lost), if lost >= 0.0 { worse } else { better })
}

/// What a ratio with its interval says.
pub(crate) fn judged(ratio: f64, interval: Interval, verdict: Verdict, margin: f64, metric: &Metric) -> String {
    let by = by(ratio, metric);
    let (least, most) = losses(interval, metric.better);
    let (worse, better) = words(metric);
    match verdict {
        Verdict::Worse => format!("{by}, at least {}", percent(least)),
        Verdict::Better => format!("{by}, at least {}", percent(most)),
        Verdict::Equivalent => format!("no difference of {} or more", percent(margin)),
        Verdict::Inconclusive if least > 0.0 || most < 0.0 => {
            format!("{by}; whether by more than {} is open", percent(margin))
        }
        Verdict::Inconclusive if most >= -least => format!("no difference seen; at most {} {worse}", percent(most)),
        Verdict::Inconclusive => format!("no difference seen; at most {} {better}", percent(least)),
    }
}

/// What a comparison says.
pub(crate) fn comparison(comparison: &Comparison, margin: f64, metric: &Metric) -> String {
    let Some(ratio) = comparison.ratio else {
        return comparison.why_no_verdict.clone().unwrap_or_else(|| "no block is whole on both sides".to_owned());
    };
    if let Some(why) = &comparison.why_no_verdict {
        return format!("{}; no verdict ({why})", by(ratio, metric));
    }
    let (Some(interval), Some(verdict)) = (comparison.interval, comparison.verdict) else { return by(ratio, metric) };
    let said = judged(ratio, interval, verdict, margin, metric);
    match (verdict, comparison.blocks_needed) {
        (Verdict::Inconclusive, Some(blocks)) if blocks as usize > comparison.pairs.len() => {
            format!("{said}; {blocks} blocks would see ± {} in {:.0} % of runs", percent(margin), POWER * 100.0)
        }
        (Verdict::Inconclusive, Some(_)) => format!("{said}; it lies too near the margin's edge for blocks to decide"),
        (Verdict::Inconclusive, None) => {
            format!("{said}; more than {MOST_BLOCKS} blocks would be needed to see ± {}", percent(margin))
        }
        _ => said,
    }
}

/// The sentence at the top: why it should not be passed on, one part for each environment, and what machine this is where it is not
/// bare metal. Quoted by itself, it still says all of that.
pub(crate) fn headline(
    record: &Record,
    comparisons: &[Comparison],
    isolation: Option<&Isolation>,
    reportable: &Reportable,
) -> String {
    let run = &record.run;
    // It is no matter of time whose a resource is: emulation says it as well.
    if let Some(isolation) = isolation.filter(|_| !run.plan.workloads.iter().any(Workload::is_measured)) {
        return shared(record, isolation);
    }
    if let Some(why) = host::why_not_judged(run) {
        return format!("not judged: {why}");
    }
    let said = environments(record, comparisons);
    if host::judged_all_the_same(run) {
        return format!("test build on an emulated CPU, means nothing: {said}");
    }
    // Where nothing is judged, the sentence itself says so.
    let said = match caveat(reportable).filter(|_| run.plan.profile.verdicts) {
        Some(caveat) => format!("{caveat}; {said}"),
        None => said,
    };
    match host::label(run) {
        Some(label) => format!("{said} ({label})"),
        None => said,
    }
}

/// What each environment shares with the host.
fn shared(record: &Record, isolation: &Isolation) -> String {
    let run = &record.run;
    let others = |name: &str| Some(name) != isolation.control.as_deref() && run.plan.control.as_deref() != Some(name);
    let all = isolation.environments.iter().enumerate().filter(|(_, name)| others(name));
    let said: Vec<String> = all.map(|(at, name)| format!("{name} {} with the host", isolation.shares(at))).collect();
    match said.is_empty() {
        true => "the native control alone: there is nothing to compare it with".to_owned(),
        false => said.join("; "),
    }
}

/// `not reportable: ` and the reasons in a few words each.
fn caveat(reportable: &Reportable) -> Option<String> {
    const MOST: usize = 2;
    let mut reasons: Vec<&str> = reportable.reasons.iter().map(in_short).collect();
    reasons.dedup();
    let shown = reasons.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    let more = reasons.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} reason{} more", plural(more)) } else { String::new() };
    (!reportable.reportable).then(|| format!("not reportable: {shown}{more}"))
}

/// Why a run is not reportable, in the words of a headline; [`crate::reportable::RULES`] say it in full.
fn in_short(reason: &Reason) -> &str {
    match reason.rule {
        "complete" => "not finished",
        "blocks" => "too few blocks",
        "broken" => "too many broken trials",
        "pairs" => "blocks lost",
        "remarks" => "disturbed trials",
        "watched" => "trials not watched",
        "judged" => "trials beyond a bound",
        "baseline" => "machine was not idle",
        "control" => "control beyond the margin",
        "cache" => "guest faster than native",
        "bytes" => "bytes counted by fio alone",
        "tools" => "unlike tools",
        "fingerprint" => "unknown machine",
        _ => &reason.text,
    }
}

/// One part for each environment.
fn environments(record: &Record, comparisons: &[Comparison]) -> String {
    let run = &record.run;
    let control = run.plan.control.as_deref();
    let judged = run.environments.iter().filter(|e| e.name != run.plan.reference && Some(e.name.as_str()) != control);
    let (emulated, judged): (Vec<_>, Vec<_>) = judged.partition(|environment| environment.is_emulated());
    let mut parts: Vec<String> = judged.iter().map(|environment| part(record, environment, comparisons)).collect();
    if !emulated.is_empty() {
        let names: Vec<_> = emulated.iter().map(|environment| name(environment)).collect();
        parts.push(format!("{}: not judged (TCG emulation says nothing about KVM)", names.join(", ")));
    }
    match (parts.is_empty(), run.plan.profile.verdicts) {
        (true, _) => format!("{} alone: nothing to compare it with", run.plan.reference),
        (false, true) => parts.join("; "),
        (false, false) => {
            format!("a `{}` run shows that everything works, and judges nothing", run.plan.profile.name)
        }
    }
}

fn name(environment: &Environment) -> &str {
    match environment.class() {
        Class::Vm if environment.name == "vm" => "VM",
        _ => &environment.name,
    }
}

fn part(record: &Record, environment: &Environment, comparisons: &[Comparison]) -> String {
    let name = name(environment);
    let deciding: Vec<_> = comparisons.iter().filter(|c| c.deciding && c.environment == environment.name).collect();
    let planned =
        record.run.plan.workloads.iter().filter(|one| one.is_measured() && one.runs_in(&environment.name)).count();
    // A record may plan what it did not do, and the other way round.
    let total = planned.max(deciding.len());
    let judged = |verdict| deciding.iter().copied().filter(|c| c.verdict == Some(verdict)).collect::<Vec<_>>();
    let (same, better, worse) = (judged(Verdict::Equivalent).len(), judged(Verdict::Better), judged(Verdict::Worse));
    if deciding.iter().all(|c| c.verdict.is_none()) {
        let is_elsewhere =
            |c: &&Comparison| c.why_no_verdict.as_ref().is_some_and(|why| why.starts_with(OTHER_STORAGE));
        let why = match () {
            () if deciding.iter().any(is_elsewhere) => OTHER_STORAGE,
            () if deciding.iter().any(|c| c.partial) => "too few I/Os for a verdict",
            () => "too few blocks for a verdict",
        };
        return format!("{name}: {why}");
    }
    let mut said = Vec::new();
    if !worse.is_empty() {
        said.push(apart(&worse, common_words(&worse).0, total));
    }
    if !better.is_empty() {
        said.push(apart(&better, common_words(&better).1, total));
    }
    if same > 0 {
        said.push(format!("no measurable cost in {same} of {total} workload{}", plural(total)));
    }
    let open = total - same - better.len() - worse.len();
    if open > 0 {
        said.push(format!("{open} of {total} undecided"));
    }
    format!("{name}: {}", said.join(", "))
}

pub(crate) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// How far those of one verdict are from the reference: `4 to 58 % slower in 5 of 7 workloads, most in rand-read-qd1`.
fn apart(comparisons: &[&Comparison], word: &str, total: usize) -> String {
    let differences = comparisons.iter().filter_map(|c| {
        let better = crate::metric::find(&c.metric)?.better;
        Some((loss(c.ratio?, better).abs(), c.workload.as_str()))
    });
    let differences: Vec<(f64, &str)> = differences.collect();
    let least = differences.iter().map(|(by, _)| *by).fold(f64::INFINITY, f64::min);
    let Some(most) = differences.iter().max_by(|a, b| a.0.total_cmp(&b.0)) else { return String::new() };
    if differences.len() == 1 {
        return format!("{} {word} in {}", percent(most.0), most.1);
    }
    format!(
        "{:.0} to {} {word} in {} of {total} workloads, most in {}",
        least * 100.0,
        percent(most.0),
        comparisons.len(),
        most.1
    )
}

/// The words for worse and better of all of these: `slower` is said of rates and times, not of what CPU time an I/O takes.
fn common_words(comparisons: &[&Comparison]) -> (&'static str, &'static str) {
    let mut metrics = comparisons.iter().filter_map(|comparison| crate::metric::find(&comparison.metric));
    if metrics.all(|metric| words(metric).0 != "more") { ("slower", "faster") } else { ("worse", "better") }
}
