//! The root file system: the tree, read-only or under an overlay, with file systems of its own and volumes. All of it is prepared detached and put
//! together through descriptors: no path of the tree is followed out of it, whatever its maker put there.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::umask;
use rustix::fs::{Mode, mkdirat};
use rustix::mount::MountAttrFlags as Attributes;

use crate::detached::{Mount, by_fd};
use crate::init::{Doing, Failure};
use crate::inside::{has_special, is_same, kind_of, make_point, open_in, open_path, said};
use crate::spec::{Bind, Namespace, Root};
use crate::special::{Hosts, SPECIAL, Special};

/// Where a layer is attached, in this mount namespace alone: nothing of the host's is needed there any more.
const LAYER: &str = "/dev";

/// What is needed of the host, cloned while this process is still the host's root, and before anything covers a part of it.
pub(crate) struct Sources<'a> {
    root: &'a Root,
    tree: Mount,
    /// Those that lie in others come after these.
    volumes: Vec<Volume<'a>>,
    hosts: Hosts,
}

impl<'a> Sources<'a> {
    pub(crate) fn open(root: &'a Root, namespaces: &BTreeSet<Namespace>) -> Result<Sources<'a>, Failure> {
        const NONE: Option<&str> = None;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).doing("keeping mounts to ourselves")?;
        let (tree, _) = clone_of(&root.tree, |_| Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NODEV)?;
        let mut binds: Vec<_> = root.binds.iter().collect();
        binds.sort_by_key(|bind| bind.target.components().count());
        let volumes = binds.into_iter().map(Volume::open).collect::<Result<_, _>>()?;
        Ok(Sources { root, tree, volumes, hosts: Hosts::clone_for(namespaces)? })
    }

    /// Build the root in this mount namespace and enter it. No descriptor of it, or of the host, is left open.
    pub(crate) fn enter(self, namespaces: &BTreeSet<Namespace>) -> Result<(), Failure> {
        let callers = umask(nix::sys::stat::Mode::empty());
        let root = self.build(namespaces)?;
        umask(callers);
        rustix::process::fchdir(&root).doing("entering the new root")?;
        drop(root);
        nix::unistd::pivot_root(".", ".").doing("changing the root")?;
        leave_old_root()?;
        std::env::set_current_dir("/").doing("entering the new root")
    }

    fn build(self, namespaces: &BTreeSet<Namespace>) -> Result<Mount, Failure> {
        // Over the host's root: that is where this process has it from its paths, and no path of the host leads there.
        let place = open_path(Path::new("/")).doing("opening the host's root")?;
        let is_own_tmp = !self.root.binds.iter().any(|bind| bind.target == Path::new("/tmp"));
        let root = ground(self.root, self.tree, &self.volumes, &place)?;
        Special { root: root.fd(), hosts: self.hosts, namespaces }.mount(is_own_tmp)?;
        self.volumes.iter().try_for_each(|volume| volume.attach(root.fd()))?;
        Ok(root)
    }
}

/// Unmount the old root, which is mounted over the new one, and whatever is mounted over the old one: `/..` would lead there.
fn leave_old_root() -> Result<(), Failure> {
    /// The old root, and as many as a host may have mounted over its own.
    const MOST: usize = 16;
    let doing = "leaving the old root";
    let own = crate::sys::mount_id("/").doing(doing)?;
    for _ in 0..MOST {
        umount2(".", MntFlags::MNT_DETACH).doing(doing)?;
        if crate::sys::mount_id("/..").doing(doing)? == own {
            return Ok(());
        }
    }
    Err(Failure::own(format!("{doing}: something is still mounted over the new one"), None))
}

/// What a path of the host leads to, with the attributes that its kind calls for.
fn clone_of(path: &Path, attributes: impl Fn(&OwnedFd) -> Attributes) -> Result<(Mount, bool), Failure> {
    let cloned = open_path(path).and_then(|source| {
        let mut mount = Mount::clone_of(&source, true)?;
        mount.restrict(attributes(&source))?;
        Ok((mount, kind_of(&source)?.is_dir()))
    });
    cloned.doing(format!("opening {}, which is to be seen inside", path.display()))
}

/// Attach the tree, below a layer in memory where that is asked for. A tree that lacks a place to mount on gets it in such a layer.
fn ground(root: &Root, mut tree: Mount, volumes: &[Volume], place: &OwnedFd) -> Result<Mount, Failure> {
    let mut absent = Vec::new();
    for path in SPECIAL {
        if !has_special(tree.fd(), path.trim_start_matches('/'))? {
            absent.push((Path::new(path), true));
        }
    }
    let in_tree = |volume: &&Volume| {
        let target = &volume.bind.target;
        let is_below = |other: &Volume| other.bind.target != *target && target.starts_with(&other.bind.target);
        !SPECIAL.iter().any(|special| target.starts_with(special)) && !volumes.iter().any(is_below)
    };
    let of_volumes = volumes.iter().filter(in_tree).map(|volume| (volume.bind.target.as_path(), volume.is_folder));
    absent.extend(of_volumes.filter(|(path, _)| open_in(tree.fd(), path).is_err()));
    if root.overlay || !absent.is_empty() {
        tree = layered(root, &tree, &absent)?;
    }
    tree.attach(place).doing(format!("mounting the root {}", root.tree.display()))?;
    Ok(tree)
}

/// A layer in memory above the tree, with what it lacks.
fn layered(root: &Root, tree: &Mount, absent: &[(&Path, bool)]) -> Result<Mount, Failure> {
    let doing = "making a layer in memory";
    let layer = Mount::fresh("tmpfs", &[("mode", "0755")], Attributes::empty()).doing(doing)?;
    for name in ["upper", "work", "lower"] {
        mkdirat(layer.fd(), name, Mode::from_raw_mode(0o755)).doing(doing)?;
    }
    // Older kernels take only attached mounts as layers.
    let place = open_path(Path::new(LAYER)).doing(doing)?;
    layer.attach(&place).doing(doing)?;
    open_in(layer.fd(), Path::new("lower")).and_then(|lower| tree.attach(&lower)).doing(doing)?;
    let (lower, layer) = (by_fd(tree.fd()), by_fd(layer.fd()));
    let (upper, work) = (format!("{layer}/upper"), format!("{layer}/work"));
    let options = [("lowerdir", lower.as_str()), ("upperdir", &upper), ("workdir", &work)];
    let mut over = Mount::fresh("overlay", &options, Attributes::empty())
        .doing(format!("laying a layer over {}", root.tree.display()))?;
    for (path, is_folder) in absent {
        // A link may lead to what is only mounted later: the place of a volume that is still missing then is made then, or refused.
        let made = make_point(over.fd(), path, *is_folder);
        if SPECIAL.iter().any(|special| *path == Path::new(special)) {
            made.doing(format!("making a place for {}", path.display()))?;
        }
    }
    let access = if root.overlay { Attributes::empty() } else { Attributes::MOUNT_ATTR_RDONLY };
    over.restrict(access | Attributes::MOUNT_ATTR_NODEV).doing("restricting the root")?;
    Ok(over)
}

/// A file or folder of the host that is seen inside.
struct Volume<'a> {
    bind: &'a Bind,
    mount: Mount,
    is_folder: bool,
}

impl<'a> Volume<'a> {
    /// A device is one when it is given itself, not when it lies in a folder.
    fn open(bind: &'a Bind) -> Result<Volume<'a>, Failure> {
        let attributes = |source: &OwnedFd| {
            let is_device = kind_of(source).is_ok_and(|kind| kind.is_char_device() || kind.is_block_device());
            let mut attributes = Attributes::MOUNT_ATTR_NOSUID;
            attributes.set(Attributes::MOUNT_ATTR_RDONLY, bind.read_only);
            attributes.set(Attributes::MOUNT_ATTR_NODEV, !is_device);
            attributes
        };
        let (mount, is_folder) = clone_of(&bind.source, attributes)?;
        Ok(Volume { bind, mount, is_folder })
    }

    /// Attach it in the root: a file on a file, a folder on a folder.
    fn attach(&self, root: &OwnedFd) -> Result<(), Failure> {
        let Bind { source, target, .. } = self.bind;
        let doing = || format!("mounting {} on {}", source.display(), target.display());
        if open_in(root, target).is_err() {
            // Below a file system of the container's own, such as /dev, or in another volume; all other places have been made.
            make_point(root, target, self.is_folder).doing(doing())?;
        }
        let point = open_in(root, target).doing(doing())?;
        if is_same(&point, root).doing(doing())? {
            return Err(Failure::own(format!("{}: it leads to the root itself", doing()), None));
        }
        let kind = kind_of(&point).doing(doing())?;
        if kind.is_dir() != self.is_folder {
            let ours = if self.is_folder { "a folder" } else { "no folder" };
            let text = format!(
                "{}: {} is {ours}, and {} of the root folder is {}",
                doing(),
                source.display(),
                target.display(),
                said(kind)
            );
            return Err(Failure::own(text, None));
        }
        if self.is_folder && rustix::fs::fstatfs(&point).doing(doing())?.f_type == PROC_SUPER_MAGIC {
            return Err(Failure::own(format!("{}: a folder cannot be mounted in /proc", doing()), None));
        }
        self.mount.attach(&point).doing(doing())?;
        match open_in(root, target).and_then(|seen| is_same(&seen, self.mount.fd())) {
            Ok(true) => Ok(()),
            _ => Err(Failure::own(format!("{}: the place was exchanged meanwhile", doing()), None)),
        }
    }
}

/// statfs(2) of procfs.
const PROC_SUPER_MAGIC: libc::__fsword_t = libc::PROC_SUPER_MAGIC as libc::__fsword_t;
