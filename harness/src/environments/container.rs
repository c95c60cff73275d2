//! `container`: the agent behind Docker's six namespaces, the tools tree as its read-only root.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use bench_container::{Cgroup, IoLimit, Limits, Namespace, Root, Spec, UserMap};
use bench_results::record::Class;
use bench_workloads::{EnvironmentDefinition, EnvironmentError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::contained::{self, HOSTNAME, Inside, ROUTES, RootKind, Seccomp, TARGET, Walls};
use super::options::{self, AbsolutePath, Count, Described, Net, YesNo};
use super::{BENCH, Doing, Kind, OnHost, Parts, Prepared, Start};
use crate::conductor::instance::{Ground, Setting, greet_child};
use crate::host::disk::Disk;
use crate::host::target::Checked;
use crate::netlab::{Route, User};
use crate::output;

const NAME: &str = "container";
/// Ids of a user namespace here: the host's, so that the target is its root's as it is that of every other environment.
const HOST_IDS: UserMap = UserMap { first: 0, count: 65_536 };
/// Why a throttle cannot be had.
const NO_DISK: &str =
    "read_iops and write_iops throttle the disk beneath the target, and there is none that can be named";

/// Options of `container`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The fio to measure with instead of the installed one.
    fio: Option<AbsolutePath>,
    /// A user namespace as well.
    userns: Option<YesNo>,
    /// Docker's filter of system calls, or none.
    seccomp: Option<Seccomp>,
    /// The tools tree read-only, or below a writable layer, as Docker has images.
    root: Option<RootKind>,
    /// How it reaches the peer.
    #[serde(deserialize_with = "contained::net")]
    #[schemars(extend("enum" = ROUTES))]
    net: Option<Net>,
    /// Most reads of the target's disk a second.
    read_iops: Option<Count>,
    /// Most writes to it a second.
    write_iops: Option<Count>,
}

/// The kind.
pub struct Container;

impl Kind for Container {
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

    fn route(&self, definition: &EnvironmentDefinition, networked: bool) -> Result<Option<Route>> {
        let options: Options = options::read(NAME, &definition.options)?;
        Ok(Net::route(options.net, networked, Route::Nat))
    }

    fn check(&self, definition: &EnvironmentDefinition, target: Option<&Checked>) -> Result<()> {
        let options: Options = options::read(NAME, &definition.options)?;
        let is_throttled = options.read_iops.or(options.write_iops).is_some();
        ensure!(!is_throttled || target.is_some_and(|target| target.disk.is_some()), NO_DISK);
        Ok(())
    }

    fn prepare<'a>(
        &'a self,
        definition: &'a EnvironmentDefinition,
        route: Option<Route>,
        setting: &'a Setting,
    ) -> Doing<'a, Prepared> {
        Box::pin(async move { prepare(definition, route, setting) })
    }
}

fn prepare(definition: &EnvironmentDefinition, route: Option<Route>, setting: &Setting) -> Result<Prepared> {
    let options: Options = options::read(NAME, &definition.options)?;
    let shell = Shell::of(&options, route, setting)?;
    Ok(Prepared {
        fio: options.fio.map(|path| path.0),
        target: setting.target.as_ref().map(|_| TARGET.to_owned()),
        bench: BENCH.to_owned(),
        user: if shell.walls.host_network { User::Process } else { User::Container },
        host_network: None,
        plan_group: Cgroup::plan,
        limits: Limits {
            memory_bytes: Some(setting.memory_bytes),
            io: shell.io.into_iter().collect(),
            ..super::limits(setting)
        },
        programs: Vec::new(),
        files: Vec::new(),
        is_copied: true,
        accelerator: None,
        accelerator_note: None,
        work_disk: None,
        filters: Some(u64::from(shell.walls.seccomp)),
        root: shell.walls.overlay.then_some("overlay"),
        scheduler: None,
        memory: format!("cgroup limit of {}", output::bytes(setting.memory_bytes)),
        isolation: shell.walls.isolation(&shell.namespaces()),
        storage: super::storage(setting).map(|what| format!("{what}, bind-mounted{}", shell.throttle())),
        moved_by: "",
        start: Box::new(shell),
    })
}

/// What is around the agent.
#[derive(Debug, Clone, Copy)]
struct Shell {
    /// A user namespace as well.
    user: bool,
    /// What is between it and the host.
    walls: Walls,
    /// Throttle of the target's disk.
    io: Option<IoLimit>,
}

impl Shell {
    /// From the options, and how it reaches a peer.
    fn of(options: &Options, route: Option<Route>, setting: &Setting) -> Result<Shell> {
        let (read_iops, write_iops) = (options.read_iops.map(|rate| rate.0), options.write_iops.map(|rate| rate.0));
        let io = match read_iops.or(write_iops) {
            None => None,
            Some(_) => {
                let disk = setting.target.as_ref().and_then(|target| target.disk.as_ref());
                let (major, minor) = disk.and_then(Disk::number).context(NO_DISK)?;
                Some(IoLimit { major, minor, read_iops, write_iops, ..IoLimit::default() })
            }
        };
        let overlay = options.root == Some(RootKind::Overlay);
        let walls = Walls { overlay, ..Walls::of(options.seccomp, route) };
        Ok(Shell { user: options.userns == Some(YesNo::Yes), walls, io })
    }

    /// The throttle in words, for the sameness table.
    fn throttle(self) -> String {
        let said = |rate: Option<u64>, what| rate.map(|rate| format!(", at most {rate} {what} a second"));
        let Some(io) = self.io else { return String::new() };
        [said(io.read_iops, "reads"), said(io.write_iops, "writes")].into_iter().flatten().collect()
    }

    /// The namespaces of its own that the container has.
    fn namespaces(self) -> Vec<Namespace> {
        let mut all = self.walls.namespaces();
        if self.user {
            all.push(Namespace::User);
        }
        all
    }

    /// The agent as the container's process 1.
    fn spec(self, setting: &Setting, ground: &Ground<'_>) -> Result<Spec> {
        let Inside { argv, binds, work } = Inside::of(setting, ground)?;
        let is_alone = ground.network.is_none();
        Ok(Spec {
            argv,
            // A namespace of the lab is entered, not made.
            namespaces: self.namespaces().into_iter().filter(|kind| *kind != Namespace::Net || is_alone).collect(),
            root: Some(Root { tree: setting.tree.path.clone(), binds, overlay: self.walls.overlay }),
            work,
            seccomp: self.walls.seccomp,
            hostname: Some(HOSTNAME.to_owned()),
            user_map: self.user.then_some(HOST_IDS),
            parent_death_signal: true,
            ..Spec::default()
        })
    }
}

impl Start for Shell {
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts> {
        Box::pin(async move {
            let mut command = ground.command(self.spec(setting, ground)?)?;
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let (agent, greeting, child) = greet_child(child.context("starting the container")?).await?;
            Ok(Parts { agent, greeting, child: child.into(), running: Box::new(OnHost) })
        })
    }
}
