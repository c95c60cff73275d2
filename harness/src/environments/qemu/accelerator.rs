//! KVM where it boots a guest, else emulation, and why.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bench_vm::{Guest, KvmVerdict};

use super::Accel;
use super::machine::Machine;
use crate::conductor::instance::Setting;
use crate::paths;

/// Leave KVM, or fall back to emulation; why, if that is not the best.
pub(super) async fn choose(
    asked: Accel,
    machine: &mut Machine,
    setting: &Setting,
    patience: Duration,
) -> Result<Option<String>> {
    if asked == Accel::Tcg {
        machine.guest.accelerator = bench_vm::Accelerator::Tcg;
        return Ok(Some("emulation was asked for (accel=tcg)".to_owned()));
    }
    match (probe_kvm(machine, setting, patience).await?, asked) {
        (KvmVerdict::Boots, _) => Ok(None),
        (why, Accel::Kvm) => bail!("{why}"),
        (why, _) => {
            machine.guest.accelerator = bench_vm::Accelerator::Tcg;
            Ok(Some(why.to_string()))
        }
    }
}

/// Whether KVM boots a guest, by booting it; remembered for this kernel, VMM and boot of the host. A guest that no accelerator
/// would boot is an error: it says nothing about KVM.
async fn probe_kvm(machine: &Machine, setting: &Setting, patience: Duration) -> Result<KvmVerdict> {
    if let Some(verdict) = KvmVerdict::at_a_glance() {
        return Ok(verdict);
    }
    let cache = paths::cache_dir()?;
    if let Some(verdict) = bench_vm::recall(&cache, &*machine.vmm, patience) {
        return Ok(verdict);
    }
    eprintln!("bench: booting a guest to see whether KVM works (at most {} s) ...", patience.as_secs());
    let guest = Guest { target: None, work: None, network: None, ..machine.guest.clone() };
    let bare = Machine { vmm: machine.vmm.clone(), guest, patience };
    let verdict = match bare.try_out(setting).await {
        Ok(()) => KvmVerdict::Boots,
        Err(e) => match e.downcast_ref::<bench_vm::BootError>().and_then(KvmVerdict::of_failure) {
            Some(verdict) => verdict,
            None => return Err(e).context("booting a guest to see whether KVM works"),
        },
    };
    bench_vm::remember(&cache, &*machine.vmm, &verdict);
    Ok(verdict)
}
