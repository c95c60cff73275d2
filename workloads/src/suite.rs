//! Suites: environments, workloads and profiles as data.

use std::path::Path;

use bench_results::limits;
use bench_results::policy::position;
use bench_results::quantity::{Written, parse_duration, parse_margin, parse_size};
use bench_results::record::Profile;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use crate::entry::{Entry, Head, Wrong, count, read, refused, wrong};
use crate::environment::{AnyKind, EnvironmentDefinition, Kinds, is_name};
use crate::kinds;
use crate::workload::Workload;

/// The suites that come with `bench`.
const BUILTIN: &[(&str, &str)] = &[
    ("io", include_str!("../suites/io.toml")),
    ("network", include_str!("../suites/network.toml")),
    ("database", include_str!("../suites/database.toml")),
    ("open-loop", include_str!("../suites/open-loop.toml")),
    ("nat-ladder", include_str!("../suites/nat-ladder.toml")),
    ("docker-ladder", include_str!("../suites/docker-ladder.toml")),
    ("lifecycle", include_str!("../suites/lifecycle.toml")),
    ("isolation", include_str!("../suites/isolation.toml")),
];

/// A suite.
#[derive(Debug, Clone)]
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
    workloads: Vec<Head>,
    #[serde(rename = "profile")]
    profiles: Vec<ProfileEntry>,
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
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        parse(text, folder, kinds).map_err(|(span, message)| {
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

fn parse(text: &str, folder: &Path, kinds: &dyn Kinds) -> Result<Suite, Wrong> {
    let document = DeTable::parse(text).map_err(|e| refused(&e))?;
    let tables = document.get_ref().get("workload").and_then(|list| list.get_ref().as_array()).cloned();
    let file = SuiteFile::deserialize(Deserializer::from(document)).map_err(|e| refused(&e))?;
    build(&file, tables.as_deref().unwrap_or_default(), folder, kinds)
}

/// From the file, with the whole tables of its workloads.
fn build(file: &SuiteFile, tables: &[Spanned<DeValue<'_>>], folder: &Path, kinds: &dyn Kinds) -> Result<Suite, Wrong> {
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
    let workloads = file.workloads.iter().zip(tables).map(|(head, table)| workload(head, table, folder));
    let workloads = workloads.collect::<Result<Vec<Workload>, _>>()?;
    let profiles: Vec<Profile> = file.profiles.iter().map(profile).collect::<Result<_, _>>()?;
    for (entry, profile) in file.profiles.iter().zip(&profiles) {
        let check = |workload: &Workload| workload.check(profile).map_err(|message| wrong(&entry.warm_up, message));
        workloads.iter().try_for_each(check)?;
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

fn workload(head: &Head, table: &Spanned<DeValue<'_>>, folder: &Path) -> Result<Workload, Wrong> {
    let kind = head.kind.as_ref().map_or(kinds::USUAL, |kind| kind.get_ref().as_str());
    let read = kinds::find(kind).map_err(|e| wrong(head.kind.as_ref().unwrap_or(&head.name), e))?;
    let kind = read(Entry::new(head, table, folder))?;
    let mut workload = Workload::new(head.name.get_ref().clone(), head.title.clone(), kind);
    if let Some(deciding) = head.deciding.as_ref().filter(|deciding| !workload.decide_by(deciding.get_ref())) {
        let known = workload.yields().join(", ");
        let message = format!("`{}` cannot decide this workload; it yields {known}", deciding.get_ref());
        return Err(wrong(deciding, message));
    }
    Ok(workload)
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
