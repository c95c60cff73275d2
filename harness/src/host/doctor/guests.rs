//! What guests need.

use bench_vm::KvmVerdict;

use super::{Finding, Level, finding, fine_if, read, unreadable};
use crate::paths;

pub(super) fn all() -> Vec<Finding> {
    vec![kvm(), nested(), tun(), vhost()]
}

/// Whether KVM boots a guest, as far as it was found out: only a boot tells.
fn kvm() -> Finding {
    const WHY: &str = "without KVM, guests are emulated (TCG), and their numbers do not describe KVM";
    const TRY: &str = "`bench doctor --kvm` boots one";
    let remembered = || {
        let vmm = bench_vm::installed_vmm()?;
        bench_vm::recall(&paths::roots_cache(), &*vmm, std::time::Duration::ZERO)
    };
    match KvmVerdict::at_a_glance().or_else(remembered) {
        Some(KvmVerdict::Boots) => finding("kvm", Level::Fine, "a guest boots under KVM", WHY, ""),
        Some(verdict) => finding("kvm", Level::Matters, cause(&verdict), WHY, advice(&verdict)),
        None if std::path::Path::new("/sys/module/kvm_pvm").exists() => finding(
            "kvm",
            Level::Matters,
            "/dev/kvm opens, but it is page-table virtualisation (PVM), which cannot boot an ordinary guest",
            WHY,
            TRY,
        ),
        None => finding("kvm", Level::Matters, "/dev/kvm opens; booting a guest was not tested", WHY, TRY),
    }
}

fn cause(verdict: &KvmVerdict) -> String {
    match verdict {
        KvmVerdict::Boots => "a guest boots under KVM".to_owned(),
        KvmVerdict::NoDevice => "there is no /dev/kvm".to_owned(),
        KvmVerdict::NoPermission(why) => format!("/dev/kvm cannot be opened: {why}"),
        KvmVerdict::VmmAborts(said) => format!("the VMM gives up under KVM: {said}"),
        KvmVerdict::NeverComesUp { why, .. } => format!("/dev/kvm opens, but no guest boots: {why}"),
    }
}

fn advice(verdict: &KvmVerdict) -> &'static str {
    match verdict {
        KvmVerdict::Boots => "",
        KvmVerdict::NoDevice => "enable virtualisation in the firmware and load kvm_intel or kvm_amd",
        KvmVerdict::NoPermission(_) => "be root or in the group kvm",
        KvmVerdict::VmmAborts(_) | KvmVerdict::NeverComesUp { .. } => {
            "use bare metal, or a machine with nested virtualisation: /dev/kvm can exist without working"
        }
    }
}

fn nested() -> Finding {
    const WHY: &str = "nested guests cost more than guests, and only some hosts allow them";
    let of = |module: &str| read(format!("/sys/module/{module}/parameters/nested"));
    match ["kvm_intel", "kvm_amd"].into_iter().find_map(of) {
        None => unreadable("nesting", WHY),
        Some(value) if ["1", "Y"].contains(&value.as_str()) => {
            finding("nesting", Level::Fine, "guests can run nested guests", WHY, "")
        }
        Some(_) => finding("nesting", Level::Fine, "guests cannot run nested guests", WHY, ""),
    }
}

fn tun() -> Finding {
    let there = std::path::Path::new("/dev/net/tun").exists();
    let value = if there { "/dev/net/tun is there" } else { "there is no /dev/net/tun" };
    finding("tun", fine_if(there), value, "guests need it for their network", "load the module tun")
}

fn vhost() -> Finding {
    let there = crate::netlab::has_vhost();
    let value = if there { "/dev/vhost-net is there" } else { "there is no /dev/vhost-net" };
    const WHY: &str = "without it the VMM itself moves a guest's packets, which is slower than the usual setup";
    finding("vhost-net", fine_if(there), value, WHY, "load the module vhost_net")
}
