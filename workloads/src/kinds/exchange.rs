//! Request and response over the network by our own probe: both ends' jobs, and the client's output as measurements.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput};
use bench_results::Histogram;
use bench_results::quantity::{Written, parse_count, parse_size};
use bench_results::record::Profile;
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use super::Kind;
use crate::network::{Network, Server, network_job, port};
use crate::probe::{LEAST_BYTES, LOST, MOST_BYTES, Mode, Outcome};
use crate::workload::{Measured, Place, TrialJobs, Work, exit_status, last_words, printed};

/// Bins that are read at most: a guest may have written them. Our own histogram has 128 for each doubling of the latency.
const MOST_BINS: usize = 1 << 13;

/// Parameters of an exchange.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Exchange {
    mode: Mode,
    #[serde(deserialize_with = "bytes")]
    request_bytes: u16,
    #[serde(deserialize_with = "bytes")]
    response_bytes: u16,
    /// The server's port.
    #[serde(deserialize_with = "port")]
    port: u16,
    /// See [`crate::Workload::needs_pace`].
    #[serde(default)]
    paced: bool,
    /// Transactions per second; absent: as fast as answers come.
    #[serde(skip)]
    per_s: Option<f64>,
}

/// The name says the unit already.
fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let text = Written::deserialize(from)?.text();
    match parse_count(&text, u64::MAX).or_else(|_| parse_size(&text)).map_err(de::Error::custom)? {
        bytes if (LEAST_BYTES as u64..=MOST_BYTES as u64).contains(&bytes) => Ok(bytes as u16),
        _ => Err(de::Error::custom(format!("it must be {LEAST_BYTES} to {MOST_BYTES} bytes"))),
    }
}

impl Exchange {
    /// What a unit of its work is called in metrics of cost.
    fn unit(&self) -> &'static str {
        if self.mode == Mode::UdpFlood { "packet" } else { "transaction" }
    }

    fn ends(&self, peer: &str) -> Vec<String> {
        let mode = self.mode.name().to_owned();
        let number = |number: u16| number.to_string();
        let pairs = [
            ("--mode", mode),
            ("--address", peer.to_owned()),
            ("--port", number(self.port)),
            ("--request-bytes", number(self.request_bytes)),
            ("--response-bytes", number(self.response_bytes)),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    fn server(&self, network: &Network) -> Server {
        let program = [&network.peers_bench, "probe", "server"].map(str::to_owned);
        let argv = program.into_iter().chain(self.ends(&network.peer)).collect();
        Server { job: network_job(argv, None), port: self.port }
    }

    fn job(&self, network: &Network, profile: &Profile) -> Job {
        let program = [&network.bench, "probe", "client"].map(str::to_owned);
        let times = [("--warm-up", profile.warmup_s), ("--seconds", profile.runtime_s)];
        let rate = self.per_s.map(|per_s| ("--per-s", per_s));
        let pace = times.into_iter().chain(rate).flat_map(|(name, value)| [name.to_owned(), value.to_string()]);
        let argv = program.into_iter().chain(self.ends(&network.peer)).chain(pace).collect();
        network_job(argv, Some(profile.warmup_s + profile.runtime_s))
    }
}

impl Kind for Exchange {
    fn needs_network(&self) -> bool {
        true
    }

    fn needs_pace(&self) -> bool {
        self.paced && self.per_s.is_none()
    }

    fn set_pace(&mut self, rate_per_s: Option<f64>) {
        (self.paced, self.per_s) = (rate_per_s.is_some(), rate_per_s);
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::from([
            ("mode".to_owned(), self.mode.name().to_owned()),
            ("request_bytes".to_owned(), self.request_bytes.to_string()),
            ("response_bytes".to_owned(), self.response_bytes.to_string()),
            ("engine".to_owned(), "bench probe".to_owned()),
        ]);
        parameters.extend(self.per_s.map(|per_s| ("per_s".to_owned(), per_s.to_string())));
        parameters
    }

    fn yields(&self) -> Vec<&'static str> {
        match self.mode {
            Mode::UdpFlood => vec!["packets_per_s", "cpu_ns_per_packet", "machine_cpu_ns_per_packet"],
            _ => vec![
                "transactions_per_s",
                "round_trip_latency_mean_ns",
                "round_trip_latency_p50_ns",
                "round_trip_latency_p99_ns",
                "cpu_ns_per_transaction",
                "machine_cpu_ns_per_transaction",
            ],
        }
    }

    fn trial(&self, place: &Place, profile: &Profile, _seed: u64) -> Result<TrialJobs, String> {
        let network = place.network()?;
        Ok(TrialJobs { server: Some(self.server(network)), measured: self.job(network, profile) })
    }

    fn measure(&self, output: &JobOutput, _deciding: &str) -> Result<Measured, String> {
        let text = printed(output)?;
        let status = exit_status(output).map_err(|why| format!("the probe: {why}"))?;
        if status != 0 {
            return Err(format!("the probe exited with status {status}: {}", last_words(output)));
        }
        let outcome: Outcome = serde_json::from_slice(text)
            .map_err(|e| format!("the probe printed no result ({e}): {}", last_words(output)))?;
        let per_s = outcome.done as f64 / outcome.seconds;
        if outcome.done == 0 || outcome.seconds <= 0.0 || !per_s.is_finite() {
            return Err(format!("not one {} succeeded; {} were lost", self.unit(), outcome.lost));
        }
        if outcome.bins.len() > MOST_BINS {
            return Err(format!("the probe printed {} bins, and has {MOST_BINS} at most", outcome.bins.len()));
        }
        let mut measured = Measured {
            work: Some(Work::PerSecond { unit: self.unit(), per_s }),
            rate_per_s: Some(per_s),
            seconds: (Some(outcome.warmup_s), Some(outcome.seconds)),
            raw: vec![("probe.json".to_owned(), text.to_vec())],
            ..Measured::default()
        };
        measured.put(if self.mode == Mode::UdpFlood { "packets_per_s" } else { "transactions_per_s" }, per_s);
        measured.facts.insert("probe.lost".to_owned(), json!(outcome.lost));
        let share = outcome.lost as f64 / (outcome.lost as f64 + outcome.done as f64);
        measured.facts.insert("probe.lost_share".to_owned(), json!(share));
        // Floods wait for no answer.
        if self.mode != Mode::UdpFlood {
            let waited = outcome.lost as f64 * LOST.as_secs_f64() / outcome.seconds;
            // The last wait may end after the measured time.
            measured.facts.insert("probe.waited_percent".to_owned(), json!((100.0 * waited).min(100.0)));
            round_trips(&mut measured, &outcome, &self.parameters());
        }
        Ok(measured)
    }
}

fn round_trips(measured: &mut Measured, outcome: &Outcome, parameters: &BTreeMap<String, String>) {
    for (name, value) in [("mean", outcome.mean_ns), ("max", outcome.max_ns.map(|ns| ns as f64))] {
        if let Some(value) = value.filter(|&value| value > 0.0) {
            measured.put(&format!("round_trip_latency_{name}_ns"), value);
        }
    }
    let histogram = Histogram::from_bins(outcome.bins.iter().copied());
    measured.histogram("round_trip", histogram, outcome.done, parameters);
}

#[cfg(test)]
mod tests {
    use bench_agent::{Bytes, JobStatus};

    use super::*;

    fn exchange() -> Exchange {
        Exchange { mode: Mode::TcpRr, request_bytes: 100, response_bytes: 200, port: 5300, paced: false, per_s: None }
    }

    fn output(stdout: &str) -> JobOutput {
        JobOutput {
            status: JobStatus::Exited(0),
            stdout: stdout.into(),
            stderr: Bytes::default(),
            files: Vec::new(),
            started_ns: 0,
            ended_ns: 1,
            rusage: bench_agent::Rusage::default(),
        }
    }

    #[test]
    fn what_the_client_prints_is_read() {
        let outcome = Outcome {
            done: 4000,
            lost: 1000,
            warmup_s: 0.5,
            seconds: 2.0,
            mean_ns: Some(30_500.0),
            max_ns: Some(41_000),
            bins: vec![(30_000, 3000), (41_000, 1000)],
        };
        let text = output(&serde_json::to_string(&outcome).unwrap());
        let flood = Exchange { mode: Mode::UdpFlood, ..exchange() }.measure(&text, "").unwrap();
        assert!(!flood.facts.contains_key("probe.waited_percent"));
        let measured = exchange().measure(&text, "").unwrap();
        assert_eq!(measured.facts["probe.waited_percent"], json!(100.0), "a share of the time");
        let value = |name: &str| measured.measurements.iter().find(|m| m.metric == name).map(|m| m.value);
        assert_eq!(value("transactions_per_s"), Some(2000.0));
        // Within the bin whose largest ns is 30,000.
        assert!(value("round_trip_latency_p50_ns").is_some_and(|ns| (29_873.0..30_001.0).contains(&ns)));
        assert_eq!(value("round_trip_latency_p999_ns"), None, "4,000 do not bear it");
        assert_eq!(measured.facts["probe.lost_share"], json!(0.2));
        assert_eq!(measured.facts["histogram.missing"], 0);
        assert_eq!(measured.seconds, (Some(0.5), Some(2.0)));
    }

    #[test]
    fn garbage_nothing_and_a_torn_histogram_are_told_apart() {
        assert!(exchange().measure(&output("garbage"), "").unwrap_err().contains("no result"));
        let nothing = serde_json::to_string(&Outcome { lost: 9, seconds: 2.0, ..Outcome::default() }).unwrap();
        assert!(exchange().measure(&output(&nothing), "").unwrap_err().contains("9 were lost"));
        let torn = Outcome { done: 5, seconds: 1.0, bins: vec![(1, 4)], ..Outcome::default() };
        let measured = exchange().measure(&output(&serde_json::to_string(&torn).unwrap()), "").unwrap();
        assert_eq!(measured.facts["histogram.missing"], 1);
        // Without round trips a trial of round trips is invalid, and what takes no time was not measured.
        let untimed = Outcome { done: 5, seconds: 1.0, mean_ns: Some(-1.0), max_ns: Some(0), ..Outcome::default() };
        let text = output(&serde_json::to_string(&untimed).unwrap());
        let measured = exchange().measure(&text, "").unwrap();
        assert_eq!((measured.facts["histogram.missing"].as_u64(), measured.measurements.len()), (Some(5), 1));
        let flood = Exchange { mode: Mode::UdpFlood, ..exchange() }.measure(&text, "").unwrap();
        assert!(!flood.facts.contains_key("histogram.missing"), "it has none");
        let at_once = Outcome { done: u64::MAX, seconds: 1e-300, ..Outcome::default() };
        assert!(exchange().measure(&output(&serde_json::to_string(&at_once).unwrap()), "").is_err());
    }
}
