//! Bulk transfer by iperf3: one TCP stream.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput};
use bench_results::record::Profile;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::network::{Network, Server, network_job};
use crate::workload::{Measured, Work, exit_status, last_words};

/// Added to the server's port to get the client's: fixed, so that no hash sends trials on different ways.
const CLIENT_PORT: u16 = 10_000;

/// Parameters of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stream {
    /// True: the environment receives, the peer sends.
    pub(crate) receives: bool,
    /// The server's port.
    pub(crate) port: u16,
    /// See [`crate::Workload::needs_pace`].
    pub(crate) paced: bool,
    /// Bytes per second; absent: as fast as it goes.
    pub(crate) bytes_per_s: Option<f64>,
}

impl Stream {
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        let direction = if self.receives { "receive" } else { "transmit" };
        let mut parameters = BTreeMap::from([
            ("direction".to_owned(), direction.to_owned()),
            ("streams".to_owned(), "1".to_owned()),
            ("engine".to_owned(), "iperf3".to_owned()),
            ("temporary_files".to_owned(), "in memory".to_owned()),
        ]);
        parameters.extend(self.bytes_per_s.map(|rate| ("bytes_per_s".to_owned(), rate.to_string())));
        parameters
    }

    pub(crate) fn yields() -> Vec<&'static str> {
        vec!["bandwidth_bytes_per_s", "cpu_ns_per_byte", "machine_cpu_ns_per_byte"]
    }

    pub(crate) fn server(&self, network: &Network) -> Server {
        let port = self.port.to_string();
        let argv = [&network.iperf3, "-s", "-1", "-4", "-B", &network.peer, "-p", &port].map(str::to_owned).to_vec();
        Server { job: network_job(argv, None), port: self.port }
    }

    /// iperf3 counts in whole seconds; its warm-up is the slow start that it omits.
    pub(crate) fn seconds(profile: &Profile) -> (f64, f64) {
        (profile.warmup_s.ceil(), profile.runtime_s.ceil())
    }

    pub(crate) fn job(&self, network: &Network, profile: &Profile) -> Job {
        let (warmup_s, runtime_s) = Stream::seconds(profile);
        let (port, client_port) = (self.port.to_string(), (self.port + CLIENT_PORT).to_string());
        let (seconds, omitted) = (runtime_s.to_string(), warmup_s.to_string());
        let mut argv: Vec<String> = [
            &network.iperf3,
            "-c",
            &network.peer,
            "-p",
            &port,
            "--cport",
            &client_port,
            "-4",
            "-J",
            "-t",
            &seconds,
            "-O",
            &omitted,
        ]
        .map(str::to_owned)
        .to_vec();
        if self.receives {
            argv.push("-R".to_owned());
        }
        if let Some(rate) = self.bytes_per_s {
            argv.extend(["-b".to_owned(), format!("{:.0}", rate * 8.0)]);
        }
        network_job(argv, Some(warmup_s + runtime_s))
    }

    pub(crate) fn measure(&self, output: &JobOutput) -> Result<Measured, String> {
        let status = exit_status(output).map_err(|why| format!("iperf3: {why}"))?;
        let report = parse(&output.stdout.0);
        let error = report.as_ref().and_then(|report| report.error.clone());
        let report = match (status, report, error) {
            (_, _, Some(error)) => return Err(format!("iperf3: {error}")),
            (0, Some(report), None) => report,
            _ => {
                return Err(format!(
                    "iperf3 exited with status {status} and printed no result: {}",
                    last_words(output)
                ));
            }
        };
        let received = report.end.sum_received.bits_per_second / 8.0;
        if !(received.is_finite() && received > 0.0) {
            return Err("iperf3 received nothing".to_owned());
        }
        let mut measured = Measured {
            work: Some(Work::PerSecond { unit: "byte", per_s: received }),
            rate_per_s: Some(received),
            seconds: (Some(report.omitted_s()), Some(report.end.sum_received.seconds)),
            raw: vec![("iperf3.json".to_owned(), output.stdout.0.clone())],
            ..Measured::default()
        };
        measured.put("bandwidth_bytes_per_s", received);
        if let Some(retransmits) = report.end.sum_sent.retransmits {
            measured.facts.insert("iperf3.retransmits".to_owned(), json!(retransmits));
        }
        measured.facts.insert("iperf3.seconds".to_owned(), json!(report.end.sum_received.seconds));
        if let Some(asked) = self.bytes_per_s {
            measured.facts.insert("pace.reached_percent".to_owned(), json!(100.0 * received / asked));
        }
        Ok(measured)
    }
}

/// What of iperf3's JSON is used; the rest is kept as it is in `raw/`.
#[derive(Debug, Default, Deserialize)]
struct Report {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    intervals: Vec<Interval>,
    #[serde(default)]
    end: End,
}

impl Report {
    /// Seconds of the intervals that are in no figure.
    fn omitted_s(&self) -> f64 {
        self.intervals.iter().map(|interval| &interval.sum).filter(|sum| sum.omitted).map(|sum| sum.seconds).sum()
    }
}

#[derive(Debug, Default, Deserialize)]
struct Interval {
    #[serde(default)]
    sum: Sum,
}

#[derive(Debug, Default, Deserialize)]
struct End {
    #[serde(default)]
    sum_sent: Sum,
    #[serde(default)]
    sum_received: Sum,
}

#[derive(Debug, Default, Deserialize)]
struct Sum {
    #[serde(default)]
    bits_per_second: f64,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    omitted: bool,
    #[serde(default)]
    retransmits: Option<u64>,
}

/// The JSON in what iperf3 printed: warnings may stand before it.
fn parse(stdout: &[u8]) -> Option<Report> {
    let text = String::from_utf8_lossy(stdout);
    let value: Value = serde_json::Deserializer::from_str(&text[text.find('{')?..]).into_iter().next()?.ok()?;
    serde_json::from_value(value).ok()
}
