//! The paper's numbers: RC25482, "An Updated Performance Comparison of Virtual Machines and Linux Containers" (2014).

use std::sync::LazyLock;

use serde::Deserialize;

use crate::metric::Unit;
use crate::record::{Class, Environment};

const TEXT: &str = include_str!("../reference/ibm-2014.toml");

/// What is kept of the paper.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// How to cite it.
    pub citation: String,
    /// What it was measured on.
    pub machine: String,
    /// Measured values.
    #[serde(rename = "value")]
    pub values: Vec<Value>,
    /// Completion latencies of its Fig. 7.
    pub latency: Vec<LatencyCurve>,
    /// Claims of the paper and of articles that cite it.
    #[serde(rename = "claim")]
    pub claims: Vec<Claim>,
}

/// One workload's values in base units.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// Our workload that does the same.
    pub workload: String,
    /// Our metric.
    pub metric: String,
    /// Which figure of the paper it stands in.
    pub figure: String,
    /// The paper's unit where it is not our metric's.
    pub unit: Option<Unit>,
    /// On the bare machine.
    pub native: f64,
    /// In Docker: on a volume, behind NAT.
    pub container: f64,
    /// In KVM: on a virtio disk, on a bridge.
    pub vm: f64,
    /// Which of our environments is set up as the paper's container; absent: any container.
    pub container_is: Option<String>,
    /// Which of our environments is set up as the paper's guest; absent: any guest.
    pub vm_is: Option<String>,
}

/// One line of the paper's latency CDF.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyCurve {
    /// Class of the environment.
    pub class: Class,
    /// Percent of I/Os and their latency in nanoseconds, ascending.
    pub points: Vec<(f64, f64)>,
}

/// A sentence as a predicate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Short unique name.
    pub id: String,
    /// The sentence.
    pub sentence: String,
    /// `paper` or `article`.
    pub source: String,
    /// What is said of which measurements.
    pub predicate: Predicate,
}

/// What a claim says of measurements.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Predicate {
    /// The ratio of two environments is within a band, for each of the workloads.
    Ratio {
        /// Above the line: an environment's name, or its kind.
        numerator: String,
        /// Below the line.
        denominator: String,
        /// The workloads' metric.
        metric: String,
        /// All of these must hold.
        workloads: Vec<String>,
        /// Least ratio; absent: none.
        at_least: Option<f64>,
        /// Largest ratio; absent: none.
        at_most: Option<f64>,
    },
    /// A guest's machine and kernel take this much memory before any work.
    GuestMemory {
        /// Least bytes.
        at_least_bytes: f64,
        /// Most bytes.
        at_most_bytes: f64,
    },
    /// A container runs on the host's kernel; a guest has its own.
    WhoseKernel,
    /// In each environment of a class these probes of isolation say that the resource is the host's.
    Shared {
        /// Class of the environments.
        class: Class,
        /// Ids of probes.
        probes: Vec<String>,
    },
}

/// The paper.
pub fn paper() -> &'static Paper {
    // The text is part of the program, and a test reads it.
    static PAPER: LazyLock<Paper> = LazyLock::new(|| toml::from_str(TEXT).unwrap_or_else(|e| unreachable!("{e}")));
    &PAPER
}

/// The paper's ratio of such an environment to native, for the same workload and metric.
pub fn ratio(workload: &str, metric: &str, environment: &Environment) -> Option<f64> {
    let value = paper().values.iter().find(|value| value.workload == workload && value.metric == metric)?;
    let is = |name: &Option<String>| name.as_ref().is_none_or(|name| *name == environment.name);
    match environment.class() {
        Class::Container if is(&value.container_is) => Some(value.container / value.native),
        Class::Vm if is(&value.vm_is) => Some(value.vm / value.native),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_can_be_read_and_names_real_metrics() {
        let paper = paper();
        assert!(paper.values.iter().all(|value| crate::metric::find(&value.metric).is_some()));
        assert_eq!(paper.latency.len(), 3);
        assert!(paper.latency.iter().all(|curve| curve.points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)));
        assert!(paper.claims.len() >= 6);
    }

    #[test]
    fn the_papers_ratios_are_the_published_ones() {
        let environment = |name: &str, kind: &str| Environment {
            name: name.to_owned(),
            kind: kind.to_owned(),
            class: None,
            capabilities: None,
            definition: String::new(),
            accelerator: None,
            accelerator_note: None,
            own_rates_per_s: Default::default(),
            work: None,
            sameness: std::collections::BTreeMap::new(),
        };
        let (vm, container) = (environment("vm", "vm"), environment("container", "container"));
        let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 0.005;
        assert!(close(ratio("rand-read", "iops", &vm), 46_173.0 / 84_044.0));
        assert!(close(ratio("rand-read", "iops", &container), 1.0));
        assert!(close(ratio("rand-read-latency", "read_latency_p50_ns", &vm), 612.0 / 258.0));
        assert_eq!(ratio("rand-read-qd1", "iops", &vm), None);
        let bridged = environment("vm-bridge", "vm");
        assert!(close(ratio("tcp-rr", "transactions_per_s", &bridged), 37.582 / 67.941));
        assert_eq!(ratio("tcp-rr", "transactions_per_s", &environment("vm-nat", "vm")), None);
    }
}
