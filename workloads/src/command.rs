//! The user's own command: wall time, CPU time, peak memory.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput};

use crate::workload::{Measured, Place, exit_status, last_words};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
}

impl Command {
    /// From the program's own name.
    pub(crate) fn name(&self) -> String {
        let program = self.argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program));
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = program.chars().map(plain).take(32).collect();
        let name = name.trim_matches('-');
        if name.is_empty() { "command".to_owned() } else { name.to_owned() }
    }

    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        [("argv".to_owned(), self.argv.join(" "))].into()
    }

    pub(crate) fn job(&self, place: &Place) -> Job {
        let env = [("PATH", place.path_env.as_str()), ("LC_ALL", "C"), ("HOME", "/")];
        Job {
            argv: self.argv.clone(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..Job::default()
        }
    }

    pub(crate) fn measure(&self, output: &JobOutput) -> Result<Measured, String> {
        let status = exit_status(output)?;
        if status != 0 {
            return Err(format!("it exited with status {status}: {}", last_words(output)));
        }
        let mut measured = Measured::default();
        let usage = &output.rusage;
        measured.put("wall_time_ns", output.ended_ns.saturating_sub(output.started_ns) as f64);
        measured.put("cpu_time_ns", usage.user_ns.saturating_add(usage.system_ns) as f64);
        measured.put("memory_peak_bytes", usage.max_rss_bytes as f64);
        measured.raw = [("stdout", &output.stdout), ("stderr", &output.stderr)]
            .into_iter()
            .filter(|(_, text)| !text.0.is_empty())
            .map(|(name, text)| (name.to_owned(), text.0.clone()))
            .collect();
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use bench_agent::{Bytes, JobStatus};

    use super::*;

    fn output(status: JobStatus) -> JobOutput {
        JobOutput {
            status,
            stdout: Bytes::default(),
            stderr: "first\nlast words\n".into(),
            files: Vec::new(),
            started_ns: 1_000,
            ended_ns: 5_000,
            rusage: bench_agent::Rusage { user_ns: 5, system_ns: 6, max_rss_bytes: 7, major_faults: 0 },
        }
    }

    #[test]
    fn a_name_comes_from_the_program() {
        let name = |program: &str| Command { argv: vec![program.to_owned()] }.name();
        assert_eq!(name("/usr/bin/sort"), "sort");
        assert_eq!(name("My Prog.sh"), "my-prog-sh");
        assert_eq!(name("///"), "command");
    }

    #[test]
    fn a_command_that_fails_is_a_failed_trial() {
        let command = Command { argv: vec!["false".into()] };
        let measured = command.measure(&output(JobStatus::Exited(0))).unwrap();
        assert_eq!(measured.measurements.iter().map(|m| m.value).collect::<Vec<_>>(), [4_000.0, 11.0, 7.0]);
        assert!(command.measure(&output(JobStatus::Exited(3))).unwrap_err().contains("last words"));
        assert!(command.measure(&output(JobStatus::Signaled(9))).unwrap_err().contains("signal 9"));
    }
}
