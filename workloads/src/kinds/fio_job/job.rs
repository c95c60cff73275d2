//! The job of a trial: the file's own sections, with the target, the seed and nothing else of bench's.

use std::collections::BTreeMap;

use bench_agent::Job;

use super::ini::{Section, Setting};
use super::meaning::{Amount, Meaning};
use super::options::{Class, find};
use super::{Ends, FioJob};
use crate::kinds::fio::fio_text_job;
use crate::workload::Place;

/// What ends a section besides its time.
const ENDS: [&str; 5] = ["runtime", "time_based", "loops", "number_ios", "io_size"];
/// What may be a share of the target. fio would take that of a whole device.
const SHARES: [&str; 3] = ["size", "offset", "offset_increment"];
/// How logs are named, which lie in the folder where fio starts, and are gone with it.
const LOG: &str = "log";
/// The logs that an option makes.
const LOGS: [(&str, &[&str]); 4] = [
    ("write_bw_log", &["bw"]),
    ("write_iops_log", &["iops"]),
    ("write_lat_log", &["lat", "slat", "clat"]),
    ("write_hist_log", &["clat_hist"]),
];
/// What makes them short: else there is a line for each I/O.
const SHORT: [&str; 2] = ["log_avg_msec", "log_hist_msec"];
/// Processes whose logs are kept.
const LOGGED: u64 = 16;

impl FioJob {
    /// fio on these sections, at this place; `runtime_s` ends them in place of whatever they say.
    pub(super) fn job(&self, place: &Place, runtime_s: Option<f64>, seed: u32) -> Job {
        let mut meanings = self.meanings.iter();
        let text = self.text(Some(place.size_bytes), runtime_s.is_some(), |_| match meanings.next() {
            Some(meaning) => own(meaning, place, runtime_s, seed),
            None => Vec::new(),
        });
        let deadlines = self.meanings.iter().map(|meaning| meaning.deadline_s(place.size_bytes, runtime_s));
        let job = fio_text_job(place, &text.join("\n"), deadlines.fold(0.0, f64::max));
        Job { collect: self.logs(), ..job }
    }

    /// The lines of the file, with shares of a target of `target_bytes` in bytes, and more in each section that is no `[global]`.
    /// `is_ended`: without what ends it.
    fn text(
        &self,
        target_bytes: Option<u64>,
        is_ended: bool,
        mut more: impl FnMut(&Section) -> Vec<String>,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for section in &self.sections {
            lines.push(format!("[{}]", section.name));
            lines.extend(section.settings.iter().filter_map(|setting| kept(setting, target_bytes, is_ended)));
            if !section.is_global() {
                lines.extend(more(section));
            }
        }
        lines.push(String::new());
        lines
    }

    /// Names of the logs that are brought back, where they are short.
    fn logs(&self) -> Vec<String> {
        let settings = || self.sections.iter().flat_map(|section| &section.settings);
        let set = |name: &str| settings().any(|setting| find(&setting.key).is_some_and(|(key, _)| key == name));
        if !SHORT.iter().any(|name| set(name)) {
            return Vec::new();
        }
        let processes = self.meanings.iter().map(|meaning| meaning.jobs).fold(0, u64::saturating_add).min(LOGGED);
        let kinds = LOGS.iter().filter(|(option, _)| set(option)).flat_map(|(_, kinds)| *kinds);
        let numbered =
            |kind: &&str| (1..=processes).map(|number| format!("{LOG}_{kind}.{number}.log")).collect::<Vec<_>>();
        kinds.flat_map(|kind| numbered(kind).into_iter().chain([format!("{LOG}_{kind}.log")])).collect()
    }

    /// For the record: all that the file says, includes and variables resolved, and what bench makes of it.
    pub(super) fn told(&self) -> BTreeMap<String, String> {
        let mut engines: Vec<_> = self
            .meanings
            .iter()
            .map(|meaning| format!("{}, {}", meaning.engine, if meaning.direct { "direct" } else { "buffered" }))
            .collect();
        engines.dedup();
        let mut told = BTreeMap::from([
            ("engine".to_owned(), engines.join("; ")),
            ("file".to_owned(), self.file.clone()),
            ("job".to_owned(), self.text(None, false, |_| Vec::new()).join("\n").trim_end().replace('\n', "; ")),
            ("iodepth".to_owned(), self.most(|meaning| meaning.depth).to_string()),
            ("jobs".to_owned(), self.meanings.iter().map(|meaning| meaning.jobs).sum::<u64>().to_string()),
            ("buffers".to_owned(), "huge pages, where there are any".to_owned()),
            ("temporary_files".to_owned(), "in memory".to_owned()),
        ]);
        let variables: Vec<_> = self.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let optional = [
            ("block_size_bytes", self.common(|meaning| meaning.block_bytes).map(|bytes| bytes.to_string())),
            ("includes", Some(self.includes.join(", ")).filter(|text| !text.is_empty())),
            ("variables", Some(variables.join(", ")).filter(|text| !text.is_empty())),
            ("runtime_s", self.ended_by()),
            ("unaccounted", self.unaccounted().map(str::to_owned)),
        ];
        told.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        told
    }

    /// Which time ends it in place of its own.
    fn ended_by(&self) -> Option<String> {
        match self.ends {
            Ends::Themselves => None,
            Ends::After(seconds) => Some(seconds.to_string()),
            Ends::Profile => Some("the profile's".to_owned()),
        }
    }

    fn most(&self, of: impl Fn(&Meaning) -> u64) -> u64 {
        self.meanings.iter().map(of).max().unwrap_or(1)
    }
}

/// A setting as fio gets it; absent where it is bench's.
fn kept(setting: &Setting, target_bytes: Option<u64>, is_ended: bool) -> Option<String> {
    let (key, class) = find(&setting.key)?;
    if is_ended && ENDS.contains(&key) {
        return None;
    }
    let percent = setting.value().strip_suffix('%').filter(|_| SHARES.contains(&key));
    let share = percent.and_then(|percent| percent.parse().ok()).map(Amount::Percent);
    match (class, share.zip(target_bytes)) {
        (Class::Owned | Class::Target, _) => None,
        (Class::Log, _) => Some(format!("{}={LOG}", setting.key)),
        (_, Some((share, target_bytes))) => Some(format!("{}={}", setting.key, share.of(target_bytes))),
        _ => Some(setting.to_string()),
    }
}

/// What bench adds to a section.
fn own(meaning: &Meaning, place: &Place, runtime_s: Option<f64>, seed: u32) -> Vec<String> {
    let target = place.target.as_deref().unwrap_or_default().replace('\\', "\\\\").replace(':', "\\:");
    let mut own = vec![
        format!("filename={target}"),
        "allow_file_create=0".to_owned(),
        // Otherwise fio does not look at the seed.
        "randrepeat=0".to_owned(),
        format!("randseed={seed}"),
        "verify_state_save=0".to_owned(),
    ];
    if meaning.size.is_none() {
        own.push(format!("size={}", place.size_bytes));
    }
    if let Some(seconds) = runtime_s {
        own.extend(["time_based=1".to_owned(), format!("runtime={:.0}ms", (seconds * 1e3).max(1.0))]);
    }
    own
}
