//! The options of fio, each of them classified: what goes to fio, what is bench's, what is refused because fio works as root.

use super::ini::{JobFileError, Setting, short};

/// All options that are known.
const TABLE: &str = include_str!("options.txt");

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It goes to fio as it stands.
    Passed,
    /// The same, unless it names a file in quotes.
    Unquoted,
    /// It is left out.
    Owned,
    /// The target takes its place.
    Target,
    /// Its path is bench's.
    Log,
    /// It goes to fio with one of these values.
    Only(&'static str, &'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

/// An option by its own name, which is the first one, and its class; absent where fio has none of this name.
pub(super) fn find(key: &str) -> Option<(&'static str, Class)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let (names, class) = line.split_once(' ')?;
        names.split(',').any(|name| name == key).then_some(())?;
        let (class, detail) = class.split_once(' ').unwrap_or((class, ""));
        let class = match class {
            "pass" => Class::Passed,
            "pass-unquoted" => Class::Unquoted,
            "own" => Class::Owned,
            "target" => Class::Target,
            "log" => Class::Log,
            "only" => detail.split_once(' ').map(|(values, reason)| Class::Only(values, reason))?,
            _ => Class::Refused(detail),
        };
        Some((names.split(',').next().unwrap_or(names), class))
    })
}

/// Refuse an option that is not known, or that would reach beyond the target.
pub(super) fn check(setting: &Setting) -> Result<(), JobFileError> {
    let (key, value) = (short(&setting.key), setting.value());
    let refuse = |why: &str| Err(setting.at.wrong(format!("`{key}` is refused: {why}")));
    let Some((_, class)) = find(&setting.key) else {
        return refuse(
            "it is no option of fio that bench knows, and a file that fio reads as root may do nothing unknown",
        );
    };
    match class {
        Class::Refused(why) => refuse(why),
        Class::Only(values, why) if !values.split(',').any(|known| known == value) => {
            let values = values.replace(',', ", ");
            Err(setting.at.wrong(format!("`{key}={}` is refused; `{key}` may be {values}: {why}", short(value))))
        }
        Class::Target if !is_plain_name(value) => Err(setting.at.wrong(format!(
            "`{key}={}` is refused: bench drives its --target and nothing else; leave it out, or write one plain name for it",
            short(value)
        ))),
        Class::Unquoted if value.contains('\'') => refuse("in quotes it would name a file that is read as root"),
        _ => Ok(()),
    }
}

/// No path, and no list of files.
fn is_plain_name(value: &str) -> bool {
    !value.is_empty() && !value.contains(['/', ':', '\\']) && !value.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::kinds::fio_job::ini::At;

    fn says(args: &[&str]) -> Option<String> {
        let output = Command::new("fio").args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn names(listing: &str) -> impl Iterator<Item = &str> {
        listing.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim())
    }

    #[test]
    fn every_option_of_the_installed_fio_is_classified() {
        let Some(all) = says(&["--cmdhelp=all"]) else {
            eprintln!("skipped: fio is not installed");
            return;
        };
        let mut unknown: Vec<_> = names(&all).filter(|name| find(name).is_none()).map(str::to_owned).collect();
        assert!(names(&all).count() > 150, "{all}");
        for name in names(&all) {
            let help = says(&[&format!("--cmdhelp={name}")]).unwrap();
            let alias = help.lines().find_map(|line| line.trim().strip_prefix("alias:")).map(str::trim);
            unknown.extend(alias.filter(|alias| find(alias).map(|(own, _)| own) != Some(name)).map(str::to_owned));
        }
        for engine in says(&["--enghelp"]).unwrap().lines().skip(1) {
            let options = says(&[&format!("--enghelp={}", engine.trim())]).unwrap();
            unknown.extend(names(&options).filter(|name| find(name).is_none()).map(str::to_owned));
        }
        assert!(unknown.is_empty(), "not in options.txt: {unknown:?}");
    }

    #[test]
    fn every_line_of_the_table_has_a_class_and_a_name_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let (names, class) = line.split_once(' ').unwrap();
            let (word, detail) = class.split_once(' ').unwrap_or((class, ""));
            assert!(["pass", "pass-unquoted", "own", "target", "log", "only", "refuse"].contains(&word), "{line}");
            assert_eq!(["own", "only", "refuse"].contains(&word), !detail.is_empty(), "{line}");
            for name in names.split(',') {
                assert!(seen.insert(name), "{name} twice");
                assert!(find(name).is_some(), "{line}");
            }
        }
    }

    fn refused(line: &str) -> Option<String> {
        let (key, value) = line.split_once('=').map_or((line, None), |(key, value)| (key, Some(value.to_owned())));
        check(&Setting { key: key.to_owned(), value, at: At { file: "x.fio".into(), line: 7 } })
            .err()
            .map(|e| e.to_string())
    }

    #[test]
    fn what_reaches_beyond_the_target_is_refused() {
        for line in [
            "exec_prerun=rm -rf /",
            "exec_postrun=x",
            "ioengine=net",
            "ioengine=rbd",
            "ioengine=exec",
            "ioengine=external:/tmp/evil.so",
            "ioengine=/tmp/evil.so",
            "filename=/dev/sda",
            "filename=a:b",
            "filename=..",
            "filename=-",
            "directory=/etc",
            "read_iolog=x",
            "write_iolog=x",
            "ioscheduler=none",
            "cgroup=x",
            "uid=0",
            "unlink=1",
            "unlink",
            "create_only",
            "profile=act",
            "mem=mmaphuge:/etc/passwd",
            "buffer_pattern='/etc/shadow'",
            "verify_pattern='/etc/shadow'",
            "file_append=1",
            "nrfiles=4",
            "opendir=/",
            "allow_mounted_write=1",
            "kb_base=1000",
            "no_such_option=1",
            "Filename=x",
        ] {
            let said = refused(line).unwrap_or_else(|| panic!("{line} was taken"));
            assert!(said.starts_with("x.fio:7: `") && said.contains(line.split('=').next().unwrap()), "{said}");
        }
    }

    #[test]
    fn what_drives_the_target_is_taken() {
        for line in [
            "ioengine=io_uring",
            "filename=disk.tmp",
            "directory=wal-test",
            "bssplit=4k/60:64k/40",
            "random_distribution=zipf:1.2",
            "rate_iops=20000",
            "ss=iops_slope:0.3%",
            "verify=crc32c",
            "write_iops_log=/anywhere/it/is/replaced",
            "unlink=0",
            "nrfiles=1",
            "stonewall",
            "wait_for_previous",
            "blocksize=4k",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
    }
}
