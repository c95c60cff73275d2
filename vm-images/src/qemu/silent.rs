//! For tests: a VMM that nobody can ask anything.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::Qemu;
use super::resident::resident;
use crate::vmm::{Accelerator, Doing, Guest, Launch, Machine, Resident, VcpuThreads, Vmm, VmmError};

/// QEMU without a control socket: it is stopped by signals, its threads are known by their names, and nothing tells how it does its
/// I/O. Whoever gets along with it needs no QMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent(pub Qemu);

impl Vmm for Silent {
    fn name(&self) -> &'static str {
        "QEMU without QMP"
    }

    fn machine(&self) -> &'static str {
        "silent"
    }

    fn program(&self) -> &Path {
        self.0.program()
    }

    fn best_aio(&self) -> &'static str {
        self.0.best_aio()
    }

    fn has_iothreads(&self, accelerator: Accelerator) -> bool {
        self.0.has_iothreads(accelerator)
    }

    fn launch(&self, guest: &Guest) -> Launch {
        self.0.launch_as(guest, false)
    }

    fn control<'a>(&'a self, launch: &'a Launch, pid: u32) -> Doing<'a, Box<dyn Machine>> {
        Box::pin(async move {
            // Its sockets are there before its machine is.
            while vcpu_threads(pid)?.len() < cpus(launch) {
                sleep(Duration::from_millis(2)).await;
            }
            Ok(Box::new(Signalled { pid }) as Box<dyn Machine>)
        })
    }
}

/// How many virtual CPUs it was started with.
fn cpus(launch: &Launch) -> usize {
    let value = launch.argv.iter().skip_while(|word| *word != "-smp").nth(1);
    value.and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// A machine that is a process, and nothing else.
struct Signalled {
    pid: u32,
}

impl Signalled {
    fn signal(&self, signal: Signal) -> Result<(), VmmError> {
        let pid = Pid::from_raw(self.pid.cast_signed());
        let sent = pid.map_or(Err(rustix::io::Errno::SRCH), |pid| kill_process(pid, signal));
        sent.map_err(|e| failed(e.into()))
    }
}

impl Machine for Signalled {
    fn pause(&mut self) -> Doing<'_, ()> {
        Box::pin(async { self.signal(Signal::STOP) })
    }

    fn resume(&mut self) -> Doing<'_, ()> {
        Box::pin(async { self.signal(Signal::CONT) })
    }

    fn vcpu_threads(&mut self) -> Doing<'_, VcpuThreads> {
        Box::pin(async { vcpu_threads(self.pid) })
    }

    fn resident(&self) -> Option<Resident> {
        resident(self.pid).ok()
    }
}

fn failed(error: io::Error) -> VmmError {
    VmmError::from(Box::<dyn std::error::Error + Send + Sync>::from(error))
}

/// The threads of the names `CPU 0/TCG`, `CPU 1/KVM`, ... (QEMU's `debug-threads`).
fn vcpu_threads(pid: u32) -> Result<VcpuThreads, VmmError> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let index = name.strip_prefix("CPU ").and_then(|rest| rest.split('/').next()?.parse().ok());
        let thread = entry.file_name().to_str().and_then(|thread| thread.parse().ok());
        threads.extend(index.zip(thread));
    }
    threads.sort_unstable();
    Ok(threads)
}
