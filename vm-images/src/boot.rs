//! A guest that boots, and what is wrong with one that does not.

use std::future::Future;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::vmm::{Launch, Machine, Vmm, VmmError};

/// How every complaint of the guest's `/init` begins on its console.
pub(crate) const COMPLAINT: &str = "bench: guest: ";
/// On the console as soon as the guest's `/init` runs.
pub(crate) const STARTED: &str = "bench: guest started";
/// Panics of a kernel that got as far as its initramfs, and could not use it (kernel: init/main.c, init/do_mounts.c, mm/oom_kill.c).
const PANICS_OF_IMAGES: [&str; 5] =
    ["No working init found", "VFS: Unable to mount root", "Requested init", "deadlocked on memory", "Out of memory"];

/// A guest did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The VMM itself ended.
    #[error("{vmm} ended ({status}): {said}")]
    VmmExited {
        /// Which.
        vmm: &'static str,
        /// How.
        status: ExitStatus,
        /// Its last words.
        said: String,
    },
    /// Our first process in the guest could not prepare it.
    #[error("the guest's first process gave up: {said}")]
    InitFailed {
        /// Its own words.
        said: String,
    },
    /// The guest's kernel gave up.
    #[error("the guest's kernel panicked: {console}")]
    GuestPanicked {
        /// The lines of its console that say so.
        console: String,
    },
    /// Nothing was heard of it in time.
    #[error(
        "the guest did not come up within {seconds} s{}{}; the option boot-timeout= gives it longer",
        if *.started { ", though its first process started" } else { "" },
        after_words(.console)
    )]
    NeverCameUp {
        /// How long it was waited for.
        seconds: u64,
        /// Whether its kernel had booted.
        started: bool,
        /// The end of its console.
        console: String,
    },
    /// The VMM could not be controlled.
    #[error("taking control of the guest's machine")]
    Control(#[from] VmmError),
}

fn after_words(console: &str) -> String {
    if console.is_empty() {
        "; its console is empty".to_owned()
    } else {
        format!("; the end of its console: {console}")
    }
}

impl BootError {
    /// What console and log tell of a guest that did not come up.
    pub(crate) fn diagnose(
        vmm: &'static str,
        launch: &Launch,
        status: Option<ExitStatus>,
        waited: Duration,
    ) -> BootError {
        let console = tail(&launch.console, 6);
        let whole = last_of(&launch.console);
        if let Some(said) = whole.lines().find_map(|line| line.trim().strip_prefix(COMPLAINT)) {
            return BootError::InitFailed { said: said.to_owned() };
        }
        if whole.contains("Kernel panic") {
            let about = [&["Kernel panic"], &PANICS_OF_IMAGES[..]].concat();
            return BootError::GuestPanicked { console: lines_about(&whole, &about) };
        }
        match status {
            Some(status) => {
                let said = [tail(&launch.log, 3), console].into_iter().find(|text| !text.is_empty());
                let silent = if status.success() { "the guest reset itself without a word" } else { "it said nothing" };
                BootError::VmmExited { vmm, status, said: said.unwrap_or_else(|| silent.into()) }
            }
            None => BootError::NeverCameUp { seconds: waited.as_secs(), started: whole.contains(STARTED), console },
        }
    }

    /// True when KVM may be to blame; false when it is the image or the configuration, with which no accelerator would do.
    pub fn may_be_of_kvm(&self) -> bool {
        match self {
            // Refused arguments and files end a VMM by an exit status, without a word about KVM.
            BootError::VmmExited { status, said, .. } => {
                status.signal().is_some() || status.success() || said.to_ascii_lowercase().contains("kvm")
            }
            BootError::InitFailed { .. } | BootError::Control(_) => false,
            BootError::GuestPanicked { console } => !PANICS_OF_IMAGES.iter().any(|words| console.contains(words)),
            BootError::NeverCameUp { started, .. } => !started,
        }
    }
}

/// The lines of a log that hold one of these words.
fn lines_about(log: &str, words: &[&str]) -> String {
    let found = log.lines().filter(|line| words.iter().any(|word| line.contains(word))).map(str::trim);
    found.take(6).collect::<Vec<_>>().join(" | ")
}

/// Most bytes that are read of a guest's console, and of a VMM's log: a guest may write to it for ever.
pub const LOG_BYTES: u64 = 4 << 20;

/// The end of a log, whole where it is not longer than [`LOG_BYTES`]; nothing of what is no file.
fn last_of(path: &Path) -> String {
    let read = || {
        let mut file = std::fs::File::open(path).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(LOG_BYTES))).ok()?;
        let mut end = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut end).ok()?;
        Some(String::from_utf8_lossy(&end).into_owned())
    };
    read().unwrap_or_default()
}

/// The last lines of a log.
fn tail(path: &Path, count: usize) -> String {
    let text = last_of(path);
    let printable = |c: &char| !c.is_control() || *c == '\n';
    let text: String = text.chars().filter(printable).collect();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

/// How long a VMM that closed its socket may take to end.
pub const LAST_WORDS: Duration = Duration::from_secs(5);

/// Take control of a guest's machine that was started as `launch` says, and reach its agent's port. `exited` completes when the process
/// ends.
pub async fn connect(
    vmm: &dyn Vmm,
    launch: &Launch,
    pid: u32,
    within: Duration,
    exited: impl Future<Output = std::io::Result<ExitStatus>>,
) -> Result<(Box<dyn Machine>, UnixStream), BootError> {
    let connected = async {
        let machine = vmm.control(launch, pid).await?;
        Ok::<_, VmmError>((machine, reach(&launch.agent).await))
    };
    tokio::pin!(exited);
    let connected = tokio::select! {
        connected = timeout(within, connected) => connected,
        status = &mut exited => return Err(vmm.diagnose(launch, status.ok(), within)),
    };
    match connected {
        Ok(Ok(connected)) => Ok(connected),
        // A VMM that gives up closes its socket a moment before it ends.
        Ok(Err(error)) => match timeout(LAST_WORDS, exited).await {
            Ok(status) => Err(vmm.diagnose(launch, status.ok(), within)),
            Err(_) => Err(error.into()),
        },
        Err(_) => Err(vmm.diagnose(launch, None, within)),
    }
}

/// Connect as soon as the socket is there.
pub(crate) async fn reach(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The diagnosis of a guest with this console and QEMU's own log.
    fn diagnosis(console: &str, log: &str, status: Option<i32>) -> BootError {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| folder.path().join(name);
        let launch = Launch {
            argv: Vec::new(),
            agent: file("agent"),
            console: file("console"),
            log: file("log"),
            arguments: file("arguments"),
        };
        std::fs::write(&launch.console, console).unwrap();
        std::fs::write(&launch.log, log).unwrap();
        BootError::diagnose("a VMM", &launch, status.map(ExitStatus::from_raw), Duration::from_secs(9))
    }

    #[test]
    fn an_image_that_does_not_work_is_no_fault_of_kvm() {
        let init = "bench: guest started\r\nbench: guest: mounting the root disk /dev/vda: ENOENT\r\n\
                    [ 1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n";
        let vfs = "[ 1.0] VFS: Unable to mount root fs on unknown-block(0,0)\n[ 1.0] Kernel panic - not syncing: VFS\n";
        for (console, log, status, said) in [
            (init, "", Some(0), "gave up: mounting the root disk /dev/vda: ENOENT"),
            (init, "", None, "gave up: mounting the root disk"),
            (vfs, "", Some(0), "VFS: Unable to mount root"),
            ("", "qemu: cannot set up guest memory 'ram': Cannot allocate memory", Some(0x100), "guest memory"),
            ("", "qemu: -device virtio-blk-pci,x=1: Property 'x' not found", Some(0x100), "Property"),
            ("bench: guest started\n", "", None, "within 9 s, though its first process started"),
        ] {
            let error = diagnosis(console, log, status);
            assert!(!error.may_be_of_kvm() && error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn what_only_kvm_can_do_is_put_down_to_it() {
        for (console, log, status) in [
            ("", "qemu: failed to initialize kvm: Permission denied", Some(0x100)),
            ("", "qemu: ../target/i386/kvm/kvm.c: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.", Some(6)),
            ("", "", Some(11)),
            ("", "", Some(0)),
            ("[ 0.1] Kernel panic - not syncing: timer doesn't work\n", "", Some(0)),
            ("", "", None),
        ] {
            let error = diagnosis(console, log, status);
            assert!(error.may_be_of_kvm(), "{error}");
        }
    }
}
