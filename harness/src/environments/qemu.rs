//! `vm`: a guest on a VMM, which is QEMU, in the instance's cgroup, the agent as its `/init`.

mod accelerator;
mod look;
mod machine;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bench_container::Cgroup;
use bench_results::record::{self, Capability, Class};
use bench_vm::{Disk, Guest, KvmVerdict, MachineType, QEMU, Tap, Vmm};
use bench_workloads::{EnvironmentDefinition, EnvironmentError};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::options::{self, AbsolutePath, Described, Net, Seconds, YesNo};
use super::{BENCH, Doing, Kind, Prepared};
use crate::conductor::instance::Setting;
use crate::host::target::Checked;
use crate::host::{fingerprint, machine as host, packages};
use crate::netlab::{self, Route, User};
use crate::{output, paths};
use machine::{Machine, Patience};

const NAME: &str = "vm";

/// Its ways to the peer.
const ROUTES: &[&str] = &["none", "bridge", "routed", "hook", "nat"];

/// Options of `vm`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The QEMU to boot with instead of the installed one.
    qemu: Option<AbsolutePath>,
    /// The kernel to boot instead of the host's.
    kernel: Option<AbsolutePath>,
    /// The fio to measure with instead of the installed one.
    fio: Option<AbsolutePath>,
    /// What executes the guest's instructions.
    accel: Accel,
    /// The type of machine that the guest has: with PCI Express, or without.
    machine: MachineName,
    /// How QEMU does I/O on the guest's disks; the best that QEMU and the host's kernel have, unless it is said.
    aio: Option<Aio>,
    /// How QEMU caches the guest's disks.
    cache: Cache,
    /// A thread of its own for the disks' I/O, unless `no`.
    iothread: Option<YesNo>,
    /// How long a boot may take.
    #[serde(rename = "boot-timeout")]
    boot_timeout: Option<Seconds>,
    /// How it reaches the peer.
    #[serde(deserialize_with = "net")]
    #[schemars(extend("enum" = ROUTES))]
    net: Option<Net>,
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Accel {
    /// KVM where it boots a guest, else emulation.
    #[default]
    Auto,
    /// KVM.
    Kvm,
    /// Emulation.
    Tcg,
}

/// QEMU's types of machines.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MachineName {
    /// A PC.
    #[default]
    Q35,
    /// No PCI: devices are on virtio-mmio, and found by ACPI.
    Microvm,
    /// For tests: a PC that nobody can ask anything.
    #[cfg(feature = "silent-vmm")]
    Silent,
}

/// QEMU's ways of doing I/O.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Aio {
    /// io_uring(7).
    IoUring,
    /// Linux's own asynchronous I/O.
    Native,
    /// A pool of threads.
    Threads,
}

impl Aio {
    /// As QEMU has it.
    fn text(self) -> &'static str {
        match self {
            Aio::IoUring => "io_uring",
            Aio::Native => "native",
            Aio::Threads => "threads",
        }
    }
}

/// QEMU's cache modes.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Cache {
    /// Past the page cache.
    #[default]
    None,
    /// Past the page cache, every write to the medium.
    DirectSync,
    /// Through the page cache.
    WriteBack,
    /// Through the page cache, every write to the medium.
    WriteThrough,
    /// Through the page cache, and nothing is flushed.
    Unsafe,
}

impl Cache {
    /// As QEMU has it.
    fn text(self) -> &'static str {
        match self {
            Cache::None => "none",
            Cache::DirectSync => "directsync",
            Cache::WriteBack => "writeback",
            Cache::WriteThrough => "writethrough",
            Cache::Unsafe => "unsafe",
        }
    }
}

fn net<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Net>, D::Error> {
    Net::one_of(written, ROUTES)
}

impl Options {
    fn of(definition: &EnvironmentDefinition) -> Result<Options, EnvironmentError> {
        options::read(NAME, &definition.options)
    }

    /// The QEMU that was asked for, or the installed one.
    fn qemu(&self) -> Result<PathBuf> {
        match &self.qemu {
            Some(path) => Ok(path.0.clone()),
            None => packages::require(QEMU),
        }
    }

    /// Where its guests get their machines from.
    fn vmm(&self) -> Result<Arc<dyn Vmm>> {
        let qemu = |machine| self.qemu().map(|program| bench_vm::Qemu { program, machine });
        let vmm: Arc<dyn Vmm> = match self.machine {
            MachineName::Q35 => Arc::new(qemu(MachineType::Q35)?),
            MachineName::Microvm => Arc::new(qemu(MachineType::Microvm)?),
            #[cfg(feature = "silent-vmm")]
            MachineName::Silent => Arc::new(bench_vm::Silent(qemu(MachineType::Q35)?)),
        };
        Ok(vmm)
    }

    /// Whether KVM boots a guest, where that can be told without one.
    fn known_of_kvm(&self, vmm: &dyn Vmm) -> Option<KvmVerdict> {
        let patience = Patience::of(self.boot_timeout).probe;
        KvmVerdict::at_a_glance().or_else(|| bench_vm::recall(&paths::roots_cache(), vmm, patience))
    }

    fn kernel(&self) -> Option<&Path> {
        self.kernel.as_ref().map(|path| path.0.as_path())
    }

    /// How the guest does I/O on its disks, whichever they are.
    fn disk(&self, vmm: &dyn Vmm, is_used: bool) -> Disk {
        let detect = || if is_used { vmm.best_aio() } else { "native" };
        Disk {
            path: PathBuf::new(),
            is_device: false,
            size_bytes: 0,
            cache: self.cache.text().to_owned(),
            aio: self.aio.map_or_else(detect, Aio::text).to_owned(),
            iothread: self.iothread != Some(YesNo::No),
        }
    }
}

/// The kind.
pub struct Qemu;

impl Kind for Qemu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        Class::Vm
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::OwnKernel, Capability::Vmm]
    }

    fn options(&self) -> Vec<Described> {
        options::describe::<Options>()
    }

    fn check_option(&self, option: &str, value: &str) -> Result<(), EnvironmentError> {
        options::check::<Options>(NAME, option, value)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["fio", "qemu"]
    }

    fn route(&self, definition: &EnvironmentDefinition, networked: bool) -> Result<Option<Route>> {
        Ok(Net::route(Options::of(definition)?.net, networked, Route::Nat))
    }

    /// What can be told without a boot.
    fn check(&self, definition: &EnvironmentDefinition, _target: Option<&Checked>) -> Result<()> {
        let options = Options::of(definition)?;
        let vmm = options.vmm()?;
        if let Some(kernel) = options.kernel() {
            bench_vm::check_kernel(kernel).with_context(|| format!("kernel={}", kernel.display()))?;
        }
        match options.known_of_kvm(&*vmm) {
            Some(verdict) if options.accel == Accel::Kvm => ensure!(verdict == KvmVerdict::Boots, "{verdict}"),
            _ => {}
        }
        Ok(())
    }

    fn is_emulated(&self, definition: &EnvironmentDefinition) -> Result<bool> {
        let options = Options::of(definition)?;
        Ok(match options.accel {
            Accel::Tcg => true,
            Accel::Kvm => false,
            Accel::Auto => options.known_of_kvm(&*options.vmm()?).is_some_and(|verdict| verdict != KvmVerdict::Boots),
        })
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
    let options = Options::of(definition)?;
    let patience = Patience::of(options.boot_timeout);
    let vmm = options.vmm()?;
    let guest = guest(&options, &*vmm, route, setting)?;
    let mut machine = Machine { vmm, guest, patience: patience.boot };
    let accelerator_note = accelerator::choose(options.accel, &mut machine, setting, patience.probe).await?;
    without_iothreads(&options, &mut machine)?;
    let Machine { vmm, guest, .. } = &machine;
    let accelerator = match guest.accelerator {
        bench_vm::Accelerator::Kvm => record::Accelerator::Kvm,
        bench_vm::Accelerator::Tcg => record::Accelerator::Tcg,
    };
    Ok(Prepared {
        fio: options.fio.map(|path| path.0),
        target: setting.target.as_ref().map(|_| bench_vm::TARGET_IN_GUEST.to_owned()),
        bench: BENCH.to_owned(),
        user: User::Guest,
        host_network: None,
        plan_group: Cgroup::plan,
        // The VMM's memory is accounted, not limited: the guest's RAM is the limit.
        limits: super::limits(setting),
        programs: vec![vmm.program().to_path_buf()],
        files: vec![guest.image.kernel.clone(), guest.image.initramfs.clone(), guest.image.root.clone()],
        is_copied: false,
        accelerator: Some(accelerator),
        accelerator_note,
        work_disk: guest.work.clone(),
        filters: None,
        root: None,
        scheduler: Some(bench_vm::TARGET_SCHEDULER),
        memory: format!("{} of guest RAM", output::bytes(setting.memory_bytes)),
        isolation: format!("its own kernel on {}, machine {} ({})", vmm.name(), vmm.machine(), guest.accelerator),
        storage: super::storage(setting).map(|what| match &guest.target {
            Some(disk) => format!("{what}, raw virtio-blk disk ({disk})"),
            None => what,
        }),
        moved_by: match &guest.network {
            Some(tap) if tap.vhost => "; virtio-net with vhost",
            Some(_) => "; virtio-net by the VMM, no vhost",
            None => "",
        },
        start: Box::new(machine),
    })
}

/// Where the machine has no threads of disks' own, it has none unless they were asked for.
fn without_iothreads(options: &Options, machine: &mut Machine) -> Result<()> {
    let Machine { vmm, guest, .. } = machine;
    if vmm.has_iothreads(guest.accelerator) {
        return Ok(());
    }
    ensure!(
        options.iothread != Some(YesNo::Yes),
        "iothread=yes: {} gives a disk of its machine {} a thread of its own under KVM only; leave the option away",
        vmm.name(),
        vmm.machine()
    );
    [&mut guest.target, &mut guest.work].into_iter().flatten().for_each(|disk| disk.iothread = false);
    Ok(())
}

/// The guest of these options, without the paths of one instance, under KVM.
fn guest(options: &Options, vmm: &dyn Vmm, route: Option<Route>, setting: &Setting) -> Result<Guest> {
    let image = crate::cmd::image::build(&setting.tree, options.kernel())?;
    let least_bytes = image.least_memory_bytes()?;
    ensure!(
        setting.memory_bytes >= least_bytes,
        "a guest of {} has no room for its kernel and initramfs: give it at least {} with --memory",
        output::bytes(setting.memory_bytes),
        output::bytes(least_bytes.next_multiple_of(1 << 20))
    );
    let has_disk = setting.target.is_some() || setting.work.is_some();
    let disk = options.disk(vmm, has_disk);
    let target = setting.target.as_ref().map(|checked| Disk {
        path: checked.path().to_path_buf(),
        is_device: checked.target.is_device,
        size_bytes: checked.target.size_bytes,
        ..disk.clone()
    });
    Ok(Guest {
        accelerator: bench_vm::Accelerator::Kvm,
        cpus: setting.cpus.len() as u32,
        memory_bytes: setting.memory_bytes,
        image,
        target,
        work: setting.work.as_ref().map(|plan| plan.disk(disk)),
        network: route.map(|_| Tap { name: netlab::PORT.to_owned(), vhost: netlab::has_vhost() }),
        emulated_host: host::is_emulated(),
        tsc_khz: host::tsc_khz(),
        mitigations: fingerprint::mitigations_option(),
        runtime_dir: PathBuf::new(),
    })
}
