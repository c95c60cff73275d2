//! `bench run --dry-run`: what the run would check before it changes anything, what it would measure, and in which order.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bench_results::record::{LeftOut, Plan};
use bench_results::sequential::{self, Sequential};
use bench_results::{host, isolation};
use bench_vm::Sources;
use bench_workloads::EnvironmentDefinition;
use nix::unistd::{AccessFlags, access, geteuid};

use super::definition::Definition;
use super::{RunArgs, execution};
use crate::environments;
use crate::failure::Unavailable;
use crate::host::target::Checked;
use crate::host::{cpus, fingerprint, packages};
use crate::ledger::MachineLock;
use crate::netlab::Route;
use crate::{output, paths};

/// What the checks found.
#[derive(Default)]
struct Found {
    cpus: String,
    target: Option<Checked>,
    left_out: Vec<LeftOut>,
    /// What only root can look at, and why it was not.
    unchecked: Vec<String>,
}

/// Check, and print summary and plan; an error is what the run would end with at its start.
pub fn run(args: &RunArgs, definition: &Definition) -> Result<i32> {
    let mut found = Found::default();
    check(args, definition, &mut found)?;
    let can_be_had = |name: &&String| !found.left_out.iter().any(|left| left.environment == **name);
    let names: Vec<_> = definition.environments.iter().map(|environment| &environment.name).collect();
    let names: Vec<_> = names.into_iter().filter(can_be_had).cloned().collect();
    let plan = definition.plan(&names, &definition.workloads)?;
    let summary = summary(args, definition, &plan, &found);
    output::print(&format!("{summary}\n{}\n{}{}", trials(&plan), starts(&plan), probes(definition, &plan)))?;
    Ok(0)
}

fn check(args: &RunArgs, definition: &Definition, found: &mut Found) -> Result<()> {
    let programs = execution::programs(args, definition)?;
    for_root(MachineLock::check(paths::MACHINE.as_ref()), "whether another run is measuring", found)?;
    let folder = folder_for_runs(&args.out)?;
    for_root(writable(&folder), "whether the run's folder can be made", found)?;
    if definition.needs_target {
        let target = execution::check_target(args, definition, "dry-run", &folder);
        found.target = for_root(target, "the target", found)?;
    }
    let (chosen, _) = execution::choose_cpus(args, definition)?;
    found.cpus = cpus::format(&chosen);
    let mut tools = ["fio", "iperf3", "busybox"].map(packages::require).into_iter().collect::<Result<Vec<_>>>()?;
    tools.extend(programs);
    Sources::of(&tools).context("finding the files that measured programs need")?;
    for (index, environment) in definition.environments.iter().enumerate() {
        let checked = check_environment(environment, definition, found.target.as_ref());
        match for_root(checked, &format!("all of `{}`", environment.name), found) {
            Ok(_) => {}
            Err(e) if definition.named.contains(&environment.name) || index == 0 => {
                return Err(Unavailable { environment: environment.name.clone(), source: e.into() }.into());
            }
            Err(e) => {
                let reason = format!("{e:#}");
                found.left_out.push(LeftOut { environment: environment.name.clone(), reason });
            }
        }
    }
    Ok(())
}

/// What somebody who is not root may not look at is told, and fails nothing: the run itself is root's.
fn for_root<T>(checked: Result<T>, what: &str, found: &mut Found) -> Result<Option<T>> {
    let is_refused = |e: &anyhow::Error| {
        let denied = |cause: &(dyn std::error::Error + 'static)| {
            let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            let errno = cause.downcast_ref::<nix::errno::Errno>();
            io == Some(std::io::ErrorKind::PermissionDenied) || errno == Some(&nix::errno::Errno::EACCES)
        };
        !geteuid().is_root() && e.chain().any(denied)
    };
    match checked {
        Ok(value) => Ok(Some(value)),
        Err(e) if is_refused(&e) => {
            found.unchecked.push(format!("{what} ({e:#})"));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// The folder for runs, or the nearest above it that exists.
fn folder_for_runs(out: &Path) -> Result<PathBuf> {
    let out = std::path::absolute(out).with_context(|| format!("--out {}", out.display()))?;
    let folder = out.ancestors().find(|path| path.symlink_metadata().is_ok());
    let folder = folder.with_context(|| format!("--out {}: no folder above it exists", out.display()))?;
    ensure!(folder.is_dir(), "--out {}: {} is no folder", out.display(), folder.display());
    Ok(folder.to_path_buf())
}

fn writable(folder: &Path) -> Result<()> {
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).with_context(|| format!("writing to {}", folder.display()))
}

/// Files and programs that the options name, and what the kind and its network need.
fn check_environment(wanted: &EnvironmentDefinition, definition: &Definition, target: Option<&Checked>) -> Result<()> {
    let kind = environments::kind_of(wanted)?;
    for name in kind.programs() {
        if let Some(path) = wanted.options.get(*name) {
            packages::check_program(name, Path::new(path))?;
        }
    }
    if let Some(program) = kind.route(wanted, definition.is_networked(wanted))?.and_then(Route::program) {
        packages::require(program)?;
    }
    kind.check(wanted, target)
}

fn summary(args: &RunArgs, definition: &Definition, plan: &Plan, found: &Found) -> String {
    let profile = &plan.profile;
    let can_be_had =
        definition.environments.iter().filter(|e| !found.left_out.iter().any(|left| left.environment == e.name));
    let environments = can_be_had.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut lines = vec![
        format!("environments: {environments}"),
        format!("reference: {}", plan.reference),
        format!(
            "profile: {}, {} blocks of {} × {} s, each after {} s of warm-up, margin {} %",
            profile.name,
            profile.blocks,
            profile.turns,
            profile.runtime_s,
            profile.warmup_s,
            // As it was written: 0.07 × 100 is not 7 in binary.
            (profile.margin * 1e8).round() / 1e6,
        ),
        format!("limits: CPUs {}, memory {}", found.cpus, output::bytes(args.memory)),
    ];
    if definition.needs_target {
        let place = match &args.target {
            Some(path) => path.display().to_string(),
            None => format!("a new file in {}", args.out.display()),
        };
        lines.push(format!("target: {place}, {}", output::bytes(definition.size_bytes())));
    }
    lines.extend(plan.sequential.as_ref().map(Sequential::note));
    lines.extend(plan.sequential.as_ref().and_then(|_| nothing_to_decide(definition, plan)));
    lines.push(format!("seed: {}", plan.seed));
    lines.push(format!(
        "{} trials, {} as planned (plus building images, filling the target and starting instances)",
        plan.trials.len(),
        output::duration(plan.planned_s),
    ));
    let left_out = found.left_out.iter().map(|left| format!("left out: {}: {}", left.environment, left.reason));
    let warnings = found.target.iter().flat_map(|target| &target.warnings).map(|warning| format!("warning: {warning}"));
    let unchecked = found.unchecked.iter().map(|what| format!("not checked without root: {what}"));
    lines.extend(left_out.chain(warnings).chain(unchecked));
    if !geteuid().is_root() {
        lines.push("the run itself needs root".to_owned());
    }
    lines.join("\n") + "\n"
}

/// That no look can end the run, as far as can be told without a boot.
fn nothing_to_decide(definition: &Definition, plan: &Plan) -> Option<String> {
    let machine = host::why_not_judged_on(&fingerprint::machine());
    let is_emulated = |name: &str| {
        let wanted = definition.environments.iter().find(|environment| environment.name == name)?;
        environments::kind_of(wanted).ok()?.is_emulated(wanted).ok()
    };
    let emulated = |name: &str| is_emulated(name) == Some(true);
    let why = |name: &str| {
        let of_row = (emulated(name) || emulated(&plan.reference)).then_some(host::EMULATED_GUEST);
        machine.or(of_row).map(str::to_owned)
    };
    let is_row = |name: &&String| **name != plan.reference && plan.control.as_ref() != Some(*name);
    let names = plan.workloads.iter().flat_map(|workload| workload.environments.iter().filter(is_row));
    sequential::nothing_to_decide(plan.profile.blocks, names.map(|name| (name.as_str(), why(name))))
}

fn trials(plan: &Plan) -> String {
    let mut rows = vec![["block", "turn", "order", "workload", "environment", "seed"].map(str::to_owned).to_vec()];
    rows.extend(plan.trials.iter().map(|trial| {
        vec![
            trial.block.to_string(),
            trial.turn.to_string(),
            trial.order.to_string(),
            trial.workload.to_string(),
            trial.environment.to_string(),
            trial.seed.to_string(),
        ]
    }));
    output::columns(&rows)
}

fn starts(plan: &Plan) -> String {
    let mut rows = vec![["block", "starts its instances in this order"].map(str::to_owned).to_vec()];
    rows.extend(plan.starts.iter().zip(1..).map(|(order, block)| vec![block.to_string(), order.join(", ")]));
    output::columns(&rows)
}

/// What probes would be tried, where, and how each is undone; nothing where there are none.
fn probes(definition: &Definition, plan: &Plan) -> String {
    let is_probed =
        |name: &str| definition.workloads.iter().any(|one| one.workload.name() == name && one.workload.is_probed());
    let probed = plan.workloads.iter().filter(|workload| is_probed(&workload.name));
    let tried = probed.map(|workload| {
        let mut rows = vec![["probe", "resource", "kind", "question", "undone"].map(str::to_owned).to_vec()];
        let row = |probe: &&isolation::Probe| {
            [probe.id, probe.resource.name(), probe.sign.kind(), probe.question, probe.undone]
                .map(str::to_owned)
                .to_vec()
        };
        rows.extend(isolation::PROBES.iter().map(row));
        let (name, places) = (&workload.name, workload.environments.join(", "));
        format!(
            "\n{name}: tried in every block in each of {places}; nothing is changed for good\n{}",
            output::columns(&rows)
        )
    });
    tried.collect()
}
