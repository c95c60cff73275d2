//! The limits of everything that `bench` reads and did not write itself, or that a program inside an environment made, and the one
//! way to read such a file: it may come from a stranger, and be a pipe that never ends or a disk's worth of zeros.
//!
//! What crosses from an environment while it runs has its limits where it is read: `bench_agent::FRAME_LIMIT`, `OUTPUT_LIMIT`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Bytes that a value takes which is read from JSON, at most, however short it is written.
pub const VALUE_BYTES: u64 = 100;
/// Most bytes of `run.json`.
pub const RUN_BYTES: u64 = 256 << 20;
/// Most values in `run.json`; with [`VALUE_BYTES`] for each they take at most 600 MiB.
pub const RUN_VALUES: u64 = 6 << 20;
/// Most bytes of `trials.jsonl`.
pub const TRIALS_BYTES: u64 = 8 << 30;
/// Most bytes of memory that all trials of a run take. Where whole trials are kept (`--resume`), [`VALUE_BYTES`] are counted for each value. For
/// reports and comparisons histograms and most facts are let go ([`crate::lean`]): what is left of half a million trials is far from it.
pub const TRIALS_MEMORY: u64 = 6400 << 20;
/// Most bytes of one line of `trials.jsonl`.
pub const TRIAL_BYTES: u64 = 32 << 20;
/// Most values in one line of `trials.jsonl`.
pub const TRIAL_VALUES: u64 = 1 << 20;
/// Most facts of a trial.
pub const FACTS: usize = 1_000;
/// Most trials that a run plans: its `run.json` is within [`RUN_BYTES`] and [`RUN_VALUES`].
pub const TRIALS: usize = 500_000;
/// Most workloads of a run or suite.
pub const WORKLOADS: usize = 1_000;
/// Most rows of a run: workloads × environments.
pub const ROWS: usize = 10_000;
/// Most environments of a run or suite.
pub const ENVIRONMENTS: usize = 100;
/// Most bytes of a suite or policy file.
pub const DEFINITION_BYTES: u64 = 1 << 20;
/// Most bytes of a file that is imported: a thousand times what fio prints of a job with all its histograms.
pub const IMPORT_BYTES: u64 = 64 << 20;
/// Most values of a file that is imported: what is read takes up to a hundred bytes for each.
pub const IMPORT_VALUES: u64 = 2 << 20;
/// Most bytes of a job file of fio, with all files that it includes: job files are written by hand, and stand in the record.
pub const JOB_FILE_BYTES: u64 = 64 << 10;
/// Most sections of a job file of fio, each of which is a process at least.
pub const JOB_FILE_SECTIONS: usize = 256;
/// Most bytes that are read of what a tool printed in a trial: a hundred times what fio prints with all its histograms. What is read takes
/// many times as much memory, and a guest may say that its tool printed anything.
pub const TOOL_OUTPUT_BYTES: u64 = 8 << 20;
/// Most bytes of an archive, as it is stored.
pub const ARCHIVE_BYTES: u64 = 4 << 30;
/// Most bytes of all that an archive holds, unpacked: a few kilobytes can unpack to any size.
pub const UNPACKED_BYTES: u64 = 16 << 30;
/// Most bytes of one file that an archive holds, unpacked.
pub const UNPACKED_FILE_BYTES: u64 = 1 << 30;
/// Most entries of an archive.
pub const ARCHIVE_ENTRIES: u64 = 1_000_000;
/// Longest name in an archive, and longest extended header that is skipped.
pub const ARCHIVE_NAME_BYTES: u64 = 4 << 10;
/// Most runs of a set.
pub const RUNS: usize = 1_000;

/// Whether a path may be a link to the file. One in a folder from a stranger may not, one that the user named may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It may.
    Followed,
    /// It is an error.
    Refused,
}

/// Open a regular file of at most so many bytes, without waiting for whoever writes to a pipe.
///
/// # Errors
/// It cannot be opened, or it is a pipe, a device, a folder, a link that is refused, or larger: then the error names what is allowed.
pub fn open(path: &Path, most_bytes: u64, links: Links) -> io::Result<File> {
    let only = || format!("only a regular file of at most {} is read", size(most_bytes));
    let refused = |what: &str| io::Error::other(format!("it is {what}, and {}", only()));
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refused {
        flags |= OFlags::NOFOLLOW;
    }
    let file: File = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        Err(rustix::io::Errno::LOOP) if links == Links::Refused => return Err(refused("a link")),
        // A socket has no reader.
        Err(rustix::io::Errno::NXIO) => return Err(refused("a socket or device")),
        Err(e) => return Err(e.into()),
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(refused("a folder"));
    }
    if !metadata.is_file() {
        return Err(refused("a pipe or device"));
    }
    if metadata.len() > most_bytes {
        return Err(refused(&format!("larger, {}", size(metadata.len()))));
    }
    Ok(file)
}

/// The whole of such a file.
///
/// # Errors
/// As [`open`]; or it grew beyond the limit, or cannot be read.
pub fn read(path: &Path, most_bytes: u64, links: Links) -> io::Result<Vec<u8>> {
    let file = open(path, most_bytes, links)?;
    let mut content = Vec::new();
    file.take(most_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most_bytes {
        return Err(io::Error::other(format!("it is longer than {}, which is all that is read", size(most_bytes))));
    }
    Ok(content)
}

/// A suite or policy that the user named, as text.
///
/// # Errors
/// As [`read`], or it is no UTF-8.
pub fn read_definition(path: &Path) -> io::Result<String> {
    let content = read(path, DEFINITION_BYTES, Links::Followed)?;
    String::from_utf8(content).map_err(|_| io::Error::other("it is no text in UTF-8"))
}

/// How many values a JSON text holds, or a few more: what it takes in memory does not follow from its length.
pub fn values(json: &[u8]) -> u64 {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Bytes for people, in the largest binary unit that keeps the figure readable: `64 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

/// The limits for the documentation, as rows of a table in Markdown.
pub fn markdown() -> String {
    let rows = [
        ("`run.json`", size(RUN_BYTES), format!("{RUN_VALUES} values, of up to {VALUE_BYTES} bytes each in memory")),
        (
            "a plan",
            format!("{TRIALS} trials"),
            format!(
                "{WORKLOADS} workloads, {ENVIRONMENTS} environments, workloads × environments {ROWS}; `bench run` refuses more before it measures"
            ),
        ),
        ("`trials.jsonl`", size(TRIALS_BYTES), format!("{} of memory for what is kept of it", size(TRIALS_MEMORY))),
        ("one line of it", size(TRIAL_BYTES), format!("{TRIAL_VALUES} values, {FACTS} facts")),
        (
            "a suite, a policy",
            size(DEFINITION_BYTES),
            format!("a suite: {WORKLOADS} workloads, {ENVIRONMENTS} environments"),
        ),
        ("a file for `bench import`", size(IMPORT_BYTES), format!("{IMPORT_VALUES} values")),
        ("a job file of fio", size(JOB_FILE_BYTES), format!("with all that it includes; {JOB_FILE_SECTIONS} sections")),
        (
            "output of a tool in a trial",
            size(TOOL_OUTPUT_BYTES),
            "a trial with more fails; a larger one in `raw/` is not held against the record".to_owned(),
        ),
        (
            "an archive",
            size(ARCHIVE_BYTES),
            format!(
                "unpacked {}, a file in it {}, the record as above; {ARCHIVE_ENTRIES} entries, names of {}; `bench export` makes no larger one",
                size(UNPACKED_BYTES),
                size(UNPACKED_FILE_BYTES),
                size(ARCHIVE_NAME_BYTES)
            ),
        ),
        ("a set of runs", format!("{RUNS} runs"), "each with the limits above".to_owned()),
    ];
    let row = |(what, most, besides): (&str, String, String)| format!("| {what} | {most} | {besides} |\n");
    format!("| what is read | at most | and |\n|---|---|---|\n{}", rows.map(row).concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PlannedTrial;

    /// `BLESS=1 cargo test -p bench-results` writes the table in the documentation anew.
    #[test]
    fn the_documentation_has_these_limits() {
        let (begin, end) = ("limits: written by a test of results/src/limits.rs", "/limits");
        crate::testing::documented_in("RECORD-FORMAT.md", begin, end, &markdown());
    }

    /// Bytes and values of a plan as it is written, with its order of starts, under long names.
    fn written(blocks: usize, workloads: usize, environments: usize) -> (u64, u64) {
        let mut plan = crate::testing::record(1, 1, false).run.plan;
        let name = |number: usize| format!("{number:0>32}");
        let like = plan.trials[0].clone();
        let one = |environment: usize| PlannedTrial {
            id: format!("b123456t1-{}-{}", name(0), name(0)).into(),
            block: 123_456,
            workload: name(0).into(),
            environment: name(environment).into(),
            seed: u64::from(u32::MAX),
            ..like.clone()
        };
        plan.trials = (0..blocks * workloads).flat_map(|_| (0..environments).map(one)).collect();
        plan.starts = vec![(0..environments).map(name).collect(); blocks];
        // Its place in run.json is two steps to the right.
        let text = serde_json::to_string_pretty(&serde_json::json!({ "plan": plan })).unwrap();
        (text.len() as u64, values(text.as_bytes()))
    }

    #[test]
    fn the_largest_plan_can_be_read_again() {
        for (workloads, environments) in [(1, 1), (1, ENVIRONMENTS), (100, ENVIRONMENTS), (7, 4)] {
            let (one, two) = (written(1, workloads, environments), written(2, workloads, environments));
            let blocks = TRIALS.div_ceil(workloads * environments) as u64;
            let (bytes, values) = (blocks * (two.0 - one.0), blocks * (two.1 - one.1));
            assert!(bytes < RUN_BYTES, "{workloads} × {environments}: {}", size(bytes));
            assert!(values < RUN_VALUES, "{workloads} × {environments}: {values} values");
        }
    }

    #[test]
    fn values_are_counted_where_they_are() {
        for (json, count) in [
            (r#"1"#, 1),
            (r#"[]"#, 2),
            (r#"["a,[{\",","b"]"#, 3),
            (r#"{"a,b":[1,2],"c":{"d":null}}"#, 6),
            (r#"["\\",1]"#, 3),
        ] {
            assert_eq!(values(json.as_bytes()), count, "{json}");
        }
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "1234").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&path, 4, Links::Refused).unwrap(), b"1234");
        assert_eq!(read(&link, 4, Links::Followed).unwrap(), b"1234");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let socket = folder.path().join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, links, said) in [
            (&*path, Links::Refused, "larger, 4 bytes"),
            (&*link, Links::Refused, "a link"),
            (&*pipe, Links::Followed, "a pipe or device"),
            (&*socket, Links::Followed, "a socket or device"),
            (folder.path(), Links::Followed, "a folder"),
            (Path::new("/dev/zero"), Links::Followed, "a pipe or device"),
        ] {
            let error = read(path, 3, links).unwrap_err().to_string();
            assert!(error.contains(said) && error.ends_with("at most 3 bytes is read"), "{}: {error}", path.display());
        }
        // It says that it is empty, and is not.
        assert!(
            read(Path::new("/proc/self/status"), 3, Links::Refused).unwrap_err().to_string().contains("longer than")
        );
    }
}
