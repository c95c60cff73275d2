//! The file system that a program works in, over a folder of the host, in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use rustix::mount::MountAttrFlags as Attributes;

use crate::detached;
use crate::init::{Doing, Failure};
use crate::inside::open_path;
use crate::spec::{Bind, Work};

const NONE: Option<&str> = None;

/// Mount what the program works in, in this mount namespace. What the host unmounts goes here as well; nothing goes to the host.
pub(crate) fn mount_work(work: &Work) -> Result<(), Failure> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE).doing("keeping mounts to ourselves")?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let (kind, flags) = match work.source.is_dir() {
        true => (NONE, MsFlags::MS_BIND),
        false => (Some("ext4"), quiet),
    };
    let doing = |from: &Path, to: &Path| format!("mounting {} on {}", from.display(), to.display());
    let bind = |Bind { source, target, .. }: &Bind| {
        mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE).doing(doing(source, target))
    };
    work.kept.iter().try_for_each(bind)?;
    mount(Some(&work.source), &work.target, kind, flags, NONE).doing(doing(&work.source, &work.target))?;
    open_path(&work.target)
        .and_then(|mounted| detached::restrict(&mounted, Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV))
        .doing(doing(&work.source, &work.target))?;
    let open = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(&work.target, open).doing(format!("opening {} up", work.target.display()))?;
    work.files.iter().try_for_each(bind)
}
