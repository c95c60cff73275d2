//! The job of a trial: the file's own sections, with the target, the seed and nothing else of bench's.

use std::collections::BTreeMap;

use bench_agent::Job;

use super::FioJob;
use super::ini::{Section, Setting};
use super::meaning::{Amount, Meaning};
use super::options::{Class, find};
use crate::kinds::fio::fio_text_job;
use crate::workload::Place;

/// What ends a section besides its time.
const ENDS: [&str; 5] = ["runtime", "time_based", "loops", "number_ios", "io_size"];
/// What may be a share of the target. fio would take that of a whole device.
const SHARES: [&str; 3] = ["size", "offset", "offset_increment"];
/// How logs are named, which lie in the folder where fio starts, and are gone with it.
const LOG: &str = "log";

impl FioJob {
    /// fio on these sections, at this place.
    pub(super) fn job(&self, place: &Place, seed: u32) -> Job {
        let mut meanings = self.meanings.iter();
        let text = self.text(Some(place.size_bytes), |_| match meanings.next() {
            Some(meaning) => self.own(meaning, place, seed),
            None => Vec::new(),
        });
        let deadlines = self.meanings.iter().map(|meaning| meaning.deadline_s(place.size_bytes, self.runtime_s));
        fio_text_job(place, &text.join("\n"), deadlines.fold(0.0, f64::max))
    }

    /// What bench adds to a section.
    fn own(&self, meaning: &Meaning, place: &Place, seed: u32) -> Vec<String> {
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
        if let Some(seconds) = self.runtime_s {
            own.extend(["time_based=1".to_owned(), format!("runtime={:.0}ms", (seconds * 1e3).max(1.0))]);
        }
        own
    }

    /// The lines of the file, with shares of a target of `target_bytes` in bytes, and more in each section that is no `[global]`.
    fn text(&self, target_bytes: Option<u64>, mut more: impl FnMut(&Section) -> Vec<String>) -> Vec<String> {
        let mut lines = Vec::new();
        for section in &self.sections {
            lines.push(format!("[{}]", section.name));
            lines.extend(section.settings.iter().filter_map(|setting| self.kept(setting, target_bytes)));
            if !section.is_global() {
                lines.extend(more(section));
            }
        }
        lines.push(String::new());
        lines
    }

    /// A setting as fio gets it; absent where it is bench's.
    fn kept(&self, setting: &Setting, target_bytes: Option<u64>) -> Option<String> {
        let (key, class) = find(&setting.key)?;
        if self.runtime_s.is_some() && ENDS.contains(&key) {
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
            ("job".to_owned(), self.text(None, |_| Vec::new()).join("\n").trim_end().replace('\n', "; ")),
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
            ("runtime_s", self.runtime_s.map(|seconds| seconds.to_string())),
            ("unaccounted", self.unaccounted().map(str::to_owned)),
        ];
        told.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        told
    }

    fn most(&self, of: impl Fn(&Meaning) -> u64) -> u64 {
        self.meanings.iter().map(of).max().unwrap_or(1)
    }
}
