//! `docker`: the agent in a container of Docker's engine, as Docker starts it by default. The engine is the machine's, or one that is
//! started for the run. It is spoken to by its API, never by its command line.

mod container;
mod engine;
mod image;
mod private;

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Result, ensure};
use bench_container::{Cgroup, Limits};
use bench_results::record::{Capability, Class};
use bench_workloads::{EnvironmentDefinition, EnvironmentError};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::options::{self, AbsolutePath, Described, Net};
use super::{BENCH, Doing, Kind, Prepared};
use crate::conductor::instance::Setting;
use crate::host::target::Checked;
use crate::netlab::{Route, User};
use crate::output;
use container::{Contained, Walls};
use engine::{Engine, Which};
pub use engine::{EngineObject, Engines, SayEngine, remove_of_engine, say_engine};

const NAME: &str = "docker";
/// Where the target is inside.
const TARGET: &str = "/target";

/// What the option `net` takes: Docker's own names, of which `bridge` is that of its NAT.
const ROUTES: &[&str] = &["none", "host", "bridge"];

/// Options of `docker`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The fio to measure with instead of the installed one.
    fio: Option<AbsolutePath>,
    /// Whose engine; the machine's where one answers, unless it is said.
    engine: Option<Which>,
    /// The engine's own filter of system calls, or none.
    seccomp: Seccomp,
    /// How it reaches the peer: by the engine's bridge and NAT, by the host's link, or not at all.
    #[serde(deserialize_with = "net")]
    #[schemars(extend("enum" = ROUTES))]
    net: Option<Net>,
    /// The runtime that starts containers, by the name under which the engine knows it; the engine's default unless it is said.
    #[schemars(with = "String", extend("title" = "NAME"))]
    runtime: Option<Runtime>,
}

/// Filters of system calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Seccomp {
    /// The engine's default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
}

/// The name of a runtime.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Runtime(String);

impl TryFrom<String> for Runtime {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_one = (1..=64).contains(&text.len()) && text.chars().all(is_name);
        if is_one { Ok(Runtime(text)) } else { Err("the name of a runtime that the engine knows") }
    }
}

fn net<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Net>, D::Error> {
    Net::one_of(written, ROUTES)
}

/// The kind.
pub struct Docker;

impl Kind for Docker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        Class::Container
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Docker]
    }

    fn options(&self) -> Vec<Described> {
        options::describe::<Options>()
    }

    fn check_option(&self, option: &str, value: &str) -> Result<(), EnvironmentError> {
        options::check::<Options>(NAME, option, value)
    }

    fn route(&self, definition: &EnvironmentDefinition, networked: bool) -> Result<Option<Route>> {
        let options: Options = options::read(NAME, &definition.options)?;
        let route = match Net::route(options.net, networked, Route::Engine) {
            Some(Route::Direct) => Some(Route::Direct),
            asked => asked.map(|_| Route::Engine),
        };
        ensure!(
            route.is_none() || options.engine != Some(Which::Machine),
            "`{}` with a network has an engine of the run's own, in the lab: bench never touches the machine's firewall. Leave out \
             engine=machine",
            definition.name
        );
        Ok(route)
    }

    fn check(&self, definition: &EnvironmentDefinition, _target: Option<&Checked>) -> Result<()> {
        let options: Options = options::read(NAME, &definition.options)?;
        let is_networked = options.net.is_some_and(|net| net.0.is_some());
        engine::check(if is_networked { Some(Which::Private) } else { options.engine })
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
    ensure!(
        setting.work.is_none(),
        "`{}` cannot execute commands yet: they work in a file system of their own, which Docker would have to mount",
        definition.name
    );
    let options: Options = options::read(NAME, &definition.options)?;
    // Labs of two environments are there at once, and a namespace has one link to the peer.
    let engine = match route {
        Some(route) => Rc::new(Engine::prepare(Which::Private, Some(route), setting).await?),
        None => setting.shared.engines.of(options.engine, setting).await?,
    };
    let host_network = engine.own.as_ref().filter(|_| route.is_some()).map(|own| own.network.clone());
    let target = setting.target.as_ref();
    let handed_in = if target.is_some_and(|checked| checked.target.is_device) { "a device" } else { "bind-mounted" };
    let programs = engine.programs();
    let walls =
        Walls { is_filtered: options.seccomp == Seccomp::Default, runtime: options.runtime.map(|name| name.0), route };
    let contained = Contained::new(engine, walls, target)?;
    Ok(Prepared {
        fio: options.fio.map(|path| path.0),
        target: target.map(|_| TARGET.to_owned()),
        bench: BENCH.to_owned(),
        user: User::Process,
        host_network,
        plan_group: Cgroup::plan_at_top,
        limits: Limits { memory_bytes: Some(setting.memory_bytes), ..super::limits(setting) },
        programs,
        files: Vec::<PathBuf>::new(),
        is_copied: true,
        accelerator: None,
        accelerator_note: None,
        work_disk: None,
        filters: Some(u64::from(options.seccomp == Seccomp::Default)),
        root: None,
        scheduler: None,
        memory: format!("cgroup limit of {}", output::bytes(setting.memory_bytes)),
        isolation: contained.isolation(),
        storage: super::storage(setting).map(|what| format!("{what}, {handed_in}")),
        moved_by: "",
        start: Box::new(contained),
    })
}

/// What a program said, in one line that is harmless.
fn one_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    bench_agent::printable(&lines.join(" | "), text.len() * 2)
}
