//! `bench run --resume RUN`: execute what is left of a run's own plan.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench_results::compare::differences;
use bench_results::record::{Run, State};
use bench_results::resume::{Round, break_before, left};
use bench_results::shell;
use bench_results::store::{self, Record, RunFolder, find_run};
use clap::Parser;

use super::RunArgs;
use super::definition::Definition;
use super::execution;
use crate::caller::{Caller, Hands};
use crate::conductor::now;
use crate::failure::need_root;
use crate::output;

/// A run that was stopped.
pub struct Earlier {
    /// What stands in its `run.json`.
    pub run: Run,
    folder: PathBuf,
}

/// `bench run`, as it stands in a record.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
}

/// Execute what is left of a run by name.
pub fn run(name: &str) -> Result<i32> {
    let folder = find_run(Path::new("bench-runs"), name)?;
    let record = Hands::in_folder(&folder)?.act(|| Ok(Record::load_lean(&folder, |_| {})?))?;
    ensure!(record.run.imported.is_none(), "{} is imported, so there is nothing to resume", record.run.id);
    if left(&record.run.plan, &record.trials).is_empty() && record.run.state == State::Complete {
        output::print_line(&format!("{} is complete: nothing left to do", record.run.id))?;
        return Ok(0);
    }
    ensure!(folder.is_dir(), "{} is an archive: only a run in its folder can be resumed", folder.display());
    need_root("bench run --resume", "it executes the rest of a run")?;
    let folder = folder.canonicalize().with_context(|| format!("looking for {}", folder.display()))?;
    check_owner(&folder)?;
    // Again, now that it is known whose it is.
    let run = Hands::in_folder(&folder)?.act(|| Ok(Record::load_lean(&folder, |_| {})?.run))?;
    let earlier = Earlier { run, folder };
    let args = earlier.arguments()?;
    let definition = Definition::resolve(&args)
        .context(
            "parsing the command of the run again (paths of suite files are relative: use the folder where the run was started)",
        )?
        .of_run(&earlier.run);
    execution::execute(&args, &definition, Some(&earlier))
}

/// Say how a run that was stopped goes on: the command as it can be pasted where this one was.
pub fn say_how(folder: &Path) {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let own = std::env::args_os().next().unwrap_or_else(|| "bench".into());
    let words = command(&own.to_string_lossy(), &folder.to_string_lossy(), Caller::behind_sudo().is_some());
    output::tell(&format!("bench: the results so far are kept; resume with\n  {}", shell::line(&words)));
}

fn command(own: &str, folder: &str, by_sudo: bool) -> Vec<String> {
    let sudo = by_sudo.then_some("sudo");
    sudo.into_iter().chain([own, "run", "--resume", folder]).map(str::to_owned).collect()
}

/// A record holds the commands that it executes: nobody but the one who asks, or root, may be able to write it, to put another
/// file in its place, or another folder in that of one above it.
fn check_owner(folder: &Path) -> Result<()> {
    let asks = Caller::behind_sudo().unwrap_or(Caller { uid: 0, gid: 0 });
    let files = ["run.json", "trials.jsonl"].map(|name| folder.join(name));
    for path in files.iter().map(PathBuf::as_path).chain(folder.ancestors()) {
        let found = path.symlink_metadata().with_context(|| format!("looking at {}", path.display()))?;
        let path = path.display();
        ensure!(!found.is_symlink(), "{path} is a link: resuming executes the commands in a run's own files only");
        let owner = found.uid();
        ensure!(
            owner == 0 || owner == asks.uid,
            "{path} belongs to user {owner}: resuming executes the commands in the run as root; `chown` it if you trust it"
        );
        let others = if found.gid() == 0 || found.gid() == asks.gid { 0o002 } else { 0o022 };
        // Of a folder with the sticky bit nobody can rename what is somebody else's.
        let is_open = found.mode() & others != 0 && !(found.is_dir() && found.mode() & 0o1000 != 0);
        ensure!(
            !is_open,
            "{path} can be written by others: resuming executes the commands in the run as root; `chmod go-w` it if you trust it"
        );
    }
    Ok(())
}

impl Earlier {
    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The arguments that the run was started with, for a folder that may have been moved.
    fn arguments(&self) -> Result<RunArgs> {
        let words = self.run.command.iter().skip(1);
        let line = Line::try_parse_from(words).map_err(|e| {
            anyhow::anyhow!("the run's command cannot be parsed: {}", e.to_string().lines().next().unwrap_or_default())
        })?;
        let mut args = line.args;
        if let (Some(path), Some(target)) = (&mut args.target, &self.run.target) {
            *path = PathBuf::from(&target.path);
        }
        args.out = std::path::absolute(&self.folder)?.parent().context("the run's folder has no parent")?.to_path_buf();
        Ok(args)
    }

    /// Go on in the run's folder, if everything that its numbers depend on is as it was: `now` is the same run as it would
    /// begin now. What stands in `run.json` from here on, the folder, and what is left.
    pub fn go_on(&self, fresh: &Run) -> Result<(Run, RunFolder, Vec<Round>)> {
        let mut fresh = fresh.clone();
        // It may have stopped at a look, and not come to its end.
        let stopped = self.run.plan.sequential.as_ref().and_then(|sequential| sequential.stopped_after);
        stopped.iter().for_each(|&block| fresh.plan.stop_after(block));
        let changes = changes(&self.run, &fresh);
        if !changes.is_empty() {
            bail!(
                "{} cannot be resumed, because its blocks would not be comparable: {}; start a new run",
                self.run.id,
                changes.join("; ")
            );
        }
        let recorded = store::recorded(&self.folder, &self.run)?;
        let rounds = left(&self.run.plan, &recorded);
        let mut run = self.run.clone();
        run.state = State::Running;
        run.ended_at = None;
        if let Some(stop) = break_before(&rounds, &recorded, &now()) {
            stop.add_to(&mut run.breaks);
        }
        let folder = RunFolder::reopen(&self.folder, &run, recorded, &rounds)?;
        Ok((run, folder, rounds))
    }
}

/// What the numbers depend on and is not as it was, in words.
fn changes(earlier: &Run, fresh: &Run) -> Vec<String> {
    let said = |what: &str, was: Option<&String>, is: Option<&String>| {
        let shown = |value: Option<&String>| value.map_or("absent".to_owned(), |value| format!("`{value}`"));
        (was != is).then(|| format!("{what} was {} and is {}", shown(was), shown(is)))
    };
    let mut changes: Vec<String> = differences(earlier, fresh)
        .iter()
        .filter_map(|difference| said(&difference.fact, difference.base.as_ref(), difference.new.as_ref()))
        .collect();
    changes.extend(said("bench itself", Some(&earlier.bench.sha256), Some(&fresh.bench.sha256)));
    for (was, is) in earlier.environments.iter().zip(&fresh.environments) {
        let axes = was.sameness.keys().chain(is.sameness.keys().filter(|axis| !was.sameness.contains_key(*axis)));
        let change =
            |axis: &String| said(&format!("{axis} of {}", was.name), was.sameness.get(axis), is.sameness.get(axis));
        changes.extend(axes.filter_map(change));
    }
    if changes.is_empty() && earlier.plan != fresh.plan {
        changes.push("its command gives another plan now (was a suite file changed?)".to_owned());
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted_as_this_one_was_given() {
        let line = |own, folder, sudo| shell::line(&command(own, folder, sudo));
        assert_eq!(line("bench", "/srv/runs/x-io-1", false), "bench run --resume /srv/runs/x-io-1");
        assert_eq!(
            line("target/release/bench", "/my runs/it's", true),
            "sudo target/release/bench run --resume '/my runs/it'\\''s'"
        );
    }
}
