//! A file that keeps its path: where others can write, a name may lead to another file at each look, and what measures looks often.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::{paths, trusted};

/// Mount an open file where only root finds it, in a mount namespace of this process and of those that it starts: the path there. It
/// is gone with them, whatever ends them. Before this process has threads.
pub fn pin(file: &File) -> Result<PathBuf> {
    let folder = trusted::roots_own(&paths::machine_dir()?.join("pinned"))?;
    let none = None::<&str>;
    // What is open belongs to the namespace that it was opened in, from which nothing can be mounted in another one, but by a copy.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = open_tree(file, "", flags).context("taking the target's mount along")?;
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace for the target")?;
    // What is unmounted elsewhere is unmounted here, and not the other way around.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .and_then(|()| mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("mode=0700,size=64k")))
        .with_context(|| format!("mounting on {}", folder.display()))?;
    let path = folder.join("target");
    File::create_new(&path).with_context(|| format!("creating {}", path.display()))?;
    move_mount(&copy, "", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .with_context(|| format!("mounting the target on {}", path.display()))?;
    Ok(path)
}
