//! Suites: environments, workloads and profiles as data.

use std::ops::Range;
use std::path::Path;

use bench_results::policy::position;
use bench_results::quantity::{Written, parse_count, parse_duration, parse_margin, parse_size, parse_whole_percent};
use bench_results::record::Profile;
use bench_results::{limits, metric};
use fio_rs::{Direction, Pattern};
use serde::Deserialize;
use toml::Spanned;

use crate::command::Command;
use crate::environment::{AnyKind, EnvironmentDefinition, Kinds, is_name};
use crate::exchange::Exchange;
use crate::fio::Fio;
use crate::probe;
use crate::stream::Stream;
use crate::workload::{Kind, Workload};

/// The suites that come with `bench`.
const BUILTIN: &[(&str, &str)] = &[
    ("io", include_str!("../suites/io.toml")),
    ("network", include_str!("../suites/network.toml")),
    ("nat-ladder", include_str!("../suites/nat-ladder.toml")),
];

/// A suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// Name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Where it is executed unless the user says otherwise.
    pub environments: Vec<EnvironmentDefinition>,
    /// What is measured.
    pub workloads: Vec<Workload>,
    /// How long and how often.
    pub profiles: Vec<Profile>,
}

/// A suite that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// No such built-in suite.
    #[error(
        "there is no suite `{name}`; there are {known}; a suite file of your own is named by its path, as in ./mine.toml"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No such profile.
    #[error("suite `{suite}` has no profile `{name}`; it has {known}")]
    Profile {
        /// The suite.
        suite: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("reading the suite {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something wrong.
    #[error("{file}:{line}:{column}: {message}")]
    Definition {
        /// The file.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SuiteFile {
    name: Spanned<String>,
    title: String,
    environments: Vec<Spanned<String>>,
    #[serde(rename = "workload")]
    workloads: Vec<WorkloadEntry>,
    #[serde(rename = "profile")]
    profiles: Vec<ProfileEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WorkloadEntry {
    name: Spanned<String>,
    title: String,
    deciding: Spanned<String>,
    #[serde(default)]
    kind: Option<Spanned<String>>,
    pattern: Option<Spanned<String>>,
    read_percent: Option<Spanned<Written>>,
    block_size: Option<Spanned<Written>>,
    iodepth: Option<Spanned<Written>>,
    jobs: Option<Spanned<Written>>,
    argv: Option<Spanned<Vec<String>>>,
    direction: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
    request_bytes: Option<Spanned<Written>>,
    response_bytes: Option<Spanned<Written>>,
    port: Option<Spanned<u32>>,
    paced: Option<Spanned<bool>>,
}

impl WorkloadEntry {
    /// The keys that not every kind of workload has, and where they stand if they do.
    fn own_keys(&self) -> [(&'static str, Option<Range<usize>>); 12] {
        fn span<T>(field: &Option<Spanned<T>>) -> Option<Range<usize>> {
            field.as_ref().map(Spanned::span)
        }
        [
            ("pattern", span(&self.pattern)),
            ("read-percent", span(&self.read_percent)),
            ("block-size", span(&self.block_size)),
            ("iodepth", span(&self.iodepth)),
            ("jobs", span(&self.jobs)),
            ("argv", span(&self.argv)),
            ("direction", span(&self.direction)),
            ("mode", span(&self.mode)),
            ("request-bytes", span(&self.request_bytes)),
            ("response-bytes", span(&self.response_bytes)),
            ("port", span(&self.port)),
            ("paced", span(&self.paced)),
        ]
    }

    /// Refuse the keys that this kind does not have.
    fn only(&self, kind: &str, has: &[&str]) -> Result<(), Wrong> {
        match self.own_keys().into_iter().find(|(key, span)| span.is_some() && !has.contains(key)) {
            Some((key, span)) => {
                let message = format!("a workload of kind \"{kind}\" has no `{key}`; it has {}", has.join(", "));
                Err((span.unwrap_or_default(), message))
            }
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ProfileEntry {
    name: Spanned<String>,
    blocks: Spanned<Written>,
    turns: Option<Spanned<Written>>,
    runtime: Spanned<Written>,
    warm_up: Spanned<Written>,
    settle: Spanned<Written>,
    size: Spanned<Written>,
    margin: Spanned<Written>,
    verdicts: bool,
}

/// Something wrong at a place of the file.
type Wrong = (Range<usize>, String);

fn wrong<T>(at: &Spanned<T>, message: impl Into<String>) -> Wrong {
    (at.span(), message.into())
}

impl Suite {
    /// Names of the suites that come with `bench`.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// A suite that comes with `bench`.
    pub fn builtin(name: &str) -> Result<Suite, SuiteError> {
        match BUILTIN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Suite::parse(text, &format!("{name}.toml"), &AnyKind),
            None => {
                let known = Suite::builtin_names().join(", ");
                Err(SuiteError::Unknown { name: name.to_owned(), known })
            }
        }
    }

    /// A suite file of the user's own, with environments of these kinds.
    pub fn load(path: &Path, kinds: &dyn Kinds) -> Result<Suite, SuiteError> {
        let file = path.display().to_string();
        let text = limits::read_definition(path).map_err(|source| SuiteError::Read { path: file.clone(), source })?;
        Suite::parse(&text, &file, kinds)
    }

    /// From the text of a suite file, with environments of these kinds; `file` is its name for errors.
    pub fn parse(text: &str, file: &str, kinds: &dyn Kinds) -> Result<Suite, SuiteError> {
        let read = toml::from_str::<SuiteFile>(text)
            .map_err(|e| (e.span().unwrap_or(0..0), e.message().to_owned()))
            .and_then(|suite| build(&suite, kinds));
        read.map_err(|(span, message)| {
            let (line, column) = position(text, span.start);
            SuiteError::Definition { file: file.to_owned(), line, column, message }
        })
    }

    /// A profile by name.
    pub fn profile(&self, name: &str) -> Result<&Profile, SuiteError> {
        self.profiles.iter().find(|profile| profile.name == name).ok_or_else(|| SuiteError::Profile {
            suite: self.name.clone(),
            name: name.to_owned(),
            known: self.profiles.iter().map(|profile| profile.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

fn build(file: &SuiteFile, kinds: &dyn Kinds) -> Result<Suite, Wrong> {
    check_name(&file.name)?;
    unique(file.workloads.iter().map(|workload| &workload.name), "workload")?;
    unique(file.profiles.iter().map(|profile| &profile.name), "profile")?;
    if file.workloads.is_empty() || file.profiles.is_empty() || file.environments.is_empty() {
        return Err(wrong(&file.name, "a suite needs at least one environment, one [[workload]] and one [[profile]]"));
    }
    let counts = [
        (file.workloads.len(), limits::WORKLOADS, "workloads"),
        (file.environments.len(), limits::ENVIRONMENTS, "environments"),
    ];
    if let Some((count, most, noun)) = counts.iter().find(|(count, most, _)| count > most) {
        return Err(wrong(&file.name, format!("it has {count} {noun}, and a suite has at most {most}")));
    }
    let environment = |text: &Spanned<String>| {
        EnvironmentDefinition::parse(text.get_ref(), kinds).map_err(|e| wrong(text, e.to_string()))
    };
    let environments: Vec<EnvironmentDefinition> =
        file.environments.iter().map(environment).collect::<Result<_, _>>()?;
    for (index, definition) in environments.iter().enumerate() {
        if environments[..index].iter().any(|earlier| earlier.name == definition.name) {
            return Err(wrong(
                &file.environments[index],
                format!("a second environment has the name `{}`", definition.name),
            ));
        }
    }
    let workloads: Vec<Workload> = file.workloads.iter().map(workload).collect::<Result<_, _>>()?;
    let profiles: Vec<Profile> = file.profiles.iter().map(profile).collect::<Result<_, _>>()?;
    if workloads.iter().any(|workload| matches!(workload.kind, Kind::Stream(_))) {
        for (entry, profile) in file.profiles.iter().zip(&profiles) {
            Stream::check(profile).map_err(|message| wrong(&entry.warm_up, message))?;
        }
    }
    Ok(Suite { name: file.name.get_ref().clone(), title: file.title.clone(), environments, workloads, profiles })
}

fn check_name(name: &Spanned<String>) -> Result<(), Wrong> {
    match is_name(name.get_ref()) {
        true => Ok(()),
        false => Err(wrong(name, format!("`{}` is not a name: use up to 32 of a-z, 0-9 and -", name.get_ref()))),
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a Spanned<String>>, what: &str) -> Result<(), Wrong> {
    let mut seen = Vec::new();
    for name in names {
        check_name(name)?;
        if seen.contains(&name.get_ref()) {
            return Err(wrong(name, format!("a second {what} has the name `{}`", name.get_ref())));
        }
        seen.push(name.get_ref());
    }
    Ok(())
}

fn workload(entry: &WorkloadEntry) -> Result<Workload, Wrong> {
    let kind = match entry.kind.as_ref().map_or("fio", |kind| kind.get_ref().as_str()) {
        "fio" => Kind::Fio(fio(entry)?),
        "command" => Kind::Command(command(entry)?),
        "stream" => Kind::Stream(stream(entry)?),
        "exchange" => Kind::Exchange(exchange(entry)?),
        other => {
            let at = entry.kind.as_ref().unwrap_or(&entry.name);
            let known = "fio, command, stream and exchange";
            return Err(wrong(at, format!("there is no kind of workload `{other}`; there are {known}")));
        }
    };
    let deciding = entry.deciding.get_ref();
    let workload =
        Workload { name: entry.name.get_ref().clone(), title: entry.title.clone(), deciding: deciding.clone(), kind };
    if metric::find(deciding).is_none() || !workload.yields().contains(&deciding.as_str()) {
        let known = workload.yields().join(", ");
        return Err(wrong(&entry.deciding, format!("`{deciding}` cannot decide this workload; it yields {known}")));
    }
    Ok(workload)
}

/// A field that this kind of workload must have.
fn needed<'a, T>(entry: &WorkloadEntry, field: &'a Option<Spanned<T>>, name: &str) -> Result<&'a Spanned<T>, Wrong> {
    field.as_ref().ok_or_else(|| wrong(&entry.name, format!("workload `{}` needs `{name}`", entry.name.get_ref())))
}

fn fio(entry: &WorkloadEntry) -> Result<Fio, Wrong> {
    entry.only("fio", &["pattern", "read-percent", "block-size", "iodepth", "jobs"])?;
    let block_size = needed(entry, &entry.block_size, "block-size")?;
    let block_size_bytes = read(block_size, parse_size)?;
    if !block_size_bytes.is_multiple_of(512) || !(1_u64 << 20).is_multiple_of(block_size_bytes) {
        let message = "a block size must divide 1 MiB and be a multiple of 512 bytes (KiB, not kB)";
        return Err(wrong(block_size, message));
    }
    Ok(Fio {
        pattern: pattern(entry)?,
        block_size_bytes,
        iodepth: count(needed(entry, &entry.iodepth, "iodepth")?, 1024)?,
        jobs: count(needed(entry, &entry.jobs, "jobs")?, 256)?,
    })
}

fn pattern(entry: &WorkloadEntry) -> Result<Pattern, Wrong> {
    let pattern = needed(entry, &entry.pattern, "pattern")?;
    let mixed = || {
        let percent = needed(entry, &entry.read_percent, "read-percent")?;
        Ok(Direction::Mixed { read_percent: read(percent, parse_whole_percent)? })
    };
    let (order, direction): (fn(Direction) -> Pattern, _) = match pattern.get_ref().as_str() {
        "sequential-read" => (Pattern::Sequential, Direction::Read),
        "sequential-write" => (Pattern::Sequential, Direction::Write),
        "random-read" => (Pattern::Random, Direction::Read),
        "random-write" => (Pattern::Random, Direction::Write),
        "random-mixed" => (Pattern::Random, mixed()?),
        "sequential-mixed" => (Pattern::Sequential, mixed()?),
        other => {
            let known = "sequential-read, sequential-write, sequential-mixed, random-read, random-write, random-mixed";
            return Err(wrong(pattern, format!("there is no pattern `{other}`; there are {known}")));
        }
    };
    match (direction, &entry.read_percent) {
        (Direction::Read | Direction::Write, Some(percent)) => {
            Err(wrong(percent, "read-percent belongs to a mixed pattern"))
        }
        _ => Ok(order(direction)),
    }
}

/// A quantity as it is written, read by one of the parsers of [`bench_results::quantity`].
fn read<T>(value: &Spanned<Written>, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Wrong> {
    parse(&value.get_ref().text()).map_err(|e| wrong(value, e))
}

fn count(value: &Spanned<Written>, most: u32) -> Result<u32, Wrong> {
    // The bound is one of 32 bits.
    read(value, |text| parse_count(text, u64::from(most))).map(|number| number as u32)
}

fn command(entry: &WorkloadEntry) -> Result<Command, Wrong> {
    entry.only("command", &["argv"])?;
    let argv = needed(entry, &entry.argv, "argv")?;
    match argv.get_ref().first() {
        Some(program) if !program.is_empty() => Ok(Command::new(argv.get_ref().clone())),
        _ => Err(wrong(argv, "argv needs at least the program")),
    }
}

/// Ports that need no privilege, and leave room for the client's above them.
fn port(entry: &WorkloadEntry) -> Result<u16, Wrong> {
    match needed(entry, &entry.port, "port")? {
        port if (1024..=50_000).contains(port.get_ref()) => Ok(*port.get_ref() as u16),
        port => Err(wrong(port, "port must be 1024 to 50000")),
    }
}

fn is_paced(entry: &WorkloadEntry) -> bool {
    entry.paced.as_ref().is_some_and(|paced| *paced.get_ref())
}

fn stream(entry: &WorkloadEntry) -> Result<Stream, Wrong> {
    entry.only("stream", &["direction", "port", "paced"])?;
    let direction = needed(entry, &entry.direction, "direction")?;
    let receives = match direction.get_ref().as_str() {
        "transmit" => false,
        "receive" => true,
        other => {
            return Err(wrong(direction, format!("there is no direction `{other}`; there are transmit and receive")));
        }
    };
    Ok(Stream { receives, port: port(entry)?, paced: is_paced(entry), bytes_per_s: None })
}

fn exchange(entry: &WorkloadEntry) -> Result<Exchange, Wrong> {
    entry.only("exchange", &["mode", "request-bytes", "response-bytes", "port", "paced"])?;
    let mode = needed(entry, &entry.mode, "mode")?;
    let bytes = |field: &Option<Spanned<Written>>, name| {
        let size = needed(entry, field, name)?;
        // The name says the unit already.
        let number = |text: &str| parse_count(text, u64::MAX).or_else(|_| parse_size(text));
        match read(size, number)? {
            bytes if (probe::LEAST_BYTES as u64..=probe::MOST_BYTES as u64).contains(&bytes) => Ok(bytes as u16),
            _ => Err(wrong(size, format!("it must be {} to {} bytes", probe::LEAST_BYTES, probe::MOST_BYTES))),
        }
    };
    Ok(Exchange {
        mode: mode.get_ref().parse().map_err(|e: String| wrong(mode, e))?,
        request_bytes: bytes(&entry.request_bytes, "request-bytes")?,
        response_bytes: bytes(&entry.response_bytes, "response-bytes")?,
        port: port(entry)?,
        paced: is_paced(entry),
        per_s: None,
    })
}

fn profile(entry: &ProfileEntry) -> Result<Profile, Wrong> {
    let seconds = |text: &Spanned<Written>| match read(text, parse_duration)? {
        seconds if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err(wrong(text, "it must be between 0s and 1d")),
    };
    let runtime_s = seconds(&entry.runtime)?;
    if runtime_s <= 0.0 {
        return Err(wrong(&entry.runtime, "a trial must run for more than 0s"));
    }
    Ok(Profile {
        name: entry.name.get_ref().clone(),
        blocks: count(&entry.blocks, 10_000)?,
        turns: entry.turns.as_ref().map_or(Ok(1), |turns| count(turns, 20))?,
        runtime_s,
        warmup_s: seconds(&entry.warm_up)?,
        settle_s: seconds(&entry.settle)?,
        size_bytes: read(&entry.size, parse_size)?,
        margin: read(&entry.margin, parse_margin)?,
        verdicts: entry.verdicts,
    })
}
