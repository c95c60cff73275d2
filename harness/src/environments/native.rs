//! `native`: the agent as a child process in its own cgroup; for commands also in a mount namespace, for their work folder.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use bench_container::{Bind, Cgroup, Limits, Spec};
use bench_results::record::Class;
use bench_workloads::{EnvironmentDefinition, EnvironmentError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::options::{self, AbsolutePath, Described};
use super::{Doing, Kind, OnHost, Parts, Prepared, Start};
use crate::conductor::instance::{Ground, Setting, greet_child};
use crate::host::target::Checked;
use crate::netlab::{Route, User};
use crate::output;

const NAME: &str = "native";

/// Options of `native`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The fio to measure with instead of the installed one.
    fio: Option<AbsolutePath>,
}

/// The kind.
pub struct Native;

impl Kind for Native {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        Class::Process
    }

    fn has_the_hosts_files(&self) -> bool {
        true
    }

    fn options(&self) -> Vec<Described> {
        options::describe::<Options>()
    }

    fn check_option(&self, option: &str, value: &str) -> Result<(), EnvironmentError> {
        options::check::<Options>(NAME, option, value)
    }

    fn route(&self, _definition: &EnvironmentDefinition, networked: bool) -> Result<Option<Route>> {
        Ok(networked.then_some(Route::Direct))
    }

    fn check(&self, _definition: &EnvironmentDefinition, _target: Option<&Checked>) -> Result<()> {
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        definition: &'a EnvironmentDefinition,
        _route: Option<Route>,
        setting: &'a Setting,
    ) -> Doing<'a, Prepared> {
        Box::pin(async move { prepare(definition, setting) })
    }
}

fn prepare(definition: &EnvironmentDefinition, setting: &Setting) -> Result<Prepared> {
    let options: Options = options::read(NAME, &definition.options)?;
    let isolation = match setting.work {
        Some(_) => "cgroup; mount namespace for the work folder",
        None => "cgroup only",
    };
    Ok(Prepared {
        fio: options.fio.map(|path| path.0),
        target: setting.target.as_ref().map(|checked| checked.path().display().to_string()),
        bench: setting.executable.display().to_string(),
        user: User::Process,
        host_network: None,
        plan_group: Cgroup::plan,
        limits: Limits { memory_bytes: Some(setting.memory_bytes), ..super::limits(setting) },
        programs: Vec::new(),
        files: Vec::new(),
        is_copied: false,
        accelerator: None,
        accelerator_note: None,
        work_disk: None,
        filters: Some(0),
        root: None,
        scheduler: None,
        memory: format!("cgroup limit of {}", output::bytes(setting.memory_bytes)),
        isolation: isolation.to_owned(),
        storage: super::storage(setting),
        moved_by: "",
        start: Box::new(Agent),
    })
}

/// Starts the agent.
struct Agent;

impl Start for Agent {
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts> {
        Box::pin(async move {
            let mut command = ground.command(spec(setting, ground)?)?;
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let (agent, greeting, child) = greet_child(child.context("starting the agent")?).await?;
            Ok(Parts { agent, greeting, child: child.into(), running: Box::new(OnHost) })
        })
    }
}

/// An agent that is a process of the host.
pub(super) fn spec(setting: &Setting, ground: &Ground<'_>) -> Result<Spec> {
    let argv = ["agent", "--scratch"].map(str::to_owned).into_iter().chain([ground.folder.display().to_string()]);
    let (executable, work) = match (&setting.work, &ground.work) {
        (Some(plan), Some(work)) => {
            let seen_at = place_for_executable(ground)?;
            let kept = Bind { source: setting.executable.clone(), target: seen_at.clone(), read_only: true };
            (seen_at, Some(plan.natively(work, vec![kept])))
        }
        _ => (setting.executable.clone(), None),
    };
    Ok(Spec {
        argv: [executable.display().to_string()].into_iter().chain(argv).collect(),
        env: Vec::new(),
        work,
        // The agent ends on the end of its input and takes its job along; a signal when its parent's *thread* ends would
        // be one difference more to the other environments.
        ..Spec::default()
    })
}

/// A file to bind `bench` to, which may itself lie in the folder that the work folder covers.
fn place_for_executable(ground: &Ground<'_>) -> Result<PathBuf> {
    let path = ground.folder.join("bench");
    std::fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path)
}
