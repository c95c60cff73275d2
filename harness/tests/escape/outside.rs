//! What is outside of the container: things that a program inside must not reach, and the container itself.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::libc;
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use crate::system::{call, text};

/// Where this program is inside, below a file system of the container's own: then the root needs no layer.
const INSIDE: &str = "/tmp/escape";
/// Where a folder of the host is inside.
pub const VOLUME: &str = "/tmp/volume";

/// What a program inside is told of the outside: all that would help it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outside {
    /// A file of the host, which holds `token`.
    pub marker: PathBuf,
    /// A text that occurs nowhere else.
    pub token: String,
    /// A process of the host.
    pub pid: usize,
    /// What stands in its command line.
    pub process: String,
    /// Of a segment of shared memory.
    pub key: usize,
    /// False in the host's network: what is there is reachable, as it is said to be.
    pub own_network: bool,
}

/// The host's things while containers run beside them.
pub struct Stage {
    pub outside: Outside,
    folder: PathBuf,
    sleeper: Child,
    segment: usize,
    _socket: std::os::unix::net::UnixListener,
}

impl Stage {
    /// Make all of it in `folder`, with mounts that go with this process.
    pub fn make(folder: &Path) -> io::Result<Stage> {
        use std::os::linux::net::SocketAddrExt;
        let token = format!("bench-escape-{}", std::process::id());
        let marker = folder.join("marker");
        fs::write(&marker, &token)?;
        let process = format!("9{:07}", std::process::id());
        let sleeper = Command::new("sleep").arg(&process).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let key = 0x6200_0000 + std::process::id() as usize;
        let create = libc::IPC_CREAT as usize | 0o666;
        let segment = call(libc::SYS_shmget, [key, 4096, create, 0, 0, 0])? as usize;
        add_key(&token)?;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&token)?;
        let socket = std::os::unix::net::UnixListener::bind_addr(&address)?;
        make_volume(folder)?;
        let outside = Outside { marker, token, pid: sleeper.id() as usize, process, key, own_network: true };
        Ok(Stage { outside, folder: folder.to_owned(), sleeper, segment, _socket: socket })
    }

    /// `bench container run` of this very program, which tries everything; its words.
    pub fn container(&self, bench: &Path, arguments: &str) -> io::Result<std::process::Output> {
        let volume = self.folder.join("volume");
        let mut command = Command::new(bench);
        command.args(["container", "run"]).args(arguments.split_whitespace()).env("SECRET", &self.outside.token);
        command.arg("-v").arg(format!("{}:{INSIDE}:ro", std::env::current_exe()?.display()));
        command.arg("-v").arg(format!("{}:{VOLUME}", volume.display()));
        command.arg("-v").arg(format!("{}:{VOLUME}/read-only:ro", self.folder.join("read-only").display()));
        let outside = Outside { own_network: !arguments.contains("--net host"), ..self.outside.clone() };
        command.args(["--", INSIDE, "inside"]).arg(serde_json::to_string(&outside)?);
        leave_open(command.stdin(Stdio::null())).output()
    }

    /// The same attempts without a container: what they are worth. Only in a guest, which is ours to break.
    pub fn bare(&self) -> io::Result<std::process::Output> {
        fs::create_dir(VOLUME)?;
        for (from, to) in [("volume", VOLUME.to_owned()), ("read-only", format!("{VOLUME}/read-only"))] {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(&self.folder.join(from)), to.as_str(), None::<&str>, flags, None::<&str>)?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("inside").arg(serde_json::to_string(&self.outside)?).stdin(Stdio::null());
        leave_open(&mut command).output()
    }

    /// A command in a container, with a file of its own in the volume: whose is the file, and whose the process?
    pub fn owner_outside(&self, bench: &Path, arguments: &str) -> io::Result<u32> {
        use std::os::unix::fs::MetadataExt;
        let volume = self.folder.join("volume");
        let mut command = Command::new(bench);
        command
            .args(["container", "run", "--userns"])
            .args(arguments.split_whitespace())
            .arg("-v")
            .arg(format!("{}:{VOLUME}", volume.display()));
        let script = format!("touch {VOLUME}/mine && id -u");
        let output = command.args(["--", "sh", "-c", &script]).stdin(Stdio::null()).output()?;
        if output.stdout != b"0\n" {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(fs::metadata(volume.join("mine"))?.uid())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.sleeper.kill().and_then(|()| self.sleeper.wait()));
        drop(call(libc::SYS_shmctl, [self.segment, libc::IPC_RMID as usize, 0, 0, 0, 0]));
    }
}

/// A descriptor that a careless caller leaves open: whoever is started must not pass it on into a container.
fn leave_open(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    const CARELESS: i32 = 10;
    // SAFETY: dup2 may be called between fork and exec.
    unsafe { command.pre_exec(|| call(libc::SYS_dup2, [0, CARELESS as usize, 0, 0, 0, 0]).map(drop)) }
}

/// Into a session keyring of our own, which children inherit.
fn add_key(name: &str) -> io::Result<()> {
    const JOIN_SESSION: usize = 1;
    const SESSION: isize = -3;
    call(libc::SYS_keyctl, [JOIN_SESSION, 0, 0, 0, 0, 0])?;
    let (kind, name, secret) = (text("user")?, text(name)?, b"secret");
    let pointers = [&kind, &name].map(|text| text.as_ptr() as usize);
    call(libc::SYS_add_key, [pointers[0], pointers[1], secret.as_ptr() as usize, secret.len(), SESSION as usize, 0])?;
    Ok(())
}

/// A volume with what must not work in it: a device, a setuid program, a mount below a folder that is given read-only.
fn make_volume(folder: &Path) -> io::Result<()> {
    const NONE: Option<&str> = None;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let (volume, read_only) = (folder.join("volume"), folder.join("read-only"));
    for path in [&volume, &read_only, &read_only.join("below"), &volume.join("read-only")] {
        fs::create_dir(path)?;
    }
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777))?;
    mount(Some("tmpfs"), &read_only.join("below"), Some("tmpfs"), MsFlags::empty(), Some("mode=0777"))?;
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(&volume.join("device"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5))?;
    fs::copy(std::env::current_exe()?, volume.join("setuid"))?;
    fs::set_permissions(volume.join("setuid"), fs::Permissions::from_mode(0o4755))
}
