//! Root's things, and beside them the home of the caller.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::support::{Stage, finish, names, stage};

/// A user id that nobody has.
pub const MALLORY: u32 = 54_321;
/// What only root may read or change.
pub const SECRET: &str = "root's own words";
/// Larger than a target, so that one that leads here is not made longer.
pub const SECRET_BYTES: usize = 32 << 20;
/// A run that ends soon, of a command.
pub const COMMAND: &str = "run --profile smoke --env native --no-control";

/// Root's things, and beside them the home of the caller.
pub struct World {
    stage: Stage,
    folder: tempfile::TempDir,
    /// False: root itself went to the caller's home.
    pub by_sudo: bool,
}

/// What was reached, where an attempt was not stopped.
pub type Stopped = Result<(), String>;

pub fn reached(is_reached: bool, what: &str) -> Stopped {
    if is_reached { Err(what.to_owned()) } else { Ok(()) }
}

impl World {
    pub fn make() -> Option<World> {
        let stage = stage()?;
        // On a disk, and where anybody may look.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World { stage, folder, by_sudo: true };
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(world.folder.path(), 0o755);
        for name in ["home", "precious", "private"] {
            fs::create_dir(world.roots(name)).unwrap();
        }
        chown(world.home(), Some(MALLORY), Some(MALLORY)).unwrap();
        fs::write(world.roots("precious/file"), SECRET).unwrap();
        let mut secret = SECRET.as_bytes().to_vec();
        secret.resize(SECRET_BYTES, b'.');
        fs::write(world.roots("secret"), secret).unwrap();
        [("precious/file", 0o600), ("secret", 0o600), ("private", 0o700)]
            .into_iter()
            .for_each(|(name, bits)| mode(&world.roots(name), bits));
        Some(world)
    }

    /// Something of root's.
    pub fn roots(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Something of the caller's.
    pub fn theirs(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.roots("home")
    }

    /// Folders of the caller's.
    pub fn make_theirs(&self, name: &str) -> PathBuf {
        let path = self.theirs(name);
        fs::create_dir_all(&path).unwrap();
        path.ancestors().take_while(|path| *path != self.home()).for_each(|path| {
            chown(path, Some(MALLORY), Some(MALLORY)).unwrap();
        });
        path
    }

    pub fn link(&self, to: &str, name: &str) {
        let path = self.theirs(name);
        symlink(self.roots(to), &path).unwrap();
        lchown(path, Some(MALLORY), Some(MALLORY)).unwrap();
    }

    /// As sudo starts it, or root itself.
    pub fn bench(&self, arguments: &str) -> Command {
        let program = std::env::var_os("BENCH_ATTACKED");
        let program = program.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_bench")), PathBuf::from);
        let mut command = self.stage.program(&program, arguments);
        if self.by_sudo {
            command.env("SUDO_UID", MALLORY.to_string()).env("SUDO_GID", MALLORY.to_string());
        }
        command.env("HOME", self.home());
        command.env_remove("XDG_CACHE_HOME").env_remove("BENCH_CACHE_DIR").current_dir(self.home());
        command
    }

    pub fn run(&self, arguments: &str) -> (i32, String, String) {
        finish(self.bench(arguments))
    }

    /// Without arguments of its own.
    pub fn container(&self) -> Command {
        self.bench("container run -- true")
    }

    pub fn command(&self, script: &str) -> Command {
        let mut command = self.bench(COMMAND);
        command.args(["--", "sh", "-c", script]);
        command
    }

    /// A finished run of the caller's; its folder. It is measured once.
    pub fn finished(&self) -> PathBuf {
        static MEASURED: OnceLock<tempfile::TempDir> = OnceLock::new();
        let copy = |from: &Path, to: &Path| {
            let done = Command::new("cp").arg("-rT").args([from, to]).status();
            assert!(done.unwrap().success(), "copying {}", from.display());
        };
        let runs = self.theirs("bench-runs");
        let measured = MEASURED.get_or_init(|| {
            let (status, out, err) = finish(self.command("true"));
            assert_eq!(status, 0, "{out}{err}");
            let kept = tempfile::tempdir().unwrap();
            copy(&runs, kept.path());
            kept
        });
        copy(measured.path(), &runs);
        give(&runs);
        runs.join(names(&runs).first().unwrap())
    }

    /// Something that the caller does again and again while `bench` works.
    pub fn meddle(&self, again: impl Fn() + Send + 'static) -> Meddler {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            set_thread_groups(&[]).unwrap();
            let (group, user) = (Some(Gid::from_raw(MALLORY)), Some(Uid::from_raw(MALLORY)));
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                again();
            }
        });
        Meddler { stop, thread: Some(thread) }
    }

    /// The names of two entries change places again and again.
    pub fn swap(&self, pairs: Vec<(PathBuf, PathBuf)>) -> Meddler {
        self.meddle(move || {
            for (one, other) in &pairs {
                let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
            }
        })
    }

    /// Once there is an entry in `folder` whose name is chosen, a link is in its place.
    pub fn replace(&self, folder: PathBuf, chosen: fn(&str) -> bool, to: &str) -> Meddler {
        let to = self.roots(to);
        self.meddle(move || {
            let Some(name) = names(&folder).into_iter().find(|name| chosen(name)) else { return };
            let path = folder.join(name);
            if path.is_symlink() {
                return std::thread::sleep(Duration::from_millis(1));
            }
            let _ = fs::rename(&path, folder.join("taken away"));
            let _ = symlink(&to, &path);
        })
    }

    pub fn secret_is_lost(&self) -> bool {
        let secret = fs::read(self.roots("secret")).unwrap();
        !secret.starts_with(SECRET.as_bytes()) || secret.len() != SECRET_BYTES || secret.last() != Some(&b'.')
    }

    /// Root's folder is as it was.
    pub fn precious(&self) -> Stopped {
        let found = names(&self.roots("precious"));
        if found != ["file"] {
            return Err(format!("root's folder holds {found:?}"));
        }
        let owner = fs::metadata(self.roots("precious/file")).unwrap().uid();
        reached(owner != 0, "root's file was given away")
    }
}

/// Ends when it is dropped.
pub struct Meddler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// All of it is the caller's.
pub fn give(path: &Path) {
    lchown(path, Some(MALLORY), Some(MALLORY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        names(path).iter().for_each(|name| give(&path.join(name)));
    }
}
