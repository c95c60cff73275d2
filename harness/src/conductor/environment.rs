//! An environment that can be started: its definition with everything that was found out once for the whole run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bench_agent::{Job, JobStatus, printable};
use bench_results::record::{self, Accelerator};
use bench_vm::Sources;
use bench_workloads::{EnvironmentDefinition, Network, Place};

use super::instance::{Instance, Setting};
use super::work::WorkPlan;
use crate::environments::{self, BENCH, Kind, Prepared};
use crate::host::{cpus, fingerprint, machine, packages};
use crate::netlab::{self, Interface, Route};

/// `PATH` of the user's own commands, alike everywhere.
pub const PATH: &str = bench_vm::SEARCH;

/// An environment of the run.
pub struct Environment {
    /// Name within the run.
    pub name: String,
    /// As the user or the suite wrote it.
    pub definition: EnvironmentDefinition,
    /// Its kind.
    kind: &'static dyn Kind,
    /// What its kind found out of it.
    pub prepared: Prepared,
    /// How it reaches the peer; absent when it has no network.
    pub route: Option<Route>,
    /// What a workload may know of where it is.
    pub place: Place,
    /// Files that measured tools and VMMs consist of, the copies that a container executes, and a guest's image: as they were
    /// when it was prepared.
    pub sources: Sources,
}

/// Characters of a row of the sameness table that are kept: it may hold words of a guest.
const ROW_LIMIT: usize = 4000;

impl Environment {
    /// Find out what the definition needs: programs, image, accelerator. `networked`: it needs a way to the peer, whether it
    /// says which or not.
    pub async fn prepare(
        definition: &EnvironmentDefinition,
        networked: bool,
        setting: &Setting,
    ) -> Result<Environment> {
        let kind = environments::kind_of(definition)?;
        let route = kind.route(definition, networked)?;
        let prepared = kind.prepare(definition, route, setting).await?;
        let place = place(&prepared, route, setting)?;
        Ok(Environment {
            name: definition.name.clone(),
            sources: sources(&prepared, &place, setting)?,
            place,
            definition: definition.clone(),
            kind,
            prepared,
            route,
        })
    }

    /// What executes the guest's instructions; only for guests.
    pub fn accelerator(&self) -> Option<Accelerator> {
        self.prepared.accelerator
    }

    /// Its entry in the record, from one started instance.
    pub async fn record(&self, instance: &mut Instance<'_>, setting: &Setting) -> Result<record::Environment> {
        Ok(record::Environment {
            name: self.name.clone(),
            kind: self.kind.name().to_owned(),
            class: Some(self.kind.class()),
            capabilities: Some(self.kind.capabilities().iter().copied().collect::<BTreeSet<_>>()),
            definition: self.definition.to_string(),
            accelerator: self.accelerator(),
            accelerator_note: self.prepared.accelerator_note.clone(),
            work: setting.work.as_ref().map(|plan| plan.record(self.prepared.work_disk.as_ref())),
            own_rates_per_s: BTreeMap::new(),
            sameness: self.sameness(instance, setting).await?,
        })
    }

    /// Its facts for the fingerprint.
    pub fn describe(&self, facts: &mut fingerprint::Fingerprint) {
        self.prepared.start.describe(facts);
    }

    /// The rows of the sameness table; refuses an environment whose tools are not the host's.
    async fn sameness(&self, instance: &mut Instance<'_>, setting: &Setting) -> Result<BTreeMap<String, String>> {
        let mut rows = BTreeMap::new();
        for (tool, inside, outside) in self.tools(setting) {
            rows.insert(format!("{tool} sha256"), same_file(instance, &inside, &outside).await?);
        }
        if let Some(plan) = &setting.work {
            rows.extend(plan.programs(instance).await?);
        }
        if let Some(route) = self.route {
            self.network_rows(route, instance, setting, &mut rows).await?;
        }
        let filters = self.filters(instance).await?;
        let root = self.root(instance).await?;
        let mut row = |axis: &str, value: String| drop(rows.insert(axis.to_owned(), printable(&value, ROW_LIMIT)));
        row("kernel", instance.greeting.kernel_release.clone());
        row("cpus", format!("{} ({})", instance.greeting.cpus, cpus::format(&setting.cpus)));
        row("clock source", instance.greeting.clock_source.clone().unwrap_or_else(|| "unknown".into()));
        row("memory", self.prepared.memory.clone());
        row("isolation", self.prepared.isolation.clone());
        row("seccomp filters", filters.to_string());
        row("root file system", root);
        if let Some(plan) = &setting.work {
            row("work folder", plan.row(self.prepared.work_disk.as_ref()));
        }
        if let Some(storage) = &self.prepared.storage {
            row("storage path", storage.clone());
            row("I/O scheduler", self.scheduler(instance, setting).await?);
        }
        Ok(rows)
    }

    /// Filters of system calls that hold programs inside, read back; refuses another number than it should have.
    async fn filters(&self, instance: &mut Instance<'_>) -> Result<u64> {
        const STATUS: &str = "/proc/self/status";
        let inside = instance.agent.texts(vec![STATUS.to_owned()]).await?.into_iter().next().flatten();
        let found = machine::seccomp_filters(&inside.unwrap_or_default())
            .context("reading which filters of system calls are inside")?;
        let own = std::fs::read_to_string(STATUS).context("reading /proc/self/status")?;
        let outside = machine::seccomp_filters(&own).unwrap_or_default();
        let expected = self.prepared.filters.map_or(0, |own| outside + own);
        ensure!(found == expected, "programs inside are under {found} seccomp filters, and not under {expected}");
        Ok(found)
    }

    /// Type of the file system of its root, read back; refuses another than it should be.
    async fn root(&self, instance: &mut Instance<'_>) -> Result<String> {
        const MOUNTS: &str = "/proc/self/mountinfo";
        let inside = instance.agent.texts(vec![MOUNTS.to_owned()]).await?.into_iter().next().flatten();
        let found =
            machine::root_file_system(&inside.unwrap_or_default()).context("reading what the root inside is")?;
        let expected = self.prepared.root.unwrap_or(&found);
        ensure!(found == expected, "the root inside is on {found}, and not on {expected}");
        Ok(found)
    }

    /// The measured tools: name, path inside, path outside. Our own executable is one where it is the probe.
    fn tools(&self, setting: &Setting) -> Vec<(&'static str, String, String)> {
        let mut tools = vec![("fio", self.place.fio.clone(), self.place.fio.clone())];
        if let Some(network) = &self.place.network {
            tools.push(("iperf3", network.iperf3.clone(), network.iperf3.clone()));
            tools.push(("bench", network.bench.clone(), setting.executable.display().to_string()));
        }
        tools
    }

    /// How it reaches the peer, and what its device and its TCP are set to.
    async fn network_rows(
        &self,
        route: Route,
        instance: &mut Instance<'_>,
        setting: &Setting,
        rows: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let device = self.interface(instance).await?;
        let sysctls = netlab::sysctls();
        let values = instance.agent.texts(sysctls.map(|(name, _)| format!("/proc/sys/{name}")).to_vec()).await?;
        for ((name, wanted), value) in sysctls.iter().zip(values) {
            let value = value.unwrap_or_default().trim().to_owned();
            ensure!(
                value == *wanted,
                "{name} inside is `{value}`, not `{wanted}`: TCP would not be the same everywhere"
            );
        }
        let tcp = sysctls.map(|(_, value)| value.split_whitespace().last().unwrap_or(value));
        let lab = &instance.network.as_ref().context("it has no network")?.lab;
        let others: Vec<_> = lab.devices()?.into_iter().map(|(name, other)| format!("{name}: {other}")).collect();
        let mut row = |axis: &str, value: String| drop(rows.insert(axis.to_owned(), printable(&value, ROW_LIMIT)));
        row("network devices on the way", others.join("; "));
        row("network path", format!("{}{}", route.text(), self.prepared.moved_by));
        row("network MTU", format!("{} bytes", device.mtu));
        row("network queue", device.qdisc.clone());
        row("network offloads", device.offloads_on());
        row("TCP", format!("{}, buffers up to {} and {} bytes", tcp[2], tcp[0], tcp[1]));
        row("peer", format!("{} on CPUs {}", netlab::PEER, cpus::format(&setting.peer_cpus)));
        Ok(())
    }

    /// Its device on the way to the peer, as it sees it.
    pub async fn interface(&self, instance: &mut Instance<'_>) -> Result<Interface> {
        let network = self.place.network.as_ref().context("it has no network")?;
        let name = netlab::device(self.route.context("it has no network")?);
        let argv = [&network.bench, "probe", "interface", name].map(str::to_owned).to_vec();
        let output = instance.agent.execute(&Job { argv, deadline_ns: 20_000_000_000, ..Job::default() }).await?;
        ensure!(
            output.status == JobStatus::Exited(0),
            "asking for the settings of {name}: {}",
            output.stderr.text().trim()
        );
        serde_json::from_slice(&output.stdout.0).with_context(|| format!("reading the settings of {name}"))
    }

    async fn scheduler(&self, instance: &mut Instance<'_>, setting: &Setting) -> Result<String> {
        if let Some(path) = self.prepared.scheduler {
            let text = instance.agent.texts(vec![path.to_owned()]).await?.into_iter().next().flatten();
            return Ok(format!("{} in the guest", text.unwrap_or_default().trim()));
        }
        let disk = setting.target.as_ref().and_then(|target| target.disk.as_ref());
        Ok(disk.and_then(|disk| disk.attribute("queue/scheduler")).unwrap_or_else(|| "unknown".into()))
    }
}

/// As they are now.
fn sources(prepared: &Prepared, place: &Place, setting: &Setting) -> Result<Sources> {
    let mut programs = Vec::new();
    if setting.target.is_some() {
        programs.push(PathBuf::from(&place.fio));
    }
    programs.extend(setting.work.iter().flat_map(WorkPlan::executed_in_place));
    programs.extend(place.network.iter().map(|network| PathBuf::from(&network.iperf3)));
    programs.extend(prepared.programs.iter().cloned());
    let mut sources = Sources::of(&programs).context("finding the files that measured programs need")?;
    if prepared.is_copied {
        sources.add_copies(&setting.tree.path);
    }
    prepared.files.iter().for_each(|path| sources.add(path));
    sources.add(&setting.executable);
    Ok(sources)
}

/// The digest of a file inside, which must be that of the file outside.
pub async fn same_file(instance: &mut Instance<'_>, inside: &str, outside: &str) -> Result<String> {
    let found = instance.agent.digests(vec![inside.to_owned()]).await?.into_iter().next().flatten();
    let found = found.with_context(|| format!("{inside} cannot be read inside"))?;
    let expected = bench_agent::sha256(Path::new(outside)).with_context(|| format!("reading {outside}"))?;
    ensure!(
        found == expected,
        "{inside} inside is another file than {outside} on the host; remove the image with `bench image remove`"
    );
    Ok(found)
}

fn place(prepared: &Prepared, route: Option<Route>, setting: &Setting) -> Result<Place> {
    let fio = match &prepared.fio {
        Some(path) => path.clone(),
        None => packages::require("fio")?,
    };
    let network = match route {
        Some(_) => Some(network(prepared)?),
        None => None,
    };
    Ok(Place {
        target: prepared.target.clone(),
        network,
        size_bytes: setting.target.as_ref().map_or(0, |checked| checked.target.size_bytes),
        fio: fio.display().to_string(),
        bench: prepared.bench.clone(),
        path_env: PATH.to_owned(),
    })
}

fn network(prepared: &Prepared) -> Result<Network> {
    Ok(Network {
        peer: netlab::PEER.to_string(),
        iperf3: packages::require("iperf3")?.display().to_string(),
        bench: prepared.bench.clone(),
        peers_bench: BENCH.to_owned(),
    })
}
