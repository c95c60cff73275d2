//! A thin convenience: write the job file, start fio, read what it printed.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::job::{HUGE_BUFFERS, Job, JobError, job_file};
use crate::output::Output;
use crate::parse::{ParseError, parse};

/// fio could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The jobs cannot be written down.
    #[error(transparent)]
    Job(#[from] JobError),
    /// fio could not be started or spoken to.
    #[error("running {program}")]
    Io {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It printed no result.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Run the jobs with this fio; returns the output and the exit status (128+n after signal n).
pub fn run(fio: &Path, jobs: &[Job]) -> Result<(Output, i32), RunError> {
    let text = job_file(jobs)?;
    let failed = |source| RunError::Io { program: fio.display().to_string(), source };
    let mut child = Command::new(fio)
        .args(["--output-format=json+", "-"])
        .envs([HUGE_BUFFERS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).map_err(failed)?;
    }
    let done = child.wait_with_output().map_err(failed)?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&done.status).unwrap_or(0);
    Ok((parse(&done.stdout)?, done.status.code().unwrap_or(128 + signal)))
}
