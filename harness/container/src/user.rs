//! Whom a program inside is: ids, and what the new root's `/etc/passwd` and `/etc/group` say of a name, as Docker's `--user`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use nix::unistd::{Gid, Uid};
use rustix::fs::OFlags;

use crate::init::{Doing, Failure};
use crate::inside::{Links, kind_of, open_below};
use crate::spec::Spec;

/// Most that is read of a file of users or groups.
const LONGEST: u64 = 4 << 20;
/// The largest id that can be had, as in Docker; the largest of the kernel's means "as it is".
const LARGEST: u32 = i32::MAX as u32;

#[derive(Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    home: Option<String>,
}

/// Be whom `UID`, `NAME`, `UID:GID` or any such mixture means in the root, which is this process' by now. With another id than 0 no
/// capability is left. What is to be started then: with the user's home, unless it has one already.
pub(crate) fn become_user(wanted: &str, spec: &Spec) -> Result<Spec, Failure> {
    let read = |path: &str| read_in_root(path).doing(format!("reading /{path} for --user {wanted}"));
    let (passwd, group) = (read("etc/passwd")?, read("etc/group")?);
    let user = resolve(wanted, &passwd, &group).map_err(|why| Failure::own(format!("--user {wanted}: {why}"), None))?;
    user.own_streams();
    user.take_ids()?;
    let mut spec = spec.clone();
    if !spec.env.iter().any(|(name, _)| name == "HOME") {
        spec.env.push(("HOME".to_owned(), user.home.unwrap_or_else(|| "/".to_owned())));
    }
    Ok(spec)
}

/// A text file of the root; empty where there is none.
fn read_in_root(path: &str) -> io::Result<String> {
    // A FIFO would be waited for.
    let file = match open_below(path, OFlags::RDONLY | OFlags::NONBLOCK, Links::Inside) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(String::new());
        }
        opened => opened?,
    };
    if !kind_of(&file)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (name, group_name) = match wanted.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (wanted, None),
    };
    let users: Vec<Vec<&str>> = entries(passwd, 6);
    let groups: Vec<Vec<&str>> = entries(group, 3);
    // A number is an id, whatever the root's maker calls by it.
    let number = id(name)?;
    let known = users.iter().find(|user| if number.is_some() { id(user[2]) == Ok(number) } else { user[0] == name });
    let uid = match (known, number) {
        (Some(user), _) => id(user[2])?.ok_or_else(|| "its entry in /etc/passwd has no id".to_owned())?,
        (None, Some(uid)) => uid,
        (None, None) => return Err(format!("there is no user `{name}` in the root's /etc/passwd")),
    };
    let own = known.map_or(Ok(None), |user| id(user[3]))?.unwrap_or(0);
    let gid = match group_name {
        None => own,
        Some(wanted) => group_id(wanted, &groups)?,
    };
    // Docker has those of /etc/group only where no group is asked for.
    let is_member = |group: &&Vec<&str>| {
        let members = group.get(3).unwrap_or(&"");
        group_name.is_none() && known.is_some_and(|user| members.split(',').any(|member| member == user[0]))
    };
    let more = groups.iter().filter(is_member).filter_map(|group| id(group[2]).ok().flatten()).collect();
    Ok(User { uid, gid, groups: more, home: known.map(|user| user[5].to_owned()).filter(|home| !home.is_empty()) })
}

fn group_id(wanted: &str, groups: &[Vec<&str>]) -> Result<u32, String> {
    let number = match id(wanted)? {
        Some(number) => Some(number),
        None => groups.iter().find(|group| group[0] == wanted).map(|group| id(group[2])).transpose()?.flatten(),
    };
    number.ok_or_else(|| format!("there is no group `{wanted}` in the root's /etc/group"))
}

/// Lines of fields between colons that have at least so many.
fn entries(text: &str, least: usize) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= least).collect()
}

/// A number; absent for a name.
fn id(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() {
        return Err("a user or group is missing beside the colon".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| *number <= LARGEST);
    number.map(Some).ok_or_else(|| format!("`{text}` is no id: they go from 0 to {LARGEST}"))
}

impl User {
    fn take_ids(&self) -> Result<(), Failure> {
        let groups: Vec<Gid> = self.groups.iter().map(|&id| Gid::from_raw(id)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        nix::unistd::setgroups(&groups).doing("setting groups")?;
        let failed = |what: &'static str, id: u32| {
            move |errno: nix::Error| match errno {
                nix::Error::EINVAL => Failure::own(format!("the user namespace has no {what} {id}"), None),
                other => Failure::own(format!("becoming {what} {id}"), Some(other.into())),
            }
        };
        nix::unistd::setresgid(gid, gid, gid).map_err(failed("group", self.gid))?;
        nix::unistd::setresuid(uid, uid, uid).map_err(failed("user", self.uid))
    }

    /// Own what is to be opened by name through `/dev/stdout` and the like: pipes and the container's terminal.
    fn own_streams(&self) {
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            if is_pipe_or_terminal(stream) {
                // Without it everything works but for that.
                let _ = rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(self.uid)), None);
            }
        }
    }
}

fn is_pipe_or_terminal(stream: BorrowedFd<'_>) -> bool {
    crate::streams::is_pipe(stream) || rustix::termios::isatty(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a remark\nweb:x:33:34:web server:/srv/web:/bin/false\n\
        1234:x:0:0::/odd:\nodd:x:77:78::/odd:\nbroken:x\nnohome:x:44:45:::/bin/sh\nworse:x:many:1::/:\n\
        large:x:4294967296:0::/:\nminus:x:-1:0::/:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:4:syslog,web\nssl:x:101:web\n1234:x:0:\nodd:x\n";

    fn ids(wanted: &str) -> Result<(u32, u32, Vec<u32>), String> {
        resolve(wanted, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups))
    }

    #[test]
    fn names_and_numbers_mean_what_they_mean_to_docker() {
        for (wanted, expected) in [
            ("root", (0, 0, vec![])),
            ("0", (0, 0, vec![])),
            ("web", (33, 34, vec![4, 101])),
            ("33", (33, 34, vec![4, 101])),
            ("web:0", (33, 0, vec![])),
            ("web:log", (33, 4, vec![])),
            ("1000", (1000, 0, vec![])),
            ("1000:1001", (1000, 1001, vec![])),
            ("1000:ssl", (1000, 101, vec![])),
            // Names that look like ids, of root, are not taken for names.
            ("1234", (1234, 0, vec![])),
            ("1234:1234", (1234, 1234, vec![])),
            ("77", (77, 78, vec![])),
            ("2147483647:2147483647", (2_147_483_647, 2_147_483_647, vec![])),
        ] {
            assert_eq!(ids(wanted), Ok(expected), "{wanted}");
        }
        assert_eq!(resolve("web", PASSWD, GROUP).unwrap().home.as_deref(), Some("/srv/web"));
        assert_eq!(resolve("nohome", PASSWD, GROUP).unwrap().home, None);
    }

    #[test]
    fn who_is_unknown_is_nobody_and_never_root() {
        for wanted in [
            "nosuch",
            "web:nosuch",
            "",
            ":",
            "web:",
            ":34",
            "-1",
            "4294967295",
            "0:4294967295",
            "1:2:3",
            "worse",
            "large",
            "minus",
        ] {
            assert!(ids(wanted).is_err(), "{wanted}");
        }
        assert_eq!(resolve("1000", "", "").map(|user| user.uid), Ok(1000), "numbers need no file");
    }
}
