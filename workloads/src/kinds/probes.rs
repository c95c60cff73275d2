//! Probes of isolation: what an instance sees and may do, tried by `bench` itself inside. Nothing is measured.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput, printable};
use bench_results::isolation::{VALUE_CHARS, find};
use bench_results::record::{Profile, Sight};
use serde::Deserialize;

use super::Kind;
use crate::workload::{Measured, Place, TrialJobs, exit_status, last_words, printed, tool_env};

/// An emulated guest takes seconds.
const DEADLINE_NS: u64 = 120_000_000_000;

/// All probes; it has no parameters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probes {}

impl Kind for Probes {
    fn is_probed(&self) -> bool {
        true
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        [("engine".to_owned(), "bench isolation".to_owned())].into()
    }

    fn yields(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The seed is the name of what is left to be seen outside.
    fn trial(&self, place: &Place, _profile: &Profile, seed: u64) -> Result<TrialJobs, String> {
        let argv = vec![place.bench.clone(), "isolation".to_owned(), seed.to_string()];
        Ok(TrialJobs {
            server: None,
            measured: Job { argv, env: tool_env(), deadline_ns: DEADLINE_NS, ..Job::default() },
        })
    }

    fn measure(&self, output: &JobOutput, _deciding: &str) -> Result<Measured, String> {
        let status = exit_status(output).map_err(|why| format!("the probes: {why}"))?;
        if status != 0 {
            return Err(format!("the probes exited with status {status}: {}", last_words(output)));
        }
        let text = printed(output)?;
        let said: BTreeMap<String, Sight> = serde_json::from_slice(text)
            .map_err(|e| format!("the probes printed no result ({e}): {}", last_words(output)))?;
        if let Some(unknown) = said.keys().find(|id| find(id).is_none()) {
            return Err(format!("the probes printed a result of `{}`, which is none of them", printable(unknown, 100)));
        }
        if said.is_empty() {
            return Err("the probes printed no result".to_owned());
        }
        let sights = said.into_iter().map(|(id, sight)| (id, bounded(sight)));
        let raw = vec![("isolation.json".to_owned(), text.to_vec())];
        Ok(Measured { sights: sights.collect(), raw, ..Measured::default() })
    }
}

/// Text of an instance, which may be anything.
fn bounded(sight: Sight) -> Sight {
    match sight {
        Sight::Value(text) => Sight::Value(printable(&text, VALUE_CHARS)),
        Sight::Error(text) => Sight::Error(printable(&text, VALUE_CHARS)),
    }
}

#[cfg(test)]
mod tests {
    use bench_agent::{Bytes, JobStatus};

    use super::*;

    fn output(text: &str) -> JobOutput {
        JobOutput {
            status: JobStatus::Exited(0),
            stdout: text.into(),
            stderr: Bytes::default(),
            files: Vec::new(),
            started_ns: 0,
            ended_ns: 1,
            rusage: bench_agent::Rusage::default(),
        }
    }

    #[test]
    fn only_results_of_known_probes_are_taken() {
        let measure = |text: &str| Probes {}.measure(&output(text), "");
        let sights = measure(r#"{"boot-id": {"value": "a\u001b"}, "mount": {"error": "EPERM"}}"#).unwrap().sights;
        assert_eq!(sights["boot-id"], Sight::Value("a".to_owned()));
        assert_eq!(sights["mount"], Sight::Error("EPERM".to_owned()));
        for (text, why) in [("", "no result"), ("{}", "no result"), (r#"{"x": {"value": ""}}"#, "none of them")] {
            assert!(measure(text).unwrap_err().contains(why), "{text}");
        }
        let long = format!(r#"{{"boot-id": {{"value": "{}"}}}}"#, "x".repeat(10_000));
        assert_eq!(measure(&long).unwrap().sights["boot-id"].text().len(), VALUE_CHARS);
    }
}
