//! For whom root works: the person behind `sudo`, or the owner of the folder that is worked in.
//!
//! What is theirs is read, made and removed with their rights and not with root's: whatever they put in the way, a link, a pipe,
//! another file at the last moment, it leads nowhere that they could not go themselves. What is made so is theirs at once.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::geteuid;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

use crate::trusted::{self, Folder};

/// Somebody other than root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Caller {
    /// From `SUDO_UID` and `SUDO_GID`; absent when `bench` is not root, was not started by `sudo`, or by root's own.
    pub fn behind_sudo() -> Option<Caller> {
        let id = |name| std::env::var(name).ok()?.parse().ok();
        let caller = Caller { uid: id("SUDO_UID")?, gid: id("SUDO_GID")? };
        (geteuid().is_root() && caller.uid != 0).then_some(caller)
    }

    pub(crate) fn owner(self) -> Uid {
        Uid::from_raw(self.uid)
    }

    pub(crate) fn group(self) -> Gid {
        Gid::from_raw(self.gid)
    }

    /// All groups that the local files name: those of other sources would need plug-ins, which a static program cannot rely on.
    fn groups(self) -> Vec<Gid> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        groups(&read("/etc/passwd"), &read("/etc/group"), self).into_iter().map(Gid::from_raw).collect()
    }

    /// Behind `sudo`, go on as the person who called it, for good and with the whole process: for what needs no root.
    pub fn take_over() -> Result<()> {
        let Some(caller) = Caller::behind_sudo() else { return Ok(()) };
        let (uid, gid) = (caller.uid.into(), caller.gid.into());
        let groups: Vec<_> = caller.groups().into_iter().map(|group| group.as_raw().into()).collect();
        nix::unistd::setgroups(&groups)
            .and_then(|()| nix::unistd::setresgid(gid, gid, gid))
            .and_then(|()| nix::unistd::setresuid(uid, uid, uid))
            .with_context(|| format!("going on as user {}, who called sudo", caller.uid))
    }

    /// Do something with this person's rights. Only this thread has them, so that it must not wait for others meanwhile.
    fn act<T>(self, work: impl FnOnce() -> T) -> io::Result<T> {
        if !geteuid().is_root() {
            return Ok(work());
        }
        let _back = Back::after(self)?;
        Ok(work())
    }
}

/// Groups of a person by passwd(5) and group(5), the first one by id.
fn groups(passwd: &str, group: &str, caller: Caller) -> Vec<u32> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let is_theirs = |line: &Vec<String>| line.get(2).and_then(|uid| uid.parse().ok()) == Some(caller.uid);
    let name = passwd.lines().map(fields).find(is_theirs).and_then(|line| line.first().cloned());
    let has = |line: &Vec<String>| {
        line.get(3).is_some_and(|members| members.split(',').any(|member| Some(member) == name.as_deref()))
    };
    let others = group.lines().map(fields).filter(has).filter_map(|line| line.get(2)?.parse().ok());
    [caller.gid].into_iter().chain(others.filter(|gid| *gid != caller.gid)).collect()
}

/// Root again when it is dropped.
struct Back {
    group: Gid,
    groups: Vec<Gid>,
}

impl Back {
    fn after(caller: Caller) -> io::Result<Back> {
        let (group, groups) = (rustix::process::getegid(), rustix::process::getgroups()?);
        // Where this is refused (no CAP_SETGID), nothing has changed yet and nothing is to be taken back.
        set_thread_groups(&caller.groups())?;
        let back = Back { group, groups };
        set_thread_res_gid(None, Some(caller.group()), None)?;
        set_thread_res_uid(None, Some(caller.owner()), None)?;
        Ok(back)
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        let is_back = set_thread_res_uid(None, Some(Uid::ROOT), None)
            .and_then(|()| set_thread_res_gid(None, Some(self.group), None))
            .and_then(|()| set_thread_groups(&self.groups));
        if is_back.is_err() {
            // Half root is no state to go on in.
            std::process::abort();
        }
    }
}

/// With whose rights the files of a folder are touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hands(Option<Caller>);

impl Hands {
    /// Root's own, where only root can write; elsewhere those of the person behind `sudo`, or without one those of the folder's owner.
    /// (What is root's and open to others has no better owner: it is used as it is.) Who is not root has their own anyway.
    pub fn in_folder(folder: &Path) -> Result<Hands> {
        if !geteuid().is_root() {
            return Ok(Hands(None));
        }
        let way = trusted::way_to(folder).with_context(|| format!("looking at {}", folder.display()))?;
        Ok(Hands(way.err().and_then(|found| {
            let owner = Some(found.owner).filter(|owner| owner.uid != 0);
            Caller::behind_sudo().or(owner)
        })))
    }

    /// Of this person, or root's own.
    pub fn of(caller: Option<Caller>) -> Hands {
        Hands(caller)
    }

    /// Whose they are, where they are not this process's own.
    pub fn whose(self) -> Option<Caller> {
        self.0
    }

    /// Open a folder in which root makes something, where these hands could have made it.
    pub fn folder(self, path: &Path) -> Result<Folder> {
        self.act(|| Folder::open(path).with_context(|| format!("opening the folder {}", path.display())))
    }

    /// Do something with them.
    pub fn act<T>(self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(caller) = self.0 else { return work() };
        let done = caller.act(work).with_context(|| format!("taking the rights of user {}", caller.uid))?;
        let is_refused = |e: &anyhow::Error| {
            e.chain()
                .filter_map(|cause| cause.downcast_ref())
                .any(|e: &io::Error| e.kind() == io::ErrorKind::PermissionDenied)
        };
        done.map_err(|e| if is_refused(&e) { e.context(format!("with the rights of user {}", caller.uid)) } else { e })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_the_groups_that_the_local_files_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let group = "root:x:0:\ndisk:x:6:ann\nann:x:1000:\nkvm:x:104:bob,ann\nusers:x:100:annie\nodd\n";
        assert_eq!(groups(passwd, group, Caller { uid: 1000, gid: 1000 }), [1000, 6, 104]);
        assert_eq!(
            groups(passwd, group, Caller { uid: 1001, gid: 7 }),
            [7],
            "who is in no file has the one that sudo tells"
        );
    }

    #[test]
    fn what_is_done_with_somebodys_rights_is_theirs_and_root_is_root_again() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can take others' rights");
            return;
        }
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(54_321), Some(54_322)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let owner = Some(Caller { uid: 54_321, gid: 54_322 });
        let hands = Hands::in_folder(&theirs.join("not there yet")).unwrap();
        assert_eq!(hands.whose(), Caller::behind_sudo().or(owner));
        let hands = Hands::of(owner);
        hands.act(|| Ok(fs::write(theirs.join("file"), "")?)).unwrap();
        let made = fs::metadata(theirs.join("file")).unwrap();
        assert_eq!((made.uid(), made.gid()), (54_321, 54_322));
        let refused = hands.act(|| Ok(fs::read(&secret)?)).unwrap_err();
        assert!(format!("{refused:#}").contains("with the rights of user 54321"), "{refused:#}");
        assert!(geteuid().is_root() && fs::read(&secret).is_ok());
        assert_eq!(Hands::in_folder(folder.path()).unwrap().whose(), None);
    }
}
