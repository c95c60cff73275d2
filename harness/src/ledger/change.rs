//! One change, and how it is undone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Hands};
use crate::environments::{EngineObject, remove_of_engine};
use crate::trusted;

/// One change to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// A control group: one directory per hierarchy. Undone: everything in it is killed, then it is removed. Its name holds
    /// random digits, so that the path alone identifies it.
    Cgroup {
        /// Its directories.
        paths: Vec<PathBuf>,
    },
    /// A file. Undone: removed when it is still the same (what is not known yet is an empty file).
    File {
        /// Absolute path.
        path: PathBuf,
        /// Which file, once it exists.
        identity: Option<Identity>,
    },
    /// A loop device on a file of ours. Undone: what stands on this very file is detached, whatever its number.
    LoopDevice {
        /// Absolute path of the file, without links.
        image: PathBuf,
        /// Number of its file system, as stat(2) has it.
        device: u64,
        /// Its number there, which is nobody else's while a device stands on it.
        inode: u64,
    },
    /// A folder of ours in memory or beside a run; its name holds random digits. Undone: removed with all it holds.
    Folder {
        /// Absolute path.
        path: PathBuf,
        /// With whose rights it was made, and is removed: absent for root's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Caller>,
    },
    /// A container or an image of a Docker engine. Undone: removed with all that belongs to it, if it still carries our label.
    Engine {
        /// Where the engine listens.
        socket: PathBuf,
        /// Which of the two.
        object: EngineObject,
        /// Its name.
        name: String,
        /// The label: the ledger's name.
        run: String,
        /// True where the engine is listed as well, as a group and folders: nothing outlives it.
        goes_along: bool,
    },
}

/// Which file has a path: file systems give the number of a removed one to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    inode: u64,
    /// Since 1970; absent where the file system does not keep it.
    born_ns: Option<u64>,
}

impl Identity {
    pub(super) fn of(found: &fs::Metadata) -> Identity {
        let born = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        Identity { inode: found.ino(), born_ns: born.map(|since| since.as_nanos() as u64) }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Cgroup { paths } => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "cgroup {}", paths.join(" "))
            }
            Change::File { path, .. } => write!(f, "file {}", path.display()),
            Change::Folder { path, .. } => write!(f, "folder {}", path.display()),
            Change::LoopDevice { image, .. } => write!(f, "loop device on {}", image.display()),
            Change::Engine { socket, object, name, .. } => {
                write!(f, "{object} {name} of the Docker engine at {}", socket.display())
            }
        }
    }
}

impl Change {
    /// True for what may still be there after a power cut. Groups and loop devices are the kernel's.
    pub(super) fn outlives_power(&self) -> bool {
        matches!(self, Change::File { .. } | Change::Folder { .. } | Change::Engine { goes_along: false, .. })
    }

    pub(super) fn undo(&self) -> Result<()> {
        match self {
            Change::Cgroup { paths } => {
                bench_container::remove_paths(paths).with_context(|| format!("removing {self}"))
            }
            // Gone already, or another file by now: not ours.
            Change::File { path, identity } => trusted::remove(path, |found| {
                found.is_file() && identity.as_ref().map_or(found.len() == 0, |known| *known == Identity::of(found))
            })
            .with_context(|| format!("removing {}", path.display())),
            Change::LoopDevice { image, device, inode } => {
                bench_container::detach(image, (*device, *inode)).with_context(|| format!("detaching the {self}"))
            }
            Change::Engine { socket, object, name, run, goes_along } => {
                let removed = remove_of_engine(socket, *object, name, run);
                // Whatever an engine of our own did not do, its group and folders are undone next.
                let is_done = *goes_along || removed?;
                ensure!(is_done, "removing the {self}: it does not answer; start it, and call `bench clean`");
                Ok(())
            }
            Change::Folder { path, by } => Hands::of(*by).act(|| {
                trusted::remove(path, std::fs::Metadata::is_dir).with_context(|| format!("removing {}", path.display()))
            }),
        }
    }
}
