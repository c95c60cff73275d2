//! Bulk transfer by iperf3: one TCP stream.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput, printable};
use bench_results::record::Profile;
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use super::Kind;
use crate::iperf3::{parse, version};
use crate::network::{Network, Server, network_job, port};
use crate::workload::{Measured, Place, TrialJobs, Work, exit_status, last_words, printed};

/// Added to the server's port to get the client's: fixed, so that no hash sends trials on different ways.
const CLIENT_PORT: u16 = 10_000;

/// What `-O` may be at most in iperf3 3.0 to 3.17 (600 s later; iperf_api.c): a suite means the same with all of them.
const LONGEST_WARM_UP_S: f64 = 60.0;

/// Parameters of a stream.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    /// True: the environment receives, the peer sends.
    #[serde(rename = "direction", deserialize_with = "receives")]
    receives: bool,
    /// The server's port.
    #[serde(deserialize_with = "port")]
    port: u16,
    /// See [`crate::Workload::needs_pace`].
    #[serde(default)]
    paced: bool,
    /// Bytes per second; absent: as fast as it goes.
    #[serde(skip)]
    bytes_per_s: Option<f64>,
}

fn receives<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match String::deserialize(from)?.as_str() {
        "transmit" => Ok(false),
        "receive" => Ok(true),
        other => Err(de::Error::custom(format!("there is no direction `{other}`; there are transmit and receive"))),
    }
}

impl Stream {
    fn server(&self, network: &Network) -> Server {
        let port = self.port.to_string();
        let argv = [&network.iperf3, "-s", "-1", "-4", "-B", &network.peer, "-p", &port].map(str::to_owned).to_vec();
        Server { job: network_job(argv, None), port: self.port }
    }

    fn job(&self, network: &Network, profile: &Profile) -> Job {
        let (warmup_s, runtime_s) = self.seconds(profile);
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
            // Any address: iperf3 before 3.4 takes no --cport without it.
            "-B",
            "0.0.0.0",
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
}

impl Kind for Stream {
    fn needs_network(&self) -> bool {
        true
    }

    fn needs_pace(&self) -> bool {
        self.paced && self.bytes_per_s.is_none()
    }

    fn set_pace(&mut self, rate_per_s: Option<f64>) {
        (self.paced, self.bytes_per_s) = (rate_per_s.is_some(), rate_per_s);
    }

    /// iperf3 counts in whole seconds; its warm-up is the slow start that it omits.
    fn seconds(&self, profile: &Profile) -> (f64, f64) {
        (profile.warmup_s.ceil(), profile.runtime_s.ceil())
    }

    /// Refuse what iperf3 would refuse in every trial. Whole days it measures, as long as a profile may be.
    fn check(&self, profile: &Profile) -> Result<(), String> {
        match self.seconds(profile).0 {
            warmup_s if warmup_s > LONGEST_WARM_UP_S => Err(format!(
                "with a workload of kind \"stream\" a warm-up is at most {LONGEST_WARM_UP_S} s: iperf3 before 3.18 omits no more (-O)"
            )),
            _ => Ok(()),
        }
    }

    fn parameters(&self) -> BTreeMap<String, String> {
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

    fn yields(&self) -> Vec<&'static str> {
        vec!["bandwidth_bytes_per_s", "cpu_ns_per_byte", "machine_cpu_ns_per_byte"]
    }

    fn trial(&self, place: &Place, profile: &Profile, _seed: u64) -> Result<TrialJobs, String> {
        let network = place.network()?;
        Ok(TrialJobs { server: Some(self.server(network)), measured: self.job(network, profile) })
    }

    fn measure(&self, output: &JobOutput, _deciding: &str) -> Result<Measured, String> {
        let text = printed(output)?;
        let status = exit_status(output).map_err(|why| format!("iperf3: {why}"))?;
        let report = parse(text);
        if let Some(error) = report.as_ref().and_then(|report| report.error.as_ref()) {
            let error = if error.trim().is_empty() { "an error that it does not name" } else { error };
            return Err(format!("iperf3: {}", printable(error, 2000)));
        }
        let Some(report) = report.filter(|_| status == 0) else {
            let iperf3 = version(text).map_or("iperf3".to_owned(), |version| printable(&version, 64));
            return Err(format!("{iperf3} exited with status {status} and printed no result: {}", last_words(output)));
        };
        let received = report.end.received().and_then(|sum| Some((sum, sum.bytes_per_s()?)));
        let Some((sum, received)) = received else {
            let version = printable(report.version(), 64);
            return Err(format!("iperf3 received nothing, or does not tell (`end.sum_received` of {version})"));
        };
        let seconds = sum.seconds.positive();
        let mut measured = Measured {
            work: Some(Work::PerSecond { unit: "byte", per_s: received }),
            rate_per_s: Some(received),
            seconds: (report.omitted_s(), seconds),
            raw: vec![("iperf3.json".to_owned(), text.to_vec())],
            ..Measured::default()
        };
        measured.put("bandwidth_bytes_per_s", received);
        if let Some(retransmits) = report.end.retransmits() {
            measured.facts.insert("iperf3.retransmits".to_owned(), json!(retransmits));
        }
        if let Some(seconds) = seconds {
            measured.facts.insert("iperf3.seconds".to_owned(), json!(seconds));
        }
        if let Some(asked) = self.bytes_per_s {
            measured.facts.insert("pace.reached_percent".to_owned(), json!(100.0 * received / asked));
        }
        Ok(measured)
    }
}
