//! Whether what fio printed can be believed, and which of its lines says why not.

use crate::output::{JobOutput, Output};

/// Why a fio process must not be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A job met an error.
    #[error("fio job `{job}` failed: {reason}")]
    Job {
        /// Its name.
        job: String,
        /// fio's own words, or the `errno`.
        reason: String,
    },
    /// It exited with another status than 0.
    #[error("fio exited with status {status}{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Exit {
        /// The status.
        status: i32,
        /// fio's own words.
        reason: Option<String>,
    },
    /// It says that all is well, but did nothing.
    #[error("fio job `{job}` did no I/O at all")]
    Nothing {
        /// Its name.
        job: String,
    },
    /// There is no job of this name.
    #[error("fio reported no job `{job}`")]
    Absent {
        /// The name looked for.
        job: String,
    },
    /// Several jobs have this name, and none of them is the whole.
    #[error("{fio} reported {count} jobs `{job}` and not one: it does not add them up as `group_reporting` asks")]
    Several {
        /// [`Output::fio`].
        fio: String,
        /// The name looked for.
        job: String,
        /// How many there are.
        count: usize,
    },
    /// It prints other units and fields.
    #[error("{fio} is too old: times and sizes mean something else before fio 3.0")]
    TooOld {
        /// [`Output::fio`].
        fio: String,
    },
    /// Something that counts is not there, or is no number.
    #[error("{fio} does not say `{field}` of job `{job}`, or not as a number")]
    Unread {
        /// [`Output::fio`].
        fio: String,
        /// The job's name.
        job: String,
        /// The field, such as `read.total_ios`.
        field: String,
    },
}

impl Output {
    /// The first job of this name.
    pub fn job(&self, name: &str) -> Option<&JobOutput> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// fio with its version, for a sentence.
    pub fn fio(&self) -> &str {
        if self.version.is_empty() { "fio of an unknown version" } else { &self.version }
    }

    /// All jobs, when exit status, errors and I/O say that they can be believed.
    pub fn all(&self, exit_status: i32) -> Result<&[JobOutput], Failure> {
        self.ended_well(exit_status)?;
        self.none_is_odd()?;
        let names: Vec<_> = self.jobs.iter().map(|job| job.name.as_str()).collect();
        match self.jobs.iter().any(|job| job.total_ios() > 0) {
            true => Ok(&self.jobs),
            false => Err(Failure::Nothing { job: names.join("`, `") }),
        }
    }

    /// The job of this name, when exit status, errors of all jobs and its own I/O say that it can be believed.
    pub fn check(&self, exit_status: i32, name: &str) -> Result<&JobOutput, Failure> {
        self.ended_well(exit_status)?;
        let (fio, job_name) = (self.fio().to_owned(), name.to_owned());
        let job = self.job(name).ok_or_else(|| Failure::Absent { job: job_name.clone() })?;
        match self.jobs.iter().filter(|job| job.name == name).count() {
            1 => {}
            count => return Err(Failure::Several { fio, job: job_name, count }),
        }
        // Of another job, too: it may have failed.
        self.none_is_odd()?;
        if job.total_ios() > 0 {
            return Ok(job);
        }
        let kinds = [("read", &job.read), ("write", &job.write), ("mixed", &job.mixed)];
        match kinds.into_iter().find(|(_, traffic)| traffic.unread.contains(&"total_ios")) {
            Some((kind, _)) => Err(Failure::Unread { fio, job: job_name, field: format!("{kind}.total_ios") }),
            None => Err(Failure::Nothing { job: job_name }),
        }
    }

    /// Refuse a job that failed, another exit status than 0, and a fio that is too old.
    fn ended_well(&self, exit_status: i32) -> Result<(), Failure> {
        if let Some((job, errno)) = self.jobs.iter().find_map(|job| Some((job, job.errno()?))) {
            let reason = self.complaint(Some(errno)).unwrap_or_else(|| words(errno));
            return Err(Failure::Job { job: job.name.clone(), reason });
        }
        if exit_status != 0 {
            return Err(Failure::Exit { status: exit_status, reason: self.complaint(None) });
        }
        match self.major().is_some_and(|major| major < 3) {
            true => Err(Failure::TooOld { fio: self.fio().to_owned() }),
            false => Ok(()),
        }
    }

    /// Refuse a job of which cannot be read whether it failed.
    fn none_is_odd(&self) -> Result<(), Failure> {
        match self.jobs.iter().find(|job| job.is_odd) {
            Some(odd) => {
                let (fio, job) = (self.fio().to_owned(), odd.name.clone());
                Err(Failure::Unread { fio, job, field: "error".to_owned() })
            }
            None => Ok(()),
        }
    }

    /// The number before the dot of its version.
    fn major(&self) -> Option<u32> {
        self.version.strip_prefix("fio-")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// The line around the JSON that says what went wrong: one with the words of this `errno`, else one with a number or name of
    /// an error, else one with the word, else one that sounds like it. Paths and notes speak of errors, too.
    fn complaint(&self, errno: Option<i64>) -> Option<String> {
        let said = errno.map(|errno| (words(errno), format!("err={errno}/")));
        let of_errno = |line: &str| {
            said.as_ref().is_some_and(|(words, number)| line.contains(words.as_str()) || line.contains(number.as_str()))
        };
        let ranks: [&dyn Fn(&str) -> bool; 4] = [&of_errno, &has_error_value, &has_error_word, &sounds_wrong];
        let lines = || self.diagnostics.iter().map(|line| line.trim()).filter(|line| !is_note(line));
        ranks.iter().find_map(|rank| lines().find(|line| rank(line))).map(str::to_owned)
    }
}

impl JobOutput {
    /// Why it failed; absent where it did not.
    fn errno(&self) -> Option<i64> {
        let failed_in_between = (self.total_err > 0).then_some(self.first_error);
        Some(self.error).filter(|&errno| errno != 0).or(failed_in_between)
    }
}

/// What the system calls an `errno`.
fn words(errno: i64) -> String {
    match i32::try_from(errno) {
        Ok(0) | Err(_) => "some of its I/Os failed".to_owned(),
        Ok(errno) => {
            let text = std::io::Error::from_raw_os_error(errno).to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

/// `err=5/file:io_u.c:1876`, `error=Input/output error`; not `err= 0`.
fn has_error_value(line: &str) -> bool {
    let value_of = |name: &str| {
        let at = line.match_indices(name).find(|(at, _)| !line[..*at].ends_with(|c: char| c.is_alphanumeric()))?.0;
        line[at + name.len()..].trim_start().chars().next()
    };
    value_of("err=").is_some_and(|first| first != '0') || value_of("error=").is_some_and(|first| first != '0')
}

/// The words of a line, in small letters, without punctuation and without paths.
fn plain_words(line: &str) -> impl Iterator<Item = String> {
    let words = line
        .split_whitespace()
        .filter(|word| !word.trim_start_matches(['\'', '"', '<', '(', '=']).starts_with(['/', '.']));
    words.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
}

fn has_error_word(line: &str) -> bool {
    plain_words(line).any(|word| word == "error" || word == "errors")
}

/// How complaints are worded that do not say `error`.
const WORDS: [&str; 16] = [
    "failed",
    "fails",
    "fail",
    "failure",
    "cannot",
    "can't",
    "couldn't",
    "unable",
    "invalid",
    "bad",
    "denied",
    "unknown",
    "unrecognized",
    "hung",
    "dropped",
    "not",
];
/// The same in the words of the system.
const PHRASES: [&str; 4] = ["No space left", "Read-only file system", "No such", "Operation not"];

fn sounds_wrong(line: &str) -> bool {
    PHRASES.iter().any(|phrase| line.contains(phrase)) || plain_words(line).any(|word| WORDS.contains(&word.as_str()))
}

/// What fio says though nothing is wrong (init.c, filesetup.c): advice, and what it does instead.
fn is_note(line: &str) -> bool {
    const NOTES: [&str; 8] = [
        "multiple writers may overwrite",
        "verification failures",
        "to get rid of this warning",
        "exceeds 32-bit tausworthe",
        "both iodepth >= 1 and synchronous",
        "does not support process shared mutexes",
        "fallocate call failed",
        "file hash not empty",
    ];
    line.starts_with("note:") || line.starts_with("hint:") || NOTES.iter().any(|note| line.contains(note))
}
