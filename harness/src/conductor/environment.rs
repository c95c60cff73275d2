//! An environment that can be started: its definition with everything that was found out once for the whole run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench_agent::{Job, JobStatus, printable};
use bench_container::Limits;
use bench_results::record::{self, Accelerator, Capability, Class};
use bench_vm::{Config, Disk, Sources, Tap};
use bench_workloads::{EnvironmentDefinition, Kind, Network, Place};

use super::instance::{Instance, Setting};
use super::work::WorkPlan;
use super::{accelerator, container, vm};
use crate::host::{cpus, fingerprint, machine, packages};
use crate::netlab::{self, Interface, Route, User};
use crate::output;

/// `PATH` of the user's own commands, alike everywhere.
pub const PATH: &str = bench_vm::SEARCH;

/// How to start it.
#[derive(Debug, Clone)]
pub enum Start {
    /// A process in its own cgroup.
    Native,
    /// Our container.
    Container(container::Options),
    /// A QEMU guest.
    Vm(Box<vm::Machine>),
}

/// An environment of the run.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Name within the run.
    pub name: String,
    /// As the user or the suite wrote it.
    pub definition: EnvironmentDefinition,
    /// How to start it.
    pub start: Start,
    /// How it reaches the peer; absent when it has no network.
    pub route: Option<Route>,
    /// What a workload may know of where it is.
    pub place: Place,
    /// Files that measured tools and QEMU consist of, the copies that a container executes, and a guest's image: as they were
    /// when it was prepared.
    pub sources: Sources,
    /// Why it has the accelerator it has, when that is not the best.
    pub accelerator_note: Option<String>,
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
        let route = route(definition, networked);
        let (start, accelerator_note) = match definition.kind {
            Kind::Native => (Start::Native, None),
            Kind::Container => (Start::Container(container::Options::of(definition, route, setting)?), None),
            Kind::Vm => {
                let patience = vm::Patience::of(definition.options.get("boot-timeout").map(String::as_str));
                let (config, note) = guest(definition, route, setting, patience.probe).await?;
                (Start::Vm(Box::new(vm::Machine { config, patience: patience.boot })), note)
            }
        };
        let place = place(definition, route, setting)?;
        Ok(Environment {
            name: definition.name.clone(),
            sources: sources(&start, &place, setting)?,
            place,
            definition: definition.clone(),
            start,
            route,
            accelerator_note,
        })
    }

    /// Who uses a lab with this route.
    pub fn lab_user(&self, route: Route) -> User {
        match self.start {
            Start::Vm(_) => User::Guest,
            Start::Container(_) if route != Route::Direct => User::Container,
            Start::Native | Start::Container(_) => User::Process,
        }
    }

    /// What executes the guest's instructions; only for guests.
    pub fn accelerator(&self) -> Option<Accelerator> {
        match &self.start {
            Start::Vm(machine) => Some(match machine.config.accelerator {
                bench_vm::Accelerator::Kvm => Accelerator::Kvm,
                bench_vm::Accelerator::Tcg => Accelerator::Tcg,
            }),
            Start::Native | Start::Container(_) => None,
        }
    }

    /// Class of its kind.
    fn class(&self) -> Class {
        match self.start {
            Start::Native => Class::Process,
            Start::Container(_) => Class::Container,
            Start::Vm(_) => Class::Vm,
        }
    }

    /// What it has that others have not.
    fn capabilities(&self) -> BTreeSet<Capability> {
        match self.start {
            Start::Native | Start::Container(_) => BTreeSet::new(),
            Start::Vm(_) => [Capability::OwnKernel, Capability::Vmm].into(),
        }
    }

    /// Limits of its cgroup. QEMU's memory is accounted, not limited: the guest's RAM is the limit.
    pub fn limits(&self, setting: &Setting) -> Limits {
        let memory_bytes = match self.start {
            Start::Vm(_) => None,
            Start::Native | Start::Container(_) => Some(setting.memory_bytes),
        };
        let io = match self.start {
            Start::Container(options) => options.io.into_iter().collect(),
            Start::Native | Start::Vm(_) => Vec::new(),
        };
        Limits { cpus: Some(cpus::format(&setting.cpus)), memory_bytes, io, ..Limits::default() }
    }

    /// Its entry in the record, from one started instance.
    pub async fn record(&self, instance: &mut Instance<'_>, setting: &Setting) -> Result<record::Environment> {
        Ok(record::Environment {
            name: self.name.clone(),
            kind: self.definition.kind.name().to_owned(),
            class: Some(self.class()),
            capabilities: Some(self.capabilities()),
            definition: self.definition.to_string(),
            accelerator: self.accelerator(),
            accelerator_note: self.accelerator_note.clone(),
            work: setting.work.as_ref().map(|plan| plan.record(self.work_disk())),
            own_rates_per_s: BTreeMap::new(),
            sameness: self.sameness(instance, setting).await?,
        })
    }

    /// Its facts for the fingerprint.
    pub fn describe(&self, facts: &mut fingerprint::Fingerprint) {
        if let Start::Vm(machine) = &self.start {
            let image = &machine.config.image;
            fingerprint::tool(facts, "qemu", &machine.config.qemu);
            facts.insert("guest.kernel.release".into(), image.kernel_release.clone());
            if let Ok(digest) = bench_agent::sha256(&image.kernel) {
                facts.insert("guest.kernel.sha256".into(), digest);
            }
            let accelerator = machine.config.accelerator.to_string();
            facts.insert("guest.accelerator".into(), accelerator);
        }
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
        let mut row = |axis: &str, value: String| drop(rows.insert(axis.to_owned(), printable(&value, ROW_LIMIT)));
        row("kernel", instance.greeting.kernel_release.clone());
        row("cpus", format!("{} ({})", instance.greeting.cpus, cpus::format(&setting.cpus)));
        row("clock source", instance.greeting.clock_source.clone().unwrap_or_else(|| "unknown".into()));
        row("memory", self.memory(setting));
        row("isolation", self.isolation(setting));
        row("seccomp filters", filters.to_string());
        if let Some(plan) = &setting.work {
            row("work folder", plan.row(self.work_disk()));
        }
        if setting.target.is_some() {
            row("storage path", self.storage_path(setting));
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
        let expected = match self.start {
            Start::Vm(_) => 0,
            Start::Native => outside,
            Start::Container(options) => outside + u64::from(options.seccomp),
        };
        ensure!(found == expected, "programs inside are under {found} seccomp filters, and not under {expected}");
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
        let vhost = match &self.start {
            Start::Vm(machine) => machine.config.network.as_ref().map(|tap| tap.vhost),
            _ => None,
        };
        let vhost =
            vhost.map_or("", |on| if on { "; virtio-net with vhost" } else { "; virtio-net by QEMU, no vhost" });
        let tcp = sysctls.map(|(_, value)| value.split_whitespace().last().unwrap_or(value));
        let lab = &instance.network.as_ref().context("it has no network")?.lab;
        let others: Vec<_> = lab.devices()?.into_iter().map(|(name, other)| format!("{name}: {other}")).collect();
        let mut row = |axis: &str, value: String| drop(rows.insert(axis.to_owned(), printable(&value, ROW_LIMIT)));
        row("network devices on the way", others.join("; "));
        row("network path", format!("{}{vhost}", route.text()));
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

    fn memory(&self, setting: &Setting) -> String {
        let size = output::bytes(setting.memory_bytes);
        match self.start {
            Start::Vm(_) => format!("{size} of guest RAM"),
            Start::Native | Start::Container(_) => format!("cgroup limit of {size}"),
        }
    }

    fn isolation(&self, setting: &Setting) -> String {
        match &self.start {
            Start::Native if setting.work.is_some() => "cgroup; mount namespace for the work folder".to_owned(),
            Start::Native => "cgroup only".to_owned(),
            Start::Container(options) => options.isolation(),
            Start::Vm(machine) => format!("its own kernel on QEMU ({})", machine.config.accelerator),
        }
    }

    /// The disk that commands work on; only of guests.
    fn work_disk(&self) -> Option<&Disk> {
        match &self.start {
            Start::Vm(machine) => machine.config.work.as_ref(),
            Start::Native | Start::Container(_) => None,
        }
    }

    fn storage_path(&self, setting: &Setting) -> String {
        let Some(target) = setting.target.as_ref().map(|target| &target.target) else { return String::new() };
        let what = match &target.file_system {
            Some(name) => format!("file on {name}"),
            None => "block device".to_owned(),
        };
        match &self.start {
            Start::Native => what,
            Start::Container(options) => format!("{what}, bind-mounted{}", options.throttle()),
            Start::Vm(machine) => match &machine.config.target {
                Some(disk) => format!("{what}, raw virtio-blk disk ({disk})"),
                None => what,
            },
        }
    }

    async fn scheduler(&self, instance: &mut Instance<'_>, setting: &Setting) -> Result<String> {
        if let Start::Vm(_) = self.start {
            let path = bench_vm::TARGET_SCHEDULER.to_owned();
            let text = instance.agent.texts(vec![path]).await?.into_iter().next().flatten();
            return Ok(format!("{} in the guest", text.unwrap_or_default().trim()));
        }
        let disk = setting.target.as_ref().and_then(|target| target.disk.as_ref());
        Ok(disk.and_then(|disk| disk.attribute("queue/scheduler")).unwrap_or_else(|| "unknown".into()))
    }
}

/// As they are now.
fn sources(start: &Start, place: &Place, setting: &Setting) -> Result<Sources> {
    let mut programs = Vec::new();
    if setting.target.is_some() {
        programs.push(PathBuf::from(&place.fio));
    }
    programs.extend(setting.work.iter().flat_map(WorkPlan::executed_in_place));
    programs.extend(place.network.iter().map(|network| PathBuf::from(&network.iperf3)));
    if let Start::Vm(machine) = start {
        programs.push(machine.config.qemu.clone());
    }
    let mut sources = Sources::of(&programs).context("finding the files that measured programs need")?;
    match start {
        Start::Native => {}
        Start::Container(_) => sources.add_copies(&setting.tree.path),
        Start::Vm(machine) => {
            let image = &machine.config.image;
            [&image.kernel, &image.initramfs, &image.root].into_iter().for_each(|path| sources.add(path));
        }
    }
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

/// How an environment reaches the peer: as it says; where it has to and does not say how, as containers and guests do by default.
pub fn route(definition: &EnvironmentDefinition, networked: bool) -> Option<Route> {
    match definition.options.get("net") {
        Some(name) => Route::named(name),
        None if !networked => None,
        None if definition.kind == Kind::Native => Some(Route::Direct),
        None => Some(Route::Nat),
    }
}

fn place(definition: &EnvironmentDefinition, route: Option<Route>, setting: &Setting) -> Result<Place> {
    let target = setting.target.as_ref().map(|checked| match definition.kind {
        Kind::Native => checked.path().display().to_string(),
        Kind::Container => container::TARGET.to_owned(),
        Kind::Vm => bench_vm::TARGET_IN_GUEST.to_owned(),
    });
    let fio = match definition.options.get("fio") {
        Some(path) => PathBuf::from(path),
        None => packages::require("fio")?,
    };
    let network = match route {
        Some(_) => Some(network(definition.kind, setting)?),
        None => None,
    };
    Ok(Place {
        target,
        network,
        size_bytes: setting.target.as_ref().map_or(0, |checked| checked.target.size_bytes),
        fio: fio.display().to_string(),
        path_env: PATH.to_owned(),
    })
}

fn network(kind: Kind, setting: &Setting) -> Result<Network> {
    let native = || setting.executable.display().to_string();
    Ok(Network {
        peer: netlab::PEER.to_string(),
        iperf3: packages::require("iperf3")?.display().to_string(),
        bench: if kind == Kind::Native { native() } else { container::BENCH.to_owned() },
        peers_bench: container::BENCH.to_owned(),
    })
}

/// The guest of a definition, without the paths of one instance, and why it is emulated if it is. `patience`: with KVM's first boot.
async fn guest(
    definition: &EnvironmentDefinition,
    route: Option<Route>,
    setting: &Setting,
    patience: Duration,
) -> Result<(Config, Option<String>)> {
    let option = |name: &str| definition.options.get(name).map(String::as_str);
    let qemu = match option("qemu") {
        Some(path) => PathBuf::from(path),
        None => packages::require("qemu-system-x86_64")?,
    };
    let image = crate::cmd::image::build(&setting.tree, option("kernel").map(Path::new))?;
    let least_bytes = image.least_memory_bytes()?;
    ensure!(
        setting.memory_bytes >= least_bytes,
        "a guest of {} has no room for its kernel and initramfs: give it at least {} with --memory",
        output::bytes(setting.memory_bytes),
        output::bytes(least_bytes.next_multiple_of(1 << 20))
    );
    let has_disk = setting.target.is_some() || setting.work.is_some();
    let disk = vm::disk(definition, &qemu, has_disk);
    let target = setting.target.as_ref().map(|checked| Disk {
        path: checked.path().to_path_buf(),
        is_device: checked.target.is_device,
        size_bytes: checked.target.size_bytes,
        ..disk.clone()
    });
    let mut config = Config {
        qemu,
        accelerator: bench_vm::Accelerator::Kvm,
        cpus: setting.cpus.len() as u32,
        memory_bytes: setting.memory_bytes,
        image,
        target,
        work: setting.work.as_ref().map(|plan| plan.disk(disk)),
        network: route.map(|_| Tap { name: netlab::PORT.to_owned(), vhost: netlab::has_vhost() }),
        emulated_host: machine::is_emulated(),
        mitigations: fingerprint::mitigations_option(),
        runtime_dir: PathBuf::new(),
    };
    let note = accelerator::choose(option("accel").unwrap_or("auto"), &mut config, setting, patience).await?;
    Ok((config, note))
}
