//! `niced`: as `native`, with a lower priority of the CPU scheduler.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use bench_container::{Cgroup, Limits};
use bench_results::record::Class;
use bench_workloads::{EnvironmentDefinition, EnvironmentError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::options::{self, AbsolutePath, Described};
use super::{Doing, Kind, OnHost, Parts, Prepared, Start, native};
use crate::conductor::instance::{Ground, Setting, greet_child};
use crate::host::packages;
use crate::host::target::Checked;
use crate::netlab::{Route, User};
use crate::output;

/// Name in definitions and records.
const NAME: &str = "niced";

/// How much lower the priority is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Priority {
    /// `nice -n 10`.
    #[default]
    Low,
    /// `nice -n 19`.
    Lowest,
}

impl Priority {
    /// The increment that nice(1) takes.
    fn increment(self) -> &'static str {
        match self {
            Priority::Low => "10",
            Priority::Lowest => "19",
        }
    }
}

/// Options of `niced`. `bench list environments` prints these comments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The fio to measure with instead of the installed one.
    fio: Option<AbsolutePath>,
    /// Priority of everything inside; `low` unless it is given.
    priority: Option<Priority>,
}

/// The kind.
pub struct Niced;

impl Kind for Niced {
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
        packages::require("nice").map(drop)
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
    let nice = packages::require("nice")?;
    let increment = options.priority.unwrap_or_default().increment();
    Ok(Prepared {
        fio: options.fio.map(|path| path.0),
        target: setting.target.as_ref().map(|checked| checked.path().display().to_string()),
        bench: setting.executable.display().to_string(),
        user: User::Process,
        host_network: None,
        plan_group: Cgroup::plan,
        limits: Limits { memory_bytes: Some(setting.memory_bytes), ..super::limits(setting) },
        programs: vec![nice.clone()],
        files: Vec::new(),
        is_copied: false,
        accelerator: None,
        accelerator_note: None,
        work_disk: None,
        filters: Some(0),
        root: None,
        scheduler: None,
        memory: format!("cgroup limit of {}", output::bytes(setting.memory_bytes)),
        isolation: format!("cgroup; nice {increment}"),
        storage: super::storage(setting),
        moved_by: "",
        start: Box::new(Agent { nice, increment }),
    })
}

/// Starts the agent.
struct Agent {
    /// Path of nice(1).
    nice: PathBuf,
    /// What it adds to the niceness.
    increment: &'static str,
}

impl Start for Agent {
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts> {
        Box::pin(async move {
            let mut spec = native::spec(setting, ground)?;
            spec.argv.splice(..0, prefix(&self.nice, self.increment));
            let mut command = ground.command(spec)?;
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let (agent, greeting, child) = greet_child(child.context("starting the agent")?).await?;
            Ok(Parts { agent, greeting, child: child.into(), running: Box::new(OnHost) })
        })
    }
}

/// The words before the agent's command.
fn prefix(nice: &Path, increment: &str) -> [String; 3] {
    [nice.display().to_string(), "-n".to_owned(), increment.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn its_options_are_read_and_refused() {
        let priority = |text: &str| options::read::<Options>(NAME, &read(text).unwrap().options).unwrap().priority;
        assert_eq!(priority("niced"), None);
        assert_eq!(priority("slow=niced:priority=lowest"), Some(Priority::Lowest));
        let error = read("niced:priority=high").unwrap_err().to_string();
        assert_eq!(error, "priority=high: it must be one of low, lowest");
    }

    #[test]
    fn the_agent_is_started_by_nice() {
        assert_eq!(prefix(Path::new("/usr/bin/nice"), Priority::Low.increment()), ["/usr/bin/nice", "-n", "10"]);
    }
}
