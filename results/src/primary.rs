//! Judging records by another metric than their suite named.

use std::collections::BTreeSet;

use crate::metric;
use crate::store::Record;
use crate::values::Values;

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

/// A metric that is to decide about every workload that has values of it in one of some records, in place of the one that the suite
/// named. Workloads without any keep theirs.
#[derive(Debug)]
pub struct Primary {
    metric: String,
    /// Workloads that have values of it in some record.
    having: BTreeSet<String>,
    /// Metrics that there are.
    known: BTreeSet<&'static str>,
    /// Ids of the records.
    runs: Vec<String>,
}

/// [`Primary`] of these records, all at once.
pub fn judge_by<'a>(records: impl Iterator<Item = &'a mut Record>, metric: &str) -> Result<(), NoSuchMetric> {
    let (records, mut primary) = (records.collect::<Vec<_>>(), Primary::of(metric));
    records.iter().for_each(|record| primary.look_at(record));
    primary.check()?;
    records.into_iter().for_each(|record| primary.decide(record));
    Ok(())
}

impl Primary {
    /// Before any record was looked at.
    pub fn of(metric: &str) -> Primary {
        Primary { metric: metric.to_owned(), having: BTreeSet::new(), known: BTreeSet::new(), runs: Vec::new() }
    }

    /// Take note of which workloads of a record have values of it.
    pub fn look_at(&mut self, record: &Record) {
        let values = Values::of(record);
        for workload in &record.run.plan.workloads {
            let names = record.run.environments.iter();
            let metrics = names.flat_map(|environment| values.metrics(&workload.name, &environment.name));
            let metrics: BTreeSet<&'static str> = metrics.map(|metric| metric.name).collect();
            if metrics.contains(&*self.metric) {
                self.having.insert(workload.name.clone());
            }
            self.known.extend(metrics);
        }
        self.runs.push(record.run.id.clone());
    }

    /// Refused where no record has values of it.
    pub fn check(&self) -> Result<(), NoSuchMetric> {
        if !self.having.is_empty() {
            return Ok(());
        }
        let more = if self.runs.len() > 3 { ", ..." } else { "" };
        let runs = format!("{}{more}", self.runs[..self.runs.len().min(3)].join(", "));
        let known = metric::METRICS.iter().map(|metric| metric.name).filter(|name| self.known.contains(name));
        let known = known.collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        Err(NoSuchMetric { metric: self.metric.clone(), runs, known })
    }

    /// Let it decide in a record, which gets a note: a metric that was chosen after the fact is no evidence of the same kind.
    pub fn decide(&self, record: &mut Record) {
        let (mut kept, mut changed) = (Vec::new(), false);
        for workload in &mut record.run.plan.workloads {
            if self.having.contains(&workload.name) {
                changed |= workload.deciding != self.metric;
                self.metric.clone_into(&mut workload.deciding);
            } else {
                kept.push(workload.name.clone());
            }
        }
        let kept = match kept.is_empty() {
            true => String::new(),
            false => format!("; without values of it, judged as before: {}", kept.join(", ")),
        };
        if changed {
            let metric = &self.metric;
            let title = metric::find(metric).map_or(metric.as_str(), |metric| metric.title);
            record.notes.push(format!(
                "judged by {title} (--primary {metric}), and not by what the suite named before anything was measured{kept}"
            ));
        }
    }
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
