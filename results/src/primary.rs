//! Judging records by another metric than their suite named.

use std::collections::BTreeSet;

use crate::analysis::Values;
use crate::metric;
use crate::store::Record;

/// Records cannot be judged by this metric.
#[derive(Debug, thiserror::Error)]
#[error("--primary {metric}: no workload of {runs} has values of it; there are {known}")]
pub struct NoSuchMetric {
    /// What was asked for.
    pub metric: String,
    /// Where.
    pub runs: String,
    /// Metrics that there are.
    pub known: String,
}

/// Let this metric decide about every workload that has values of it in one of the records, in place of the one that the suite named.
/// Workloads without any keep theirs. Each record gets a note: a metric that was chosen after the fact is no evidence of the same kind.
pub fn judge_by<'a>(records: impl Iterator<Item = &'a mut Record>, metric: &str) -> Result<(), NoSuchMetric> {
    let mut records: Vec<&mut Record> = records.collect();
    let (mut having, mut known) = (BTreeSet::new(), BTreeSet::new());
    for record in &records {
        let values = Values::of(record);
        for workload in &record.run.plan.workloads {
            let names = record.run.environments.iter();
            let metrics = names.flat_map(|environment| values.metrics(&workload.name, &environment.name));
            let metrics: BTreeSet<&str> = metrics.map(|metric| metric.name).collect();
            if metrics.contains(metric) {
                having.insert(workload.name.clone());
            }
            known.extend(metrics);
        }
    }
    if having.is_empty() {
        let runs: Vec<&str> = records.iter().take(3).map(|record| record.run.id.as_str()).collect();
        let more = if records.len() > 3 { ", ..." } else { "" };
        let known = metric::METRICS.iter().map(|metric| metric.name).filter(|name| known.contains(name));
        let known = known.collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        return Err(NoSuchMetric { metric: metric.to_owned(), runs: format!("{}{more}", runs.join(", ")), known });
    }
    for record in &mut records {
        let (mut kept, mut changed) = (Vec::new(), false);
        for workload in &mut record.run.plan.workloads {
            if having.contains(&workload.name) {
                changed |= workload.deciding != metric;
                metric.clone_into(&mut workload.deciding);
            } else {
                kept.push(workload.name.clone());
            }
        }
        let kept = match kept.is_empty() {
            true => String::new(),
            false => format!("; without values of it, judged as before: {}", kept.join(", ")),
        };
        if changed {
            let title = metric::find(metric).map_or(metric, |metric| metric.title);
            record.notes.push(format!(
                "judged by {title} (--primary {metric}), and not by what the suite named before anything was measured{kept}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::analyse;
    use crate::testing::record;

    #[test]
    fn another_metric_decides_where_there_are_values_of_it() {
        let mut record = record(1, 4, false);
        judge_by([&mut record].into_iter(), "cpu_ns_per_io").unwrap();
        let analysis = analyse(&record);
        let deciding: Vec<_> = analysis.comparisons.iter().filter(|c| c.deciding).collect();
        assert!(deciding.len() == 21 && deciding.iter().all(|c| c.metric == "cpu_ns_per_io" && !c.secondary));
        assert!(analysis.comparisons.iter().any(|c| c.secondary && c.metric == "iops"), "the rate is secondary then");
        assert!(record.notes[0].contains("--primary cpu_ns_per_io"), "{:?}", record.notes);
        // No block of the sequential workloads bears a p99.
        judge_by([&mut record].into_iter(), "read_latency_p99_ns").unwrap();
        let workloads = &record.run.plan.workloads;
        let of = |name: &str| workloads.iter().find(|workload| workload.name == name).unwrap().deciding.as_str();
        assert_eq!((of("rand-read"), of("seq-read")), ("read_latency_p99_ns", "cpu_ns_per_io"));
        assert!(record.notes[1].ends_with("judged as before: seq-write, seq-read"), "{:?}", record.notes);
    }

    #[test]
    fn a_metric_that_nothing_has_is_refused_with_those_that_there_are() {
        let mut record = record(1, 4, false);
        for metric in ["", "iop", "write_latency_p99_ns", "read_latency_p999_ns\n"] {
            let error = judge_by([&mut record].into_iter(), metric).unwrap_err().to_string();
            assert!(
                error.contains("there are iops, bandwidth_bytes_per_s, ") && error.contains("io-demo00"),
                "{error}"
            );
        }
        assert!(record.notes.is_empty() && record.run.plan.workloads[2].deciding == "iops", "nothing was changed");
        record.trials.clear();
        assert!(judge_by([&mut record].into_iter(), "iops").unwrap_err().to_string().ends_with("there are none"));
    }
}
