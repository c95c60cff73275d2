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

use std::collections::BTreeMap;
use std::path::Path;

use bench_agent::JobOutput;
use bench_results::record::Profile;
use serde::Deserialize;
use toml::Spanned;

pub use self::ini::JobFileError;
use self::ini::{JobFile, Section, Setting, World, short};
use self::meaning::Meaning;
use super::Kind;
use crate::entry::{Entry, Wrong, wrong};
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
    /// In place of whatever ends the sections.
    runtime_s: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    file: Spanned<String>,
    section: Option<Spanned<String>>,
}

pub(super) fn read(entry: Entry<'_>) -> Result<Box<dyn Kind>, Wrong> {
    let folder = entry.folder().to_owned();
    let keys: Keys = entry.read()?;
    let path = folder.join(keys.file.get_ref());
    let mut groups = groups(&path, &ini::world()).map_err(|e| wrong(&keys.file, e.to_string()))?;
    let firsts: Vec<_> = groups.iter().map(|group| group.name().to_owned()).collect();
    let wanted = match &keys.section {
        None if groups.len() == 1 => Some(0),
        None => None,
        Some(section) => firsts.iter().position(|name| name == section.get_ref()),
    };
    match wanted {
        Some(index) => Ok(Box::new(groups.swap_remove(index))),
        None => {
            let at = keys.section.as_ref().unwrap_or(&keys.file);
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
            runtime_s: None,
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

    fn target_bytes(&self) -> Option<u64> {
        self.meanings.iter().filter_map(|meaning| meaning.reach).max()
    }

    fn set_runtime(&mut self, seconds: f64) -> bool {
        self.runtime_s = Some(seconds);
        true
    }

    /// A time is asked for where nothing else ends the job. Its warm-up is its own (`ramp_time`).
    fn seconds(&self, _profile: &Profile) -> (f64, f64) {
        let exactly = self.meanings.iter().map(|meaning| meaning.exactly_s).reduce(|a, b| Some(a?.max(b?)));
        (0.0, self.runtime_s.or(exactly.flatten()).unwrap_or(0.0))
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        self.told()
    }

    fn yields(&self) -> Vec<&'static str> {
        const OF: [(&str, [&str; 4]); 4] = [
            ("read", ["read_latency_mean_ns", "read_latency_p50_ns", "read_latency_p99_ns", "read_latency_p999_ns"]),
            (
                "write",
                ["write_latency_mean_ns", "write_latency_p50_ns", "write_latency_p99_ns", "write_latency_p999_ns"],
            ),
            ("trim", ["trim_latency_mean_ns", "trim_latency_p50_ns", "trim_latency_p99_ns", "trim_latency_p999_ns"]),
            ("sync", ["sync_latency_mean_ns", "sync_latency_p50_ns", "sync_latency_p99_ns", "sync_latency_p999_ns"]),
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

    fn trial(&self, place: &Place, _profile: &Profile, seed: u64) -> Result<TrialJobs, String> {
        Ok(TrialJobs { server: None, measured: self.job(place, seed as u32) })
    }

    fn measure(&self, output: &JobOutput, deciding: &str) -> Result<Measured, String> {
        self.read_output(output, deciding)
    }
}
