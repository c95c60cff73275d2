//! `oci`: the agent in a container that a runtime of the Open Container Initiative makes: runc, crun, youki and others.
//!
//! Everything but the runtime is as in a container of `bench` itself: the tools tree as read-only root, namespaces, capabilities, limits, and
//! what is hidden. The runtime makes the container's group below that of the instance, so that all of it is counted and killed together.

mod config;
mod instance;
mod runtime;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use bench_container::{Cgroup, Limits};
use bench_results::record::Class;
use bench_workloads::{EnvironmentDefinition, EnvironmentError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::contained::{self, ROUTES, Seccomp, TARGET, Walls};
use super::options::{self, AbsolutePath, Described, Net};
use super::{BENCH, Doing, Kind, Prepared};
use crate::conductor::instance::{Ground, Setting};
use crate::host::packages;
use crate::host::target::Checked;
use crate::netlab::{Route, User};
use crate::output;
use instance::Containers;
use runtime::Runtime;

const NAME: &str = "oci";

/// Options of `oci`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The runtime's program.
    runtime: Option<AbsolutePath>,
    /// The fio to measure with instead of the installed one.
    fio: Option<AbsolutePath>,
    /// Docker's filter of system calls, or none.
    seccomp: Option<Seccomp>,
    /// How it reaches the peer.
    #[serde(deserialize_with = "contained::net")]
    #[schemars(extend("enum" = ROUTES))]
    net: Option<Net>,
}

impl Options {
    /// With the runtime, without which there is nothing.
    fn of(written: &BTreeMap<String, String>) -> Result<(Options, AbsolutePath), EnvironmentError> {
        let options: Options = options::read(NAME, written)?;
        let runtime = options.runtime.clone();
        let missing =
            || EnvironmentError::Missing { kind: NAME.to_owned(), option: "runtime", example: "/usr/sbin/runc" };
        Ok((options, runtime.ok_or_else(missing)?))
    }
}

/// The kind.
pub struct Oci;

impl Kind for Oci {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        Class::Container
    }

    fn options(&self) -> Vec<Described> {
        options::describe::<Options>()
    }

    fn check_option(&self, option: &str, value: &str) -> Result<(), EnvironmentError> {
        options::check::<Options>(NAME, option, value)
    }

    fn check_options(&self, options: &BTreeMap<String, String>) -> Result<(), EnvironmentError> {
        Options::of(options).map(drop)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["fio", "runtime"]
    }

    fn route(&self, definition: &EnvironmentDefinition, networked: bool) -> Result<Option<Route>> {
        Ok(Net::route(Options::of(&definition.options)?.0.net, networked, Route::Nat))
    }

    fn check(&self, definition: &EnvironmentDefinition, _target: Option<&Checked>) -> Result<()> {
        Options::of(&definition.options)?;
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        definition: &'a EnvironmentDefinition,
        route: Option<Route>,
        setting: &'a Setting,
    ) -> Doing<'a, Prepared> {
        Box::pin(prepare(definition, route, setting))
    }
}

async fn prepare(definition: &EnvironmentDefinition, route: Option<Route>, setting: &Setting) -> Result<Prepared> {
    let (options, runtime) = Options::of(&definition.options)?;
    packages::check_program("runtime", &runtime.0)?;
    let walls = Walls::of(options.seccomp, route);
    // Whatever it starts to answer is killed with its group.
    let ground = Ground::prepare(&setting.ledger, &setting.next_name(), &super::limits(setting))?;
    let runtime = Runtime::ask(runtime.0, &ground).await?;
    drop(ground);
    ensure!(
        !walls.seccomp || runtime.has_seccomp,
        "{} was built without filters of system calls, as it says itself: use seccomp=unconfined",
        runtime.program.display()
    );
    let mut namespaces = walls.namespaces();
    namespaces.retain(|kind| runtime.has_namespace(*kind));
    Ok(Prepared {
        fio: options.fio.map(|path| path.0),
        target: setting.target.as_ref().map(|_| TARGET.to_owned()),
        bench: BENCH.to_owned(),
        user: if walls.host_network { User::Process } else { User::Container },
        host_network: None,
        plan_group: Cgroup::plan,
        limits: Limits { memory_bytes: Some(setting.memory_bytes), ..super::limits(setting) },
        programs: vec![runtime.program.clone()],
        files: Vec::new(),
        is_copied: true,
        accelerator: None,
        accelerator_note: None,
        work_disk: None,
        filters: Some(u64::from(walls.seccomp)),
        root: None,
        scheduler: None,
        memory: format!("cgroup limit of {}", output::bytes(setting.memory_bytes)),
        isolation: format!("{}; {}", runtime.version, walls.isolation(&namespaces)),
        storage: super::storage(setting).map(|what| format!("{what}, bind-mounted")),
        moved_by: "",
        start: Box::new(Containers { runtime: Arc::new(runtime), namespaces, walls }),
    })
}
