//! Sequential writes to the work folder by dd(1).

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput};
use bench_results::quantity::{Written, parse_size};
use bench_results::record::Profile;
use serde::{Deserialize, Deserializer, de};

use super::Kind;
use super::command::WORK_FOLDER;
use crate::workload::{Measured, Place, TrialJobs, exit_status, last_words};

/// Parameters of `kind = "dd"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Dd {
    /// Bytes that one trial writes.
    #[serde(rename = "size", deserialize_with = "size")]
    size_bytes: u64,
    /// The program: its name, and its path inside as soon as that is known.
    #[serde(skip, default = "program")]
    argv: Vec<String>,
}

/// `size = "64MiB"`. An error here is reported with file, line and column of the value.
fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parse_size(&Written::deserialize(from)?.text()).map_err(de::Error::custom)
}

fn program() -> Vec<String> {
    vec!["dd".to_owned()]
}

/// Bytes and seconds, from the last line that dd prints: `1048576 bytes (1.0 MB, 1.0 MiB) copied, 0.5 s, 2.1 MB/s`.
fn copied(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().last()?;
    let bytes = line.split_once(" bytes ")?.0.parse().ok()?;
    let seconds = line.split_once(" copied, ")?.1.split_once(" s,")?.0.parse().ok()?;
    (seconds > 0.0).then_some((bytes, seconds))
}

impl Kind for Dd {
    fn argv(&self) -> Option<&[String]> {
        Some(&self.argv)
    }

    fn set_program(&mut self, path: String) {
        self.argv = vec![path];
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        let parameters =
            [("engine", "dd".to_owned()), ("argv", "dd".to_owned()), ("size", self.size_bytes.to_string())];
        parameters.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn yields(&self) -> Vec<&'static str> {
        vec!["bandwidth_bytes_per_s", "memory_peak_bytes"]
    }

    fn trial(&self, _place: &Place, _profile: &Profile, _seed: u64) -> Result<TrialJobs, String> {
        let count = format!("count={}", self.size_bytes);
        let words = ["if=/dev/zero", "of=written", "bs=1M", "iflag=count_bytes", "conv=fsync", &count];
        let measured = Job {
            argv: self.argv.iter().cloned().chain(words.map(str::to_owned)).collect(),
            cwd: Some(WORK_FOLDER.to_owned()),
            env: vec![("LC_ALL".to_owned(), "C".to_owned())],
            ..Job::default()
        };
        Ok(TrialJobs { server: None, measured })
    }

    fn measure(&self, output: &JobOutput, _deciding: &str) -> Result<Measured, String> {
        let status = exit_status(output)?;
        if status != 0 {
            return Err(format!("dd exited with status {status}: {}", last_words(output)));
        }
        let (bytes, seconds) = copied(&output.stderr.text())
            .ok_or_else(|| format!("dd did not print how much it copied in which time: {}", last_words(output)))?;
        let mut measured =
            Measured { raw: vec![("dd.txt".to_owned(), output.stderr.0.clone())], ..Measured::default() };
        measured.put("bandwidth_bytes_per_s", bytes / seconds);
        measured.put("memory_peak_bytes", output.rusage.max_rss_bytes as f64);
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use bench_agent::{Bytes, JobStatus, Rusage};

    use super::*;
    use crate::{AnyKind, Suite};

    const SUITE: &str = include_str!("writes.toml");

    /// What dd of coreutils 9.1 printed.
    const PRINTED: &str =
        "64+0 records in\n64+0 records out\n67108864 bytes (67 MB, 64 MiB) copied, 0.0250 s, 2.7 GB/s\n";

    fn output(status: i32, stderr: &str) -> JobOutput {
        JobOutput {
            status: JobStatus::Exited(status),
            stdout: Bytes::default(),
            stderr: stderr.into(),
            files: Vec::new(),
            started_ns: 0,
            ended_ns: 25_000_000,
            rusage: Rusage { user_ns: 1, system_ns: 1, max_rss_bytes: 2_097_152, major_faults: 0 },
        }
    }

    #[test]
    fn a_suite_names_it() {
        let suite = Suite::parse(SUITE, "writes.toml", &AnyKind).unwrap();
        assert_eq!(suite.workloads[0].record(Vec::new()).parameters["size"], "67108864");
        let wrong = SUITE.replace("64MiB", "many");
        let error = Suite::parse(&wrong, "writes.toml", &AnyKind).unwrap_err().to_string();
        assert!(error.starts_with("writes.toml:9:8: `many` is not a size"), "{error}");
    }

    #[test]
    fn bandwidth_is_read_from_the_last_line() {
        let dd = Dd { size_bytes: 64 << 20, argv: program() };
        let measured = dd.measure(&output(0, PRINTED), "bandwidth_bytes_per_s").unwrap();
        let values: Vec<_> = measured.measurements.iter().map(|m| (m.metric.as_str(), m.value)).collect();
        assert_eq!(values, [("bandwidth_bytes_per_s", 67_108_864.0 / 0.025), ("memory_peak_bytes", 2_097_152.0)]);
    }

    #[test]
    fn a_failure_and_unknown_output_are_failed_trials() {
        let dd = Dd { size_bytes: 64 << 20, argv: program() };
        let failed = dd.measure(&output(1, "dd: error writing 'written': No space left on device\n"), "");
        assert!(failed.unwrap_err().contains("status 1: dd: error writing"));
        assert!(dd.measure(&output(0, "copied something\n"), "").unwrap_err().contains("copied something"));
    }
}
