//! QEMU with one of its types of machines, spoken to over QMP.

mod argv;
mod control;
mod qmp;
mod resident;
#[cfg(feature = "silent-vmm")]
mod silent;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::find_program;
use crate::vmm::{Accelerator, Doing, Guest, Launch, Machine, Vmm};
use control::Controlled;

#[cfg(feature = "silent-vmm")]
pub use silent::Silent;

/// Its program for machines of ours.
pub const QEMU: &str = "qemu-system-x86_64";

/// Its name of the target's block node.
const TARGET_NODE: &str = "target";

/// Name of its control socket.
const CONTROL: &str = "qmp";

/// Types of machines that differ in what a guest pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineType {
    /// A PC: its devices are on PCI Express.
    Q35,
    /// A machine without PCI, whose devices are found by ACPI, each by a few registers in memory (virtio-mmio).
    Microvm,
}

impl MachineType {
    /// Its name, which is QEMU's.
    pub fn text(self) -> &'static str {
        match self {
            MachineType::Q35 => "q35",
            MachineType::Microvm => "microvm",
        }
    }

    /// As QEMU is told. A microvm's only timer of a known speed is the PIT, which needs the PIC.
    fn options(self) -> &'static str {
        match self {
            MachineType::Q35 => "q35,memory-backend=ram,hpet=off,smm=off,vmport=off",
            MachineType::Microvm => {
                "microvm,memory-backend=ram,acpi=on,pcie=off,usb=off,pic=on,pit=on,rtc=on,isa-serial=on"
            }
        }
    }
}

/// A QEMU, and which machines it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// The type of machine.
    pub machine: MachineType,
}

/// The VMM of this host that guests get their machines from unless they name another; absent where none is installed.
pub fn installed_vmm() -> Option<Box<dyn Vmm>> {
    let program = find_program(QEMU)?;
    Some(Box::new(Qemu { program, machine: MachineType::Q35 }))
}

impl Qemu {
    fn launch_as(&self, guest: &Guest, has_control: bool) -> Launch {
        let file = |name| guest.runtime_dir.join(name);
        let agent = file("agent");
        Launch {
            argv: argv::argv(self, guest, &agent, has_control),
            agent,
            console: file("console.log"),
            log: file("qemu.log"),
            arguments: file("qemu.argv"),
        }
    }
}

impl Vmm for Qemu {
    fn name(&self) -> &'static str {
        "QEMU"
    }

    fn machine(&self) -> &'static str {
        self.machine.text()
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn best_aio(&self) -> &'static str {
        detect_aio(&self.program)
    }

    /// An IOThread is woken by a descriptor that the guest writes to (ioeventfd): virtio-mmio has that with KVM only.
    fn has_iothreads(&self, accelerator: Accelerator) -> bool {
        self.machine == MachineType::Q35 || accelerator == Accelerator::Kvm
    }

    fn launch(&self, guest: &Guest) -> Launch {
        self.launch_as(guest, true)
    }

    fn control<'a>(&'a self, launch: &'a Launch, pid: u32) -> Doing<'a, Box<dyn Machine>> {
        Box::pin(async move {
            let socket = launch.agent.with_file_name(CONTROL);
            Ok(Box::new(Controlled::connect(&socket, pid).await?) as Box<dyn Machine>)
        })
    }
}

/// `io_uring` where this QEMU and this kernel have it, else `native`: found out by opening a file so, QEMU's own.
fn detect_aio(qemu: &Path) -> &'static str {
    let works = || {
        let drive =
            json!({"driver": "file", "filename": qemu, "read-only": true, "node-name": "probe", "aio": "io_uring"});
        let mut child = Command::new(qemu)
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-machine",
                "none",
                "-qmp",
                "stdio",
                "-blockdev",
            ])
            .arg(drive.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let quit = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";
        drop(child.stdin.take().map(|mut stdin| std::io::Write::write_all(&mut stdin, quit)));
        child.wait().ok().filter(|status| status.success())
    };
    if works().is_some() { "io_uring" } else { "native" }
}
