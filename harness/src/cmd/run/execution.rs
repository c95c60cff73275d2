//! A run from start to end: prepare, measure, record, report; whatever happens, undo.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench_results::record::{self, LeftOut, Limits, Run, State};
use bench_results::resume::left;
use bench_results::sequential;
use bench_results::store::{Record, RunFolder};
use bench_vm::Check;
use bench_workloads::{EnvironmentDefinition, WORK_FILE_SYSTEM};

use super::RunArgs;
use super::calibration::Calibration;
use super::definition::Definition;
use super::resume::{self, Earlier};
use super::storage;
use crate::caller::Hands;
use crate::cmd::{given, this_build};
use crate::conductor::environment::Environment;
use crate::conductor::event::Event;
use crate::conductor::instance::{Instance, Setting};
use crate::conductor::interrupt::Interrupts;
use crate::conductor::plan::Planned;
use crate::conductor::progress::Progress;
use crate::conductor::work::WorkPlan;
use crate::conductor::{Conductor, now};
use crate::environments::{self, Shared};
use crate::failure::{self, NotInside, Unavailable};
use crate::host::target::{self, Checked, Wish};
use crate::host::{cpus, fingerprint, versions};
use crate::ledger::{self, Change, Ledger, MachineLock};
use crate::{netlab, output, paths, tools};

/// Execute a run, or the rest of an earlier one; the exit code.
pub fn execute(args: &RunArgs, definition: &Definition, earlier: Option<&Earlier>) -> Result<i32> {
    let _lock = MachineLock::take(&paths::machine_dir()?)?;
    let state = paths::state_dir()?;
    let cleaned = ledger::clean(&state, false).context("undoing what an earlier run left")?;
    for change in &cleaned.changes {
        output::tell(&format!("bench: an earlier run was killed; undid: {change}"));
    }
    if let Some(failure) = cleaned.failures.first() {
        bail!(
            "leftovers of a killed run would disturb this one (`bench clean` tries again to remove them): {failure:#}"
        );
    }
    let new_id = || super::run_id(&definition.suite.replace(',', "+"));
    let id = earlier.map_or_else(new_id, |earlier| earlier.run.id.clone());
    let setting = setting(args, definition, &id, &state)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut interrupts = Interrupts::listen()?;
        let prepared = tokio::select! {
            prepared = prepare(definition, &setting) => prepared?,
            interrupted = interrupts.next() => {
                interrupted?;
                output::tell("bench: interrupted before anything was measured");
                if let Some(earlier) = earlier {
                    resume::say_how(earlier.folder());
                }
                return Ok(failure::INTERRUPTED);
            }
        };
        let fresh = new_run(definition, &setting, &prepared, id)?;
        if let Some(why) = sequential::never_decided(&fresh) {
            output::tell(&format!("bench: {why}"));
        }
        measure(args, definition, &setting, &prepared, fresh, (earlier, &mut interrupts)).await
    })
}

/// What has to be in the tools tree besides the measured tools, and can be seen where it is needed.
pub(super) fn programs(args: &RunArgs, definition: &Definition) -> Result<Vec<PathBuf>> {
    let mut everywhere = crate::cmd::image::absolute(&args.with)?;
    everywhere.extend(definition.along.programs.iter().cloned());
    let fios = |native: bool| {
        let all = definition.environments.iter().filter(move |e| environments::has_the_hosts_files(e) == native);
        all.filter_map(|e| e.options.get("fio")).map(PathBuf::from)
    };
    let is_native = definition.environments.iter().all(environments::has_the_hosts_files);
    let inside = everywhere.iter().filter(|_| !is_native).cloned().chain(fios(false));
    for path in inside {
        // What commands bring along of the temporary folder is copied to theirs.
        let is_copied = !definition.along.is_empty() && path.starts_with(WORK_FILE_SYSTEM);
        let hidden = bench_container::SPECIAL.into_iter().find(|folder| path.starts_with(folder) && !is_copied);
        ensure!(
            hidden.is_none(),
            "{} would not be seen in a container or a guest, which have a {} of their own: put it elsewhere",
            path.display(),
            hidden.unwrap_or_default()
        );
    }
    everywhere.extend(definition.along.others.iter().cloned());
    everywhere.extend(fios(true).chain(fios(false)));
    Ok(everywhere)
}

/// Everything that is the same for all instances.
fn setting(args: &RunArgs, definition: &Definition, id: &str, state: &Path) -> Result<Setting> {
    let programs = programs(args, definition)?;
    let hands = paths::create_for_caller(&args.out)?;
    let target = match definition.needs_target {
        true => Some(check_target(args, definition, id, &args.out)?),
        false => None,
    };
    let (cpus, peer_cpus) = choose_cpus(args, definition)?;
    let tree = tools::build(&programs, &definition.along.points(), Check::Content)?;
    let executable = tools::executable()?;
    let ledger = Ledger::open(state)?;
    let work = match definition.along.is_empty() {
        true => None,
        false => Some(work_plan(args, definition, &ledger, id, target.as_ref())?),
    };
    let target = target.map(|checked| checked.prepare(&ledger)).transpose()?;
    Ok(Setting {
        cpus,
        peer_cpus,
        memory_bytes: args.memory,
        tree,
        target,
        work,
        executable,
        ledger,
        hands,
        started: Cell::new(0),
        filled: Cell::new(false),
        shared: Shared::default(),
    })
}

/// The CPUs of every environment, and of the other end of the network.
pub(super) fn choose_cpus(args: &RunArgs, definition: &Definition) -> Result<(Vec<usize>, Vec<usize>)> {
    let networked = definition.environments.iter().any(|environment| definition.is_networked(environment));
    cpus::choose(args.cpus.as_deref(), networked)
}

/// What commands work in lies beside the target where that is a file, else beside the run's folder.
fn work_plan(
    args: &RunArgs,
    definition: &Definition,
    ledger: &Ledger,
    id: &str,
    target: Option<&Checked>,
) -> Result<WorkPlan> {
    let folder = match (&args.target, target) {
        (Some(path), None) if path.is_dir() => path.clone(),
        (Some(path), None) => {
            let is_device = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device());
            ensure!(
                !is_device,
                "--target {}: a command works in a file system; name a folder or a file on the one to measure on",
                path.display()
            );
            let path = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
            path.parent().map_or(path.clone(), Path::to_path_buf)
        }
        (_, Some(checked)) if !checked.target.is_device => {
            let path = Path::new(&checked.target.path);
            path.parent().unwrap_or(path).to_path_buf()
        }
        _ => args.out.clone(),
    };
    let covered = |path: &str| Path::new(path).starts_with(WORK_FILE_SYSTEM);
    let natives = definition.environments.iter().filter(|e| environments::has_the_hosts_files(e));
    let fios = natives.filter_map(|e| e.options.get("fio")).map(String::as_str);
    if let Some(hidden) =
        target.map(|checked| checked.target.path.as_str()).into_iter().chain(fios).find(|p| covered(p))
    {
        bail!(
            "{hidden} would not be seen where commands are executed as well, which have a {WORK_FILE_SYSTEM} of their own"
        );
    }
    let along = &definition.along;
    let mut plan = WorkPlan::prepare(ledger, &folder, id, definition.size_bytes(), &along.staged)?;
    plan.commands.clone_from(&along.commands);
    Ok(plan)
}

/// The target that was asked for, or a new one in this folder: beside the run's, in its file system, since that appears only when there is
/// something to keep.
pub(super) fn check_target(args: &RunArgs, definition: &Definition, id: &str, folder: &Path) -> Result<Checked> {
    let wish = Wish { path: args.target.clone(), size_bytes: definition.size_bytes(), destroy_data: args.destroy_data };
    target::check(&wish, &folder.join(format!(".{id}.target")))
}

/// What preflight found.
struct Prepared {
    environments: Vec<Environment>,
    records: Vec<record::Environment>,
    left_out: Vec<LeftOut>,
    fingerprint: fingerprint::Fingerprint,
    warnings: Vec<String>,
    /// What is measured, paced where it has to be.
    workloads: Vec<Planned>,
}

/// Start and stop one instance of every environment: what cannot be had is known before anything is measured.
async fn prepare(definition: &Definition, setting: &Setting) -> Result<Prepared> {
    let mut prepared = Prepared {
        environments: Vec::new(),
        records: Vec::new(),
        left_out: Vec::new(),
        fingerprint: fingerprint::machine(),
        warnings: setting.target.as_ref().map(|target| target.warnings.clone()).unwrap_or_default(),
        workloads: definition.workloads.clone(),
    };
    prepared.warnings.extend(setting.work.iter().flat_map(WorkPlan::warnings));
    let mut calibration = Calibration::new(definition);
    if calibration.drives() {
        storage::fill(driver(setting, definition).await?.as_ref(), setting).await?;
    }
    for environment in &definition.environments {
        match preflight(environment, definition, setting, &mut calibration).await {
            Ok((environment, record)) => {
                prepared.environments.push(environment);
                prepared.records.push(record);
            }
            Err(e) if e.is::<NotInside>() => {
                return Err(e.context(format!("looking at `{}`, nothing was measured", environment.name)));
            }
            Err(e) if definition.named.contains(&environment.name) || prepared.environments.is_empty() => {
                return Err(Unavailable { environment: environment.name.clone(), source: e.into() }.into());
            }
            Err(e) => {
                let reason = format!("{e:#}");
                output::tell(&format!("bench: `{}` is left out: {reason}", environment.name));
                prepared.left_out.push(LeftOut { environment: environment.name.clone(), reason });
            }
        }
    }
    prepared.warnings.extend(calibration.pace(&mut prepared.workloads));
    for record in &mut prepared.records {
        let own = prepared.workloads.iter().filter_map(|planned| {
            Some((planned.workload.name().to_owned(), *planned.own_rates_per_s.get(&record.name)?))
        });
        record.own_rates_per_s = own.collect();
    }
    describe_tools(&mut prepared, setting);
    Ok(prepared)
}

async fn preflight(
    wanted: &EnvironmentDefinition,
    definition: &Definition,
    setting: &Setting,
    calibration: &mut Calibration,
) -> Result<(Environment, record::Environment)> {
    let environment = Environment::prepare(wanted, definition.is_networked(wanted), setting).await?;
    if definition.needs_target {
        versions::check("fio", Path::new(&environment.place.fio))?;
    }
    if let Some(network) = &environment.place.network {
        versions::check("iperf3", Path::new(&network.iperf3))?;
    }
    if let Some(note) = calibration.news(environment.prepared.accelerator_note.as_ref()) {
        output::tell(&format!("bench: `{}` is emulated: {note}", environment.name));
    }
    let mut instance = Instance::start(&environment, setting).await?;
    instance.resume().await?;
    let mut record = environment.record(&mut instance, setting).await?;
    storage::check_engines(definition, &record, &environment.place, &mut instance).await?;
    record.sameness.extend(storage::page_cache(definition, &record).map(|text| ("page cache".to_owned(), text)));
    calibration.measure(&environment, &record, &mut instance, setting).await?;
    instance.stop().await?;
    Ok((environment, record))
}

fn describe_tools(prepared: &mut Prepared, setting: &Setting) {
    let facts = &mut prepared.fingerprint;
    if let Some(disk) = setting.target.as_ref().and_then(|target| target.disk.as_ref()) {
        fingerprint::disk(facts, disk);
    }
    if let Some(plan) = &setting.work {
        facts.insert("tool.files.digest".into(), plan.digest.clone());
    }
    facts.insert("tool.tree.digest".into(), setting.tree.digest.clone());
    for environment in &prepared.environments {
        fingerprint::tool(facts, "fio", Path::new(&environment.place.fio));
        if let Some(network) = &environment.place.network {
            fingerprint::tool(facts, "iperf3", Path::new(&network.iperf3));
            facts.insert("network.vhost".into(), if netlab::has_vhost() { "on" } else { "off" }.into());
            facts.insert("network.peer.cpus".into(), cpus::format(&setting.peer_cpus));
        }
        environment.describe(facts);
    }
}

async fn measure(
    args: &RunArgs,
    definition: &Definition,
    setting: &Setting,
    prepared: &Prepared,
    fresh: Run,
    (earlier, interrupts): (Option<&Earlier>, &mut Interrupts),
) -> Result<i32> {
    let (mut run, mut folder, rounds) = match earlier {
        Some(earlier) => setting.hands.act(|| earlier.go_on(&fresh))?,
        None => {
            let out = setting.hands.act(|| Ok(args.out.canonicalize()?)).context("finding the folder for runs")?;
            let path = RunFolder::half_made(&out, &fresh.id);
            let half_made = setting.ledger.record(Change::Folder { path, by: setting.hands.whose() })?;
            let folder = setting.hands.act(|| Ok(RunFolder::create(&args.out, &fresh)?))?;
            setting.ledger.forget(half_made)?;
            let rounds = left(&fresh.plan, &[]);
            (fresh, folder, rounds)
        }
    };
    let path = folder.path().to_path_buf();
    let progress = RefCell::new(Progress::new());
    let trials = rounds.iter().map(|round| round.trials.len()).sum();
    let planned_s = run.plan.planned_s * trials as f64 / run.plan.trials.len().max(1) as f64;
    progress.borrow_mut().show(&Event::Started { page: path.join("report/index.html"), trials, planned_s });
    let mut listener = |event: Event<'_>| {
        progress.borrow_mut().show(&event);
        if matches!(event, Event::BlockDone) {
            write_page(&path, setting.hands);
        }
    };
    let conduct = async {
        let driver = driver(setting, definition).await?;
        let conductor = Conductor {
            setting,
            environments: &prepared.environments,
            workloads: &prepared.workloads,
            driver: driver.as_ref(),
        };
        conductor.conduct(&rounds, &mut run, &mut folder, &mut listener).await
    };
    let conducted = tokio::select! {
        done = conduct => done.map(|()| State::Complete),
        interrupted = interrupts.next() => interrupted.map(|()| State::Interrupted),
    };
    progress.borrow().end();
    // `running` with an end: the run itself failed.
    run.state = *conducted.as_ref().unwrap_or(&State::Running);
    let ended = end(setting, &folder, &mut run);
    let concluded = match &ended {
        Ok(()) => conclude(&path, run.state, setting.hands),
        Err(_) => paths::give_to_caller(&path, setting.hands).map(|()| failure::USAGE),
    };
    if run.state != State::Complete || ended.is_err() {
        resume::say_how(&path);
    }
    conducted?;
    ended?;
    concluded
}

/// Undo, and write down how it ended.
fn end(setting: &Setting, folder: &RunFolder, run: &mut Run) -> Result<()> {
    setting.ledger.undo_all()?;
    run.ended_at = Some(now());
    setting.hands.act(|| Ok(folder.replace_run(run)?))
}

/// Native access to the target for filling and driving it, whatever the run's environments are.
async fn driver(setting: &Setting, definition: &Definition) -> Result<Option<Environment>> {
    if !definition.needs_target {
        return Ok(None);
    }
    let native = environments::read("native")?;
    Environment::prepare(&native, false, setting).await.map(Some)
}

/// The run as it begins now.
fn new_run(definition: &Definition, setting: &Setting, prepared: &Prepared, id: String) -> Result<Run> {
    let names: Vec<_> = prepared.environments.iter().map(|environment| environment.name.clone()).collect();
    let plan = definition.plan(&names, &prepared.workloads)?;
    Ok(Run {
        schema_version: record::SCHEMA_VERSION,
        id,
        bench: this_build()?,
        command: repeat(given(), plan.seed),
        started_at: now(),
        ended_at: None,
        state: State::Running,
        plan,
        environments: prepared.records.clone(),
        left_out: prepared.left_out.clone(),
        limits: Limits { cpus: cpus::format(&setting.cpus), memory_bytes: setting.memory_bytes },
        target: setting.target.as_ref().map(|checked| checked.target.clone()),
        baseline: None,
        settle: None,
        fingerprint: prepared.fingerprint.clone(),
        warnings: prepared.warnings.clone(),
        overhead: None,
        breaks: Vec::new(),
        imported: None,
    })
}

/// The command as it was given, with the seed that was drawn.
fn repeat(mut given: Vec<String>, seed: u64) -> Vec<String> {
    // What follows `--` is a command of the user's.
    let mut ours = given.iter().take_while(|word| *word != "--");
    if !ours.any(|word| word == "--seed" || word.starts_with("--seed=")) {
        given.splice(1..1, ["--seed".to_owned(), seed.to_string()]);
    }
    given.insert(0, "bench".to_owned());
    given
}

/// The page after a block; a page that cannot be drawn must not cost the run.
fn write_page(path: &Path, hands: Hands) {
    let written = hands.act(|| {
        let record = Record::load_lean(path, |_| {})?;
        bench_reports::write_page(&record, &path.join("report")).context("writing the page")
    });
    if let Err(e) = written {
        output::tell(&format!("bench: {e:#}; the measurements are kept"));
    }
}

/// Report what is recorded; the exit code.
fn conclude(path: &Path, state: State, hands: Hands) -> Result<i32> {
    let record = hands.act(|| Ok(Record::load_lean(path, |_| {})?))?;
    let report = bench_reports::Report::new(&record, &bench_results::analysis::analyse(&record));
    let printed = crate::cmd::report::write_and_print(&record, &report, "report", hands);
    paths::give_to_caller(path, hands)?;
    printed?;
    Ok(match state {
        State::Interrupted => failure::INTERRUPTED,
        _ if record.trials.iter().any(|trial| !trial.is_valid()) => failure::TRIALS,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_command_has_the_seed_and_leaves_the_users_own_alone() {
        let repeated = |words: &str| repeat(words.split(' ').map(str::to_owned).collect(), 7).join(" ");
        assert_eq!(repeated("run --suite io"), "bench run --seed 7 --suite io");
        for own in ["run --seed 3", "run --seed=3 -- x"] {
            assert_eq!(repeated(own), format!("bench {own}"));
        }
        assert_eq!(repeated("run -- sh --seed 3"), "bench run --seed 7 -- sh --seed 3");
    }
}
