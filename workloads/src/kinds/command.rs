//! The user's own command: wall time, CPU time, peak memory.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput};
use bench_results::record::Profile;
use serde::{Deserialize, Deserializer, de};

use super::Kind;
use crate::workload::{Measured, Place, TrialJobs, exit_status, last_words};

/// The file system that commands work in, wherever they are executed: their temporary files lie on it, and so does their folder.
pub const WORK_FILE_SYSTEM: &str = "/tmp";
/// Where commands start, with nothing in it but the files that they bring along.
pub const WORK_FOLDER: &str = "/tmp/work";

/// A command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    #[serde(deserialize_with = "program_first")]
    argv: Vec<String>,
    /// Path of the program inside; what `argv` says where it is not known yet.
    #[serde(skip)]
    program: Option<String>,
}

fn program_first<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let argv = Vec::<String>::deserialize(from)?;
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err(de::Error::custom("argv needs at least the program")),
    }
}

impl Command {
    pub(crate) fn new(argv: Vec<String>) -> Command {
        Command { argv, program: None }
    }

    /// From the program's own name.
    pub(crate) fn name(&self) -> String {
        let program = self.argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program));
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = program.chars().map(plain).take(32).collect();
        let name = name.trim_matches('-');
        if name.is_empty() { "command".to_owned() } else { name.to_owned() }
    }

    /// For people: what was typed.
    pub(crate) fn title(&self) -> String {
        self.argv.join(" ")
    }

    fn job(&self, place: &Place) -> Job {
        let env = [
            ("PATH", place.path_env.as_str()),
            ("LC_ALL", "C"),
            ("HOME", WORK_FOLDER),
            ("TMPDIR", WORK_FILE_SYSTEM),
            ("BENCH_WORK", WORK_FOLDER),
        ];
        let program = self.program.iter().chain(&self.argv).next().cloned();
        Job {
            argv: program.into_iter().chain(self.argv.iter().skip(1).cloned()).collect(),
            cwd: Some(WORK_FOLDER.to_owned()),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..Job::default()
        }
    }

    /// What to do where the command may have missed a file: its words say so, or one of its arguments holds a path.
    fn hint(&self, output: &JobOutput) -> &'static str {
        let said = last_words(output);
        let misses =
            |text: &str| ["No such file", "not found", "cannot open", "can't open"].iter().any(|w| text.contains(w));
        let is_missing = matches!(output.status, bench_agent::JobStatus::NotStarted { errno: 2, .. });
        match is_missing || misses(&said) {
            true => {
                " (files that are arguments of their own come along; folders, and files that are named inside of another argument, \
                 do with --with PATH)"
            }
            false => "",
        }
    }
}

impl Kind for Command {
    fn argv(&self) -> Option<&[String]> {
        Some(&self.argv)
    }

    fn set_program(&mut self, path: String) {
        self.program = Some(path);
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        [("argv".to_owned(), self.title())].into()
    }

    fn yields(&self) -> Vec<&'static str> {
        vec!["wall_time_ns", "cpu_time_ns", "memory_peak_bytes"]
    }

    fn trial(&self, place: &Place, _profile: &Profile, _seed: u64) -> Result<TrialJobs, String> {
        Ok(TrialJobs { server: None, measured: self.job(place) })
    }

    fn measure(&self, output: &JobOutput, _deciding: &str) -> Result<Measured, String> {
        let status = exit_status(output).map_err(|why| format!("{why}{}", self.hint(output)))?;
        if status != 0 {
            return Err(format!("it exited with status {status}: {}{}", last_words(output), self.hint(output)));
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
        let name = |program: &str| Command::new(vec![program.to_owned()]).name();
        assert_eq!(name("/usr/bin/sort"), "sort");
        assert_eq!(name("My Prog.sh"), "my-prog-sh");
        assert_eq!(name("///"), "command");
    }

    #[test]
    fn a_command_that_fails_is_a_failed_trial() {
        let command = Command::new(vec!["false".into()]);
        let measured = command.measure(&output(JobStatus::Exited(0)), "").unwrap();
        assert_eq!(measured.measurements.iter().map(|m| m.value).collect::<Vec<_>>(), [4_000.0, 11.0, 7.0]);
        assert!(command.measure(&output(JobStatus::Exited(3)), "").unwrap_err().contains("last words"));
        assert!(command.measure(&output(JobStatus::Signaled(9)), "").unwrap_err().contains("signal 9"));
    }

    #[test]
    fn a_command_that_misses_a_file_is_told_how_to_bring_it() {
        let command = Command::new(vec!["cat".into()]);
        let missing =
            JobOutput { stderr: "cat: x: No such file or directory\n".into(), ..output(JobStatus::Exited(1)) };
        assert!(command.measure(&missing, "").unwrap_err().contains("--with"));
        assert!(!command.measure(&output(JobStatus::Exited(1)), "").unwrap_err().contains("--with"));
    }

    #[test]
    fn a_command_starts_in_its_folder_as_the_program_that_was_found() {
        let place = Place {
            target: None,
            size_bytes: 0,
            fio: String::new(),
            bench: String::new(),
            path_env: "/usr/bin:/bin".into(),
            network: None,
        };
        let mut command = Command::new(vec!["sort".into(), "x".into()]);
        assert_eq!(command.job(&place).argv, ["sort", "x"]);
        command.program = Some("/usr/bin/sort".into());
        let job = command.job(&place);
        assert_eq!((job.argv.join(" ").as_str(), job.cwd.as_deref()), ("/usr/bin/sort x", Some(WORK_FOLDER)));
        let value = |name: &str| job.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(["BENCH_WORK", "TMPDIR", "HOME"].map(value), [Some("/tmp/work"), Some("/tmp"), Some("/tmp/work")]);
    }
}
