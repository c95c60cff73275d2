//! fio job files, executed as they are: a workload is a group of sections that run at once.
//!
//! Sections that a `stonewall` separates are workloads of their own: one trial, one fio, one group. bench owns the target, the seed and
//! where logs go; everything else is the file's, as long as it drives the target and nothing else ([`options`]).

mod ini;
mod job;
mod meaning;
mod measure;
mod options;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bench_agent::JobOutput;
use bench_results::quantity::{Written, parse_duration};
use bench_results::record::Profile;
use serde::Deserialize;
use toml::Spanned;

pub use self::ini::JobFileError;
use self::ini::{JobFile, Section, Setting, World, short};
use self::meaning::Meaning;
use super::Kind;
use super::fio::{READ_LATENCIES, SYNC_LATENCIES, WRITE_LATENCIES};
use crate::entry::{self, Entry, Wrong, wrong};
use crate::workload::{Measured, Place, TrialJobs, Workload};

/// Blocks from which on sequential I/O is about bandwidth, in bytes.
const LARGE_BLOCK: u64 = 64 << 10;
/// Letters of a name that is made from a file's or a section's.
const MOST_NAME: usize = 32;

/// A group of sections of a job file.
#[derive(Debug, Clone)]
pub(super) struct FioJob {
    /// Name of the file, without its folder.
    file: String,
    includes: Vec<String>,
    variables: BTreeMap<String, String>,
    /// The group's, and each `[global]` before them, in the file's order.
    sections: Vec<Section>,
    /// Of each section of the group.
    meanings: Vec<Meaning>,
    ends: Ends,
}

/// When the sections end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ends {
    /// When they say.
    Themselves,
    /// After these seconds, whatever they say.
    After(f64),
    /// After the profile's, whatever they say.
    Profile,
}

impl Ends {
    /// The seconds that end the sections; absent where they do themselves.
    fn runtime_s(self, profile: &Profile) -> Option<f64> {
        match self {
            Ends::Themselves => None,
            Ends::After(seconds) => Some(seconds),
            Ends::Profile => Some(profile.runtime_s),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    file: Option<Spanned<String>>,
    job: Option<Spanned<String>>,
    section: Option<Spanned<String>>,
    runtime: Option<Spanned<Written>>,
}

/// What a job is called that stands in the suite itself.
const INLINE: &str = "the job";

/// The groups of a workload's file, or of the text in the suite itself; and where that stands.
fn groups_of<'a>(keys: &'a Keys, folder: &Path, lacking: Wrong) -> Result<(Vec<FioJob>, &'a Spanned<String>), Wrong> {
    match (&keys.file, &keys.job) {
        (Some(_), Some(job)) => Err(wrong(job, "give file or job, and not both")),
        (None, None) => Err(lacking),
        (Some(file), None) => {
            let found = groups(&folder.join(file.get_ref()), &ini::world());
            found.map(|groups| (groups, file)).map_err(|e| wrong(file, e.to_string()))
        }
        (None, Some(job)) => {
            let text = |path: &Path| match path == Path::new(INLINE) {
                true => Ok(job.get_ref().clone().into_bytes()),
                false => (ini::world().read)(&folder.join(path)),
            };
            let found = groups(Path::new(INLINE), &World { read: &text, ..ini::world() });
            found.map(|groups| (groups, job)).map_err(|e| wrong(job, e.to_string()))
        }
    }
}

/// `profile`, or a time.
fn ends(written: &Spanned<Written>) -> Result<Ends, Wrong> {
    entry::read(written, |text| match text {
        "profile" => Ok(Ends::Profile),
        _ => match parse_duration(text) {
            Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(Ends::After(seconds)),
            Ok(_) => Err(format!("`{text}` is not within 1ms and 1d")),
            Err(e) => Err(format!("{e}; or `profile`, for the time of the profile")),
        },
    })
}

pub(super) fn read(entry: Entry<'_>) -> Result<Box<dyn Kind>, Wrong> {
    let folder = entry.folder().to_owned();
    let (keys, lacking) = entry.read_or::<Keys>("file")?;
    let (mut groups, at) = groups_of(&keys, &folder, lacking)?;
    if let Some(runtime) = &keys.runtime {
        let ends = ends(runtime)?;
        groups.iter_mut().for_each(|group| group.ends = ends);
    }
    let firsts: Vec<_> = groups.iter().map(|group| group.name().to_owned()).collect();
    let wanted = match &keys.section {
        None if groups.len() == 1 => Some(0),
        None => None,
        Some(section) => firsts.iter().position(|name| name == section.get_ref()),
    };
    match wanted {
        Some(index) => Ok(Box::new(groups.swap_remove(index))),
        None => {
            let at = keys.section.as_ref().unwrap_or(at);
            Err(wrong(at, format!("name one `section` of those that start a group: {}", firsts.join(", "))))
        }
    }
}

/// The workloads of a job file, one for each group of sections that run at once.
///
/// # Errors
/// File, line and what is wrong there.
pub fn workloads(path: &Path) -> Result<Vec<Workload>, JobFileError> {
    let groups = groups(path, &ini::world())?;
    let stem = path.file_stem().map(|stem| name_from(&stem.to_string_lossy())).unwrap_or_default();
    let is_only = groups.len() == 1;
    let workload = |group: FioJob| {
        let name = if is_only { stem.clone() } else { name_from(group.name()) };
        Workload::new(name, group.title(), Box::new(group))
    };
    Ok(groups.into_iter().map(workload).collect())
}

/// Letters, digits and `-`, as names of workloads are.
fn name_from(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(plain).take(MOST_NAME).collect();
    match name.trim_matches('-') {
        "" => "job".to_owned(),
        name => name.to_owned(),
    }
}

fn groups(path: &Path, world: &World<'_>) -> Result<Vec<FioJob>, JobFileError> {
    let file = ini::read(path, world)?;
    file.sections.iter().flat_map(|section| &section.settings).try_for_each(options::check)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut groups: Vec<FioJob> = Vec::new();
    for (index, section) in file.sections.iter().enumerate().filter(|(_, section)| !section.is_global()) {
        let meaning = Meaning::of(&effective(&file.sections[..=index]))?;
        if meaning.stonewall || groups.is_empty() {
            groups.push(FioJob::empty(&file, &name));
        }
        let Some(group) = groups.last_mut() else { continue };
        let told = group.sections.len() - group.meanings.len();
        let globals = file.sections[..index].iter().filter(|section| section.is_global());
        let later: Vec<_> = globals.skip(told).cloned().collect();
        group.sections.extend(later.into_iter().chain([section.clone()]));
        group.meanings.push(meaning);
    }
    Ok(groups)
}

/// All settings that hold for the last of these sections, later ones after earlier ones.
fn effective(sections: &[Section]) -> Vec<&Setting> {
    let Some((last, before)) = sections.split_last() else { return Vec::new() };
    let globals = before.iter().filter(|section| section.is_global());
    globals.chain([last]).flat_map(|section| &section.settings).collect()
}

impl FioJob {
    fn empty(file: &JobFile, name: &str) -> FioJob {
        FioJob {
            file: name.to_owned(),
            includes: file.includes.clone(),
            variables: file.variables.clone(),
            sections: Vec::new(),
            meanings: Vec::new(),
            ends: Ends::Themselves,
        }
    }

    fn jobs(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| !section.is_global())
    }

    /// That of its first section.
    fn name(&self) -> &str {
        self.jobs().next().map_or("", |section| &section.name)
    }

    fn title(&self) -> String {
        let sections: Vec<_> = self.jobs().take(4).map(|section| format!("[{}]", section.name)).collect();
        let more = if self.meanings.len() > sections.len() { " and more at once" } else { "" };
        format!("{}{more} of {}", short(&sections.join(" ")), short(&self.file))
    }

    fn any(&self, is: impl Fn(&Meaning) -> bool) -> bool {
        self.meanings.iter().any(is)
    }

    /// What all sections have in common; absent where they differ.
    fn common<T: PartialEq>(&self, of: impl Fn(&Meaning) -> Option<T>) -> Option<T> {
        let first = self.meanings.first().and_then(&of)?;
        self.meanings.iter().all(|meaning| of(meaning).as_ref() == Some(&first)).then_some(first)
    }

    /// `read`, `write`, `trim`: which of them it does.
    fn directions(&self) -> Vec<&'static str> {
        let does = |direction: &&str| self.any(|meaning| meaning.directions().contains(direction));
        ["read", "write", "trim"].into_iter().filter(does).collect()
    }

    /// Why its bytes are not held against the disk's; absent where they are.
    fn unaccounted(&self) -> Option<&'static str> {
        self.meanings.iter().find_map(|meaning| meaning.unaccounted)
    }

    /// What it is about.
    fn about(&self) -> &'static str {
        let latencies = !self.any(|meaning| !meaning.latencies);
        let large = |meaning: &Meaning| meaning.block_bytes.is_some_and(|bytes| bytes >= LARGE_BLOCK);
        match self.directions().as_slice() {
            _ if latencies && self.any(|meaning| meaning.syncs) => "sync_latency_p99_ns",
            ["read", ..] if latencies && self.any(|meaning| meaning.rated) => "read_latency_p99_ns",
            ["write", ..] if latencies && self.any(|meaning| meaning.rated) => "write_latency_p99_ns",
            _ if !self.any(|meaning| !meaning.is_sequential() || !large(meaning)) => "bandwidth_bytes_per_s",
            _ => "iops",
        }
    }
}

impl Kind for FioJob {
    fn needs_target(&self) -> bool {
        true
    }

    fn engines(&self) -> Vec<String> {
        let engines: BTreeSet<_> = self.meanings.iter().map(|meaning| meaning.engine.clone()).collect();
        engines.into_iter().collect()
    }

    fn is_buffered(&self) -> bool {
        self.any(|meaning| !meaning.direct)
    }

    fn target_bytes(&self) -> Option<u64> {
        self.meanings.iter().filter_map(|meaning| meaning.reach).max()
    }

    fn set_runtime(&mut self, seconds: f64) -> bool {
        self.ends = Ends::After(seconds);
        true
    }

    /// A time is asked for where nothing else ends the job. Its warm-up is its own (`ramp_time`).
    fn seconds(&self, profile: &Profile) -> (f64, f64) {
        let exactly = self.meanings.iter().map(|meaning| meaning.exactly_s).reduce(|a, b| Some(a?.max(b?)));
        (0.0, self.ends.runtime_s(profile).or(exactly.flatten()).unwrap_or(0.0))
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        self.told()
    }

    fn yields(&self) -> Vec<&'static str> {
        const OF: [(&str, [&str; 4]); 4] = [
            ("read", READ_LATENCIES),
            ("write", WRITE_LATENCIES),
            ("trim", ["trim_latency_p99_ns", "trim_latency_mean_ns", "trim_latency_p50_ns", "trim_latency_p999_ns"]),
            ("sync", SYNC_LATENCIES),
        ];
        let (directions, latencies) = (self.directions(), !self.any(|meaning| !meaning.latencies));
        let has = |direction: &str| {
            latencies && (directions.contains(&direction) || direction == "sync" && self.any(|meaning| meaning.syncs))
        };
        let latencies = OF.into_iter().filter(|(direction, _)| has(direction)).flat_map(|(_, metrics)| metrics);
        let others = ["iops", "bandwidth_bytes_per_s"].into_iter().chain(latencies);
        let others = others.chain(["cpu_ns_per_io", "machine_cpu_ns_per_io"]).filter(|metric| *metric != self.about());
        [self.about()].into_iter().chain(others).collect()
    }

    fn trial(&self, place: &Place, profile: &Profile, seed: u64) -> Result<TrialJobs, String> {
        Ok(TrialJobs { server: None, measured: self.job(place, self.ends.runtime_s(profile), seed as u32) })
    }

    fn measure(&self, output: &JobOutput, deciding: &str) -> Result<Measured, String> {
        self.read_output(output, deciding)
    }
}
