//! Secondary metrics: what every workload is judged by besides its deciding metric, as a family of their own.
//!
//! Percentiles of latency and CPU per unit of work; where one of these decides, the workload's rate. Their alarms are adjusted by Holm's
//! method over all secondary rows of the run, and never together with the deciding ones; they decide nothing.

use std::collections::BTreeMap;

use crate::analysis::Comparison;
use crate::metric::{self, Metric};
use crate::percentiles::direction_and_q;
use crate::record::{Environment, Workload};
use crate::sentence;
use crate::statistics::{TAIL, holm};
use crate::store::Record;
use crate::values::Values;
use crate::verdict::{Verdict, p_beyond};

/// What a workload did, the best of these that it has: a secondary metric where a latency or a cost decides.
const RATES: [&str; 5] = ["iops", "transactions_per_s", "packets_per_s", "bandwidth_bytes_per_s", "wall_time_ns"];

/// True for percentiles of latency, and CPU per unit of work.
fn is_latency_or_cost(metric: &str) -> bool {
    direction_and_q(metric).is_some() || metric.contains("cpu_ns_per_") || metric == "cpu_time_ns"
}

/// Mark and judge the secondary ones among all comparisons. A percentile that some block does not bear is given for none: the blocks that
/// bear it would be those that did more, and no fair sample. It gets a reason in place of its numbers, and a row where it has none yet.
pub(crate) fn judge(record: &Record, values: &Values<'_>, comparisons: &mut Vec<Comparison>) {
    let key = |c: &Comparison| (c.workload.clone(), c.environment.clone(), c.metric.clone());
    let known: BTreeMap<_, usize> = comparisons.iter().enumerate().map(|(at, c)| (key(c), at)).collect();
    let mut family = Vec::new();
    // Those that are refused are no comparisons yet: blocks that bear them are not paired.
    for workload in &record.run.plan.workloads {
        for environment in judged(record) {
            for metric in metrics(workload, environment, values) {
                let names = (workload.name.clone(), environment.name.clone(), metric.name.to_owned());
                let sides = [environment.name.as_str(), record.run.plan.reference.as_str()];
                if let Some(why) = values.why_refused(&workload.name, sides, metric.name) {
                    comparisons.push(Comparison { secondary: true, ..Comparison::withheld(names, why) });
                } else if let Some(&at) = known.get(&names) {
                    comparisons[at].secondary = true;
                    family.push(at);
                }
            }
        }
    }
    adjust(comparisons, &family, record.run.plan.profile.margin);
}

/// All environments that are compared and judged.
fn judged(record: &Record) -> impl Iterator<Item = &Environment> {
    let run = &record.run;
    let reference = run.environments.iter().find(|environment| environment.name == run.plan.reference);
    let is_real = reference.is_some_and(|reference| !reference.is_emulated());
    let is_other = move |name: &String| *name != run.plan.reference && Some(name) != run.plan.control.as_ref();
    run.environments.iter().filter(move |one| is_real && is_other(&one.name) && !one.is_emulated())
}

/// The secondary metrics of a workload that are measured in an environment, or refused there.
fn metrics(workload: &Workload, environment: &Environment, values: &Values<'_>) -> Vec<&'static Metric> {
    let (workload, deciding) = (&workload.name, workload.deciding.as_str());
    let has = |metric: &'static str| {
        !values.get(workload, &environment.name, metric).is_empty()
            || values.refused(workload, &environment.name, metric).is_some()
    };
    let rate = RATES.into_iter().find(|&rate| has(rate)).filter(|_| !RATES.contains(&deciding));
    let is_secondary = |metric: &&Metric| {
        metric.name != deciding && (is_latency_or_cost(metric.name) || rate == Some(metric.name)) && has(metric.name)
    };
    metric::METRICS.iter().filter(is_secondary).collect()
}

/// Holm over those that have a verdict. As in a gate, only `better` and `worse` are adjusted.
fn adjust(comparisons: &mut [Comparison], family: &[usize], margin: f64) {
    let p = |at: usize| {
        comparisons[at].verdict?;
        Some((at, p_beyond(&comparisons[at].fit?.effect, margin)?))
    };
    let (tested, p): (Vec<usize>, Vec<f64>) = family.iter().filter_map(|&at| p(at)).unzip();
    for ((&at, &p), adjusted) in tested.iter().zip(&p).zip(holm(&p)) {
        let comparison = &mut comparisons[at];
        (comparison.p, comparison.p_holm) = (Some(p), Some(adjusted));
        let is_alarm = matches!(comparison.verdict, Some(Verdict::Worse | Verdict::Better));
        if is_alarm && adjusted >= TAIL {
            comparison.verdict = Some(Verdict::Inconclusive);
            let tests = format!("{} secondary tests", tested.len());
            comparison.sentence = sentence::only_by_itself(comparison.ratio, &comparison.metric, &tests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::analyse;
    use crate::testing::{record, speed_up};

    fn secondaries(record: &Record) -> Vec<Comparison> {
        analyse(record).comparisons.into_iter().filter(|c| c.secondary).collect()
    }

    fn find<'a>(all: &'a [Comparison], workload: &str, environment: &str, metric: &str) -> &'a Comparison {
        let is_it = |c: &&Comparison| (&*c.workload, &*c.environment, &*c.metric) == (workload, environment, metric);
        all.iter().find(is_it).unwrap_or_else(|| panic!("no {workload} {environment} {metric}"))
    }

    #[test]
    fn latency_and_cost_are_judged_and_decide_nothing() {
        let slow = |factor| {
            let mut record = record(1, 8, false);
            let of = |trial: &&mut crate::record::Trial| {
                trial.planned.workload == "rand-read" && trial.planned.environment == "container"
            };
            for trial in record.trials.iter_mut().filter(of) {
                let bins =
                    trial.histograms["read"].bins().iter().map(|&(ns, count)| ((ns as f64 * factor) as u64, count));
                trial.histograms.insert("read".to_owned(), crate::Histogram::from_bins(bins));
            }
            record
        };
        let (equal, slower) = (slow(1.0), slow(1.5));
        assert_eq!(
            find(&secondaries(&equal), "rand-read", "container", "read_latency_p99_ns").verdict,
            Some(Verdict::Equivalent)
        );
        let all = secondaries(&slower);
        let p99 = find(&all, "rand-read", "container", "read_latency_p99_ns");
        assert_eq!(p99.verdict, Some(Verdict::Worse), "{p99:?}");
        assert!((p99.ratio.unwrap() / 1.5 - 1.0).abs() < 0.02 && p99.p_holm.unwrap() < TAIL, "{p99:?}");
        assert!(all.iter().all(|c| !c.deciding && !c.is_control && c.environment != "native"));
        assert!(
            all.iter().any(|c| c.metric == "cpu_ns_per_io") && all.iter().any(|c| c.metric == "machine_cpu_ns_per_io")
        );
        // Where a latency decides, the rate is one of them.
        assert!(all.iter().any(|c| c.workload == "rand-read-qd1" && c.metric == "iops"));
        assert!(!all.iter().any(|c| c.workload == "rand-read" && c.metric == "iops"));
        assert_eq!(analyse(&slower).headline, analyse(&equal).headline, "nothing else changes");
    }

    #[test]
    fn a_percentile_that_a_block_does_not_bear_has_a_reason_and_no_number() {
        let mut record = record(1, 8, false);
        let is_it = |t: &&mut crate::record::Trial| t.planned.workload == "rand-read" && t.planned.environment == "vm";
        let trial = record.trials.iter_mut().filter(is_it).nth(2).unwrap();
        let bins = trial.histograms["read"].bins().iter().map(|&(ns, count)| (ns, count / 10));
        trial.histograms.insert("read".to_owned(), crate::Histogram::from_bins(bins));
        let all = secondaries(&record);
        let p99 = find(&all, "rand-read", "vm", "read_latency_p99_ns");
        assert!(p99.ratio.is_none() && p99.interval.is_none() && p99.verdict.is_none() && p99.pairs.is_empty());
        assert!(
            p99.sentence.starts_with("too few I/Os: it takes 16000 in a block, 10 stalls of up to 16"),
            "{}",
            p99.sentence
        );
        assert!(p99.sentence.contains("of vm, 1 block had fewer"), "{}", p99.sentence);
        assert!(find(&all, "rand-read", "vm", "read_latency_p50_ns").ratio.is_some());
    }

    #[test]
    fn the_family_is_adjusted_by_itself() {
        let mut record = record(1, 4, false);
        speed_up(&mut record, "rand-read", "container", 0.8);
        let all = secondaries(&record);
        let tested: Vec<_> = all.iter().filter(|c| c.p.is_some()).collect();
        let p: Vec<f64> = tested.iter().filter_map(|c| c.p).collect();
        let holm: Vec<f64> = tested.iter().filter_map(|c| c.p_holm).collect();
        assert_eq!(holm, crate::statistics::holm(&p));
        assert!(tested.len() > 20 && tested.iter().all(|c| c.verdict.is_some()));
        let primaries = analyse(&record).comparisons;
        assert!(primaries.iter().filter(|c| !c.secondary).all(|c| c.p_holm.is_none()), "and the others not with it");
    }

    /// By simulation through the real code: what is truly at the edge in all secondary rows raises an alarm in at most 2.5 % of runs.
    #[test]
    fn a_beyond_row_alone_is_no_alarm_among_many() {
        let comparison = |ratio: f64, spread: f64| {
            let mut one = Comparison::without_numbers(("w".into(), "e".into(), "read_latency_p99_ns".into()));
            one.pairs = (0..6).map(|block| (block, ratio * spread.powi(block as i32 % 3 - 1))).collect();
            let ratios: Vec<f64> = one.pairs.iter().map(|&(_, ratio)| ratio).collect();
            one.fit = crate::order::fit(&ratios, &[]);
            one.ratio = Some(ratio);
            one.verdict = Some(Verdict::Worse);
            one
        };
        let mut many: Vec<Comparison> =
            std::iter::once(comparison(1.2, 1.08)).chain((0..60).map(|_| comparison(1.0, 1.01))).collect();
        many[1..].iter_mut().for_each(|c| c.verdict = Some(Verdict::Equivalent));
        let mut alone = vec![comparison(1.2, 1.08)];
        adjust(&mut alone, &[0], 0.1);
        assert_eq!(alone[0].verdict, Some(Verdict::Worse), "{alone:?}");
        let family: Vec<usize> = (0..many.len()).collect();
        adjust(&mut many, &family, 0.1);
        assert_eq!(many[0].verdict, Some(Verdict::Inconclusive), "{:?}", many[0]);
        assert!(many[0].sentence.ends_with("not as one of 61 secondary tests"), "{}", many[0].sentence);
    }
}
