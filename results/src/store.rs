//! A run's folder: written so that a kill at any moment loses at most the trial that was running, and read with suspicion.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::lean::Lean;
use crate::limits;
use crate::reading::{self, Whole, check_trials, damaged, parse_run};
use crate::record::{Run, SCHEMA_VERSION, State, Trial};
use crate::resume::{self, Round};
use crate::sequential::Sequential;
use crate::{archive, consistency, validity};

pub(crate) const RUN: &str = "run.json";
pub(crate) const TRIALS: &str = "trials.jsonl";

/// A run's folder cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It is no run.
    #[error(
        "{0} is not a run's folder: it has no run.json (was the run killed before its first block, or is this its parent?)"
    )]
    NotARun(String),
    /// A file of the record does not say what it should.
    #[error("{file}{}: {reason}; the record is damaged, nothing was read from it", .line.map(|line| format!(":{line}")).unwrap_or_default())]
    Damaged {
        /// The file.
        file: String,
        /// The line, counted from 1, where there are lines.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// A newer bench wrote it.
    #[error(
        "{file} has schema version {found}, and this bench reads up to {SCHEMA_VERSION}: use the bench that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u64,
    },
    /// An archive is not one of a run.
    #[error("{file}: {reason}; nothing was read from it (`bench export RUN` makes an archive)")]
    Archive {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A folder that was to be a run, or to hold some.
    #[error("{0} holds no run: it has no run.json, and nothing in it is the folder or the archive (*.tar.gz) of a run")]
    NoRuns(String),
    /// A folder holds too many runs for a set.
    #[error("{folder}: {reason}; nothing was read from it")]
    Set {
        /// The folder.
        folder: String,
        /// What is wrong.
        reason: String,
    },
    /// A run that is larger than what is read again.
    #[error("{0}: nothing was begun, since its record could not be read again; choose fewer")]
    TooLarge(String),
    /// No run has this name.
    #[error("there is no run `{name}` in {parent}; `bench list runs` shows what there is")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where.
        parent: String,
    },
    /// Several runs begin so.
    #[error("`{name}` is the beginning of several runs: {candidates}")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What there is.
        candidates: String,
    },
}

pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError + use<> {
    let path = path.display().to_string();
    move |source| StoreError::Io { doing, path, source }
}

/// A run's folder that is being written.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    trials: File,
}

impl RunFolder {
    /// Create `parent/<run.id>`; it appears by rename once `run.json` is in it.
    pub fn create(parent: &Path, run: &Run) -> Result<RunFolder, StoreError> {
        let text = pretty(run);
        reading::readable(run, &text).map_err(StoreError::TooLarge)?;
        fs::create_dir_all(parent).map_err(io("creating the folder", parent))?;
        let path = parent.join(&run.id);
        let hidden = RunFolder::half_made(parent, &run.id);
        fs::create_dir(&hidden).map_err(io("creating the folder", &hidden))?;
        let made = write_synced(&hidden.join(RUN), &text).and_then(|()| {
            let trials = hidden.join(TRIALS);
            let file = OpenOptions::new().append(true).create_new(true).open(&trials);
            let file = file.map_err(io("creating", &trials))?;
            sync_folder(&hidden)?;
            fs::rename(&hidden, &path).map_err(io("naming the run's folder", &path))?;
            sync_folder(parent)?;
            Ok(RunFolder { path: path.clone(), trials: file })
        });
        if made.is_err() {
            drop(fs::remove_dir_all(&hidden));
        }
        made
    }

    /// Where the folder is until it appears.
    pub fn half_made(parent: &Path, id: &str) -> PathBuf {
        parent.join(format!(".{id}.new"))
    }

    /// Open the folder of a run that was stopped, to go on with these rounds: what is recorded of their blocks is marked
    /// `superseded` first, and `run` (with its break) takes the place of `run.json`.
    pub fn reopen(path: &Path, run: &Run, mut trials: Vec<Trial>, rounds: &[Round]) -> Result<RunFolder, StoreError> {
        let name = path.join(TRIALS);
        resume::supersede(&mut trials, rounds);
        let new = path.join(".trials.jsonl.new");
        write_synced(&new, &trials.iter().flat_map(line).collect::<Vec<u8>>())?;
        let file = OpenOptions::new().append(true).open(&new).map_err(io("opening", &new))?;
        let folder = RunFolder { path: path.to_path_buf(), trials: file };
        folder.replace_run(run)?;
        fs::rename(&new, &name).map_err(io("replacing", &name))?;
        sync_folder(path)?;
        Ok(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replace `run.json`, wholly or not at all.
    pub fn replace_run(&self, run: &Run) -> Result<(), StoreError> {
        let path = self.path.join(RUN);
        let new = self.path.join(".run.json.new");
        write_synced(&new, &pretty(run))?;
        fs::rename(&new, &path).map_err(io("replacing", &path))?;
        sync_folder(&self.path)
    }

    /// Append one trial and sync it.
    pub fn append_trial(&mut self, trial: &Trial) -> Result<(), StoreError> {
        let path = self.path.join(TRIALS);
        self.trials
            .write_all(&line(trial))
            .and_then(|()| self.trials.sync_data())
            .map_err(io("appending a trial to", &path))
    }

    /// Append trials that are all there already, and sync them once.
    pub fn append_trials(&mut self, trials: &[Trial]) -> Result<(), StoreError> {
        let path = self.path.join(TRIALS);
        let written = trials.iter().try_for_each(|trial| self.trials.write_all(&line(trial)));
        written.and_then(|()| self.trials.sync_data()).map_err(io("appending trials to", &path))
    }

    /// The folder for raw tool output of a trial, made anew; each attempt at its block has one of its own. What a run that
    /// was stopped left there goes, and whoever could write to it has planted no link.
    pub fn raw(&self, trial: &str, attempt: u32) -> Result<PathBuf, StoreError> {
        let all = self.path.join("raw");
        if fs::symlink_metadata(&all).is_ok_and(|found| !found.is_dir()) {
            return Err(damaged(&all, None, &"it is no folder of its own but a link or a file"));
        }
        let path = all.join(if attempt > 1 { format!("{trial}-attempt{attempt}") } else { trial.to_owned() });
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io("clearing the folder", &path)(e)),
            _ => {}
        }
        fs::create_dir_all(&path).map_err(io("creating the folder", &path))?;
        Ok(path)
    }
}

fn line(trial: &Trial) -> Vec<u8> {
    // Serialising plain data with string keys cannot fail.
    let mut line = serde_json::to_vec(trial).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Every trial that is recorded in a run's folder, superseded ones among them, in the order of execution.
pub fn recorded(folder: &Path, run: &Run) -> Result<Vec<Trial>, StoreError> {
    let trials = reading::trials_of(folder, &mut Whole)?.trials;
    check_trials(&folder.join(TRIALS), &trials, run)?;
    Ok(trials)
}

fn pretty(run: &Run) -> Vec<u8> {
    // Serialising plain data with string keys cannot fail.
    let mut text = serde_json::to_vec_pretty(run).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Write a file anew: what is there may be half of one, or a link to somewhere else.
fn write_synced(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    drop(fs::remove_file(path));
    let written = File::create_new(path).and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    written.map_err(io("writing", path))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io("syncing the folder", path))
}

/// A run as it was read: of any age, finished or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Everything but the trials.
    pub run: Run,
    /// The trials that were executed, in order, without superseded ones.
    pub trials: Vec<Trial>,
    /// What was tolerated while reading, and what was set aside.
    pub notes: Vec<String>,
    /// Where it was read from.
    pub folder: PathBuf,
    /// What stands for that of which its trials were emptied.
    pub lean: Option<Box<Lean>>,
}

impl Record {
    /// Read a run's folder, or its archive. A torn last line is tolerated (a killed run leaves one), nothing else is.
    pub fn load(folder: &Path) -> Result<Record, StoreError> {
        if is_archive(folder)? {
            let (run, trials) = archive::read(folder, |_, content| content.trials(&mut Whole))?;
            return Record::of(folder, run, trials);
        }
        Record::of(folder, reading::run_of(folder)?, reading::trials_of(folder, &mut Whole)?)
    }

    /// Read it for reports and comparisons, which say the same as of the whole record: histograms and most facts are let go as soon as they
    /// are taken into account ([`crate::lean`]). `deny`: what else may say that a valid trial is not.
    pub fn load_lean(folder: &Path, mut deny: impl FnMut(&mut Trial)) -> Result<Record, StoreError> {
        if !is_archive(folder)? {
            let run = reading::run_of(folder)?;
            let trials = reading::folded(&run, &mut deny, |keep| reading::trials_of(folder, keep))?;
            return Record::of(folder, run, trials);
        }
        let (run, trials) = archive::read(folder, |run, content| match run {
            Some(run) => reading::folded(run, &mut deny, |keep| content.trials(keep)),
            None => content.trials(&mut Whole),
        })?;
        // Where the trials came first, they could not be folded on the way.
        let trials = if trials.lean.is_some() { trials } else { trials.fold(&run, &mut deny) };
        Record::of(folder, run, trials)
    }

    /// From the bytes of `run.json` and `trials.jsonl`, which were found in `folder`. Nothing is read from there.
    pub fn parse(folder: &Path, run: &[u8], trials: &[u8]) -> Result<Record, StoreError> {
        let run = parse_run(&folder.join(RUN), run)?;
        let path = folder.join(TRIALS);
        Record::of(folder, run, reading::trials((&path, trials), io("reading", &path), &mut Whole)?)
    }

    fn of(folder: &Path, run: Run, read: reading::Trials) -> Result<Record, StoreError> {
        let mut notes = Vec::new();
        let mut trials = read.trials;
        check_trials(&folder.join(TRIALS), &trials, &run)?;
        if read.is_torn {
            notes.push("the last trial was not recorded wholly and is left out".to_owned());
        }
        notes.extend(executed_again(&trials));
        trials.retain(|trial| !trial.superseded);
        if read.lean.is_none() {
            trials.iter_mut().for_each(|trial| consistency::deny(&run, trial));
        }
        notes.extend(run.plan.sequential.as_ref().map(Sequential::note));
        if run.state == State::Running {
            notes.push(resume::how(folder, trials.len(), run.plan.trials.len()));
        }
        Ok(Record { run, trials, notes, folder: folder.to_path_buf(), lean: read.lean.map(Box::new) })
    }

    /// The last block of which a trial is recorded.
    pub fn blocks_begun(&self) -> u32 {
        self.trials.iter().map(|trial| trial.planned.block).max().unwrap_or(0)
    }

    /// So many blocks have ended: the last that was begun may have been broken off. Needs the planned trials.
    pub(crate) fn blocks_whole(&self) -> u32 {
        let last = self.blocks_begun();
        let recorded = self.trials.iter().filter(|trial| trial.planned.block == last).count();
        let planned = self.run.plan.trials.iter().filter(|planned| planned.block == last).count();
        last.saturating_sub(u32::from(recorded < planned))
    }
}

/// Whether a run is in an archive and not in a folder.
fn is_archive(path: &Path) -> Result<bool, StoreError> {
    let is_archive = !path.is_dir() && path.exists();
    match is_archive || path.join(RUN).exists() {
        true => Ok(is_archive),
        false => Err(StoreError::NotARun(path.display().to_string())),
    }
}

/// In which environments trials that stand were executed again, and why.
fn executed_again(trials: &[Trial]) -> Option<String> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| !trial.superseded && trial.execution > 1) {
        *counts.entry(&trial.planned.environment).or_default() += 1;
    }
    if counts.is_empty() {
        return None;
    }
    let disturbance = validity::CHECKS.iter().find(|check| check.weight == validity::Weight::Disturbed)?;
    let disturbed = trials.iter().filter(|trial| trial.superseded && validity::why_again(trial).is_some());
    let why = validity::worst(disturbance.fact, disturbed).and_then(validity::why_again)?;
    let counts: Vec<_> = counts.iter().map(|(environment, count)| format!("{count} of {environment}")).collect();
    Some(format!("trials that were disturbed and executed again: {} (the worst: {why})", counts.join(", ")))
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Name of the folder.
    pub id: String,
    /// When it started.
    pub started_at: String,
    /// `complete`, `interrupted`, `running`, or why it cannot be read.
    pub state: String,
    /// Its folder.
    pub path: PathBuf,
}

/// The runs in `parent`, the oldest first.
pub fn list_runs(parent: &Path) -> Result<Vec<RunSummary>, StoreError> {
    let mut runs = Vec::new();
    for id in ids(parent)? {
        let path = parent.join(&id);
        let (started_at, state) = match reading::run_of(&path) {
            Ok(run) => (run.started_at, format!("{:?}", run.state).to_lowercase()),
            Err(e) => (String::new(), e.to_string()),
        };
        runs.push(RunSummary { id, started_at, state, path });
    }
    Ok(runs)
}

/// Names of the folders in `parent` that hold a run, sorted: they begin with their time.
fn ids(parent: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io("reading the folder", parent)(e)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<_> = names.filter(|name| !name.starts_with('.') && parent.join(name).join(RUN).exists()).collect();
    ids.sort();
    Ok(ids)
}

/// One run, or the runs of a set, by name: what [`find_run`] takes, or a folder of run folders and archives.
pub fn find_runs(parent: &Path, name: &str) -> Result<Vec<PathBuf>, StoreError> {
    let path = find_run(parent, name)?;
    if !path.is_dir() || path.join(RUN).exists() {
        return Ok(vec![path]);
    }
    let entries = fs::read_dir(&path).map_err(io("reading the folder", &path))?;
    let is_run = |entry: &PathBuf| {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && (entry.join(RUN).exists() || (name.ends_with(archive::ENDING) && entry.is_file()))
    };
    let mut runs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_run).collect();
    runs.sort();
    if runs.len() > limits::RUNS {
        let reason = format!("it holds {} runs, and a set has at most {}", runs.len(), limits::RUNS);
        return Err(StoreError::Set { folder: path.display().to_string(), reason });
    }
    if runs.is_empty() { Err(StoreError::NoRuns(path.display().to_string())) } else { Ok(runs) }
}

/// The run that began last. Ids tell seconds; of runs of the same second, the one that was written last.
fn latest(parent: &Path, ids: &[String]) -> Option<PathBuf> {
    let second = |id: &String| id.split_once('-').map_or(id.clone(), |(time, _)| time.to_owned());
    let newest = second(ids.last()?);
    let same = ids.iter().filter(|id| second(id) == newest).map(|id| parent.join(id));
    same.max_by_key(|path| path.join(RUN).metadata().and_then(|found| found.modified()).ok())
}

/// A run by name: a folder, an archive, a unique prefix of an id in `parent`, or `last`.
pub fn find_run(parent: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let unknown = || StoreError::Unknown { name: name.to_owned(), parent: parent.display().to_string() };
    if name.contains('/') || Path::new(name).exists() {
        return if Path::new(name).exists() { Ok(PathBuf::from(name)) } else { Err(unknown()) };
    }
    let ids = ids(parent)?;
    if name == "last" {
        return latest(parent, &ids).ok_or_else(unknown);
    }
    let found: Vec<_> = ids.iter().filter(|id| id.starts_with(name)).collect();
    match found[..] {
        [] => Err(unknown()),
        [one] => Ok(parent.join(one)),
        _ => {
            let candidates = found.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
            Err(StoreError::Ambiguous { name: name.to_owned(), candidates })
        }
    }
}
