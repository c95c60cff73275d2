//! Programs that are there and are of no use: they do not run, or are too old for what is asked of them.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// The oldest version of a program, and what those before lack.
struct Oldest {
    program: &'static str,
    version: (u32, u32),
    lacks: &'static str,
}

const OLDEST: [Oldest; 3] = [
    Oldest { program: "fio", version: (3, 0), lacks: "prints times and sizes in other units" },
    // iperf_api.c of 3.0.12.
    Oldest { program: "iperf3", version: (3, 1), lacks: "has no --cport" },
    Oldest { program: "nft", version: (0, 0), lacks: "" },
];

/// Why a program is of no use; absent where it is of use, or nothing is known of it.
pub fn unfit(name: &str, path: &Path) -> Option<String> {
    let oldest = OLDEST.iter().find(|oldest| oldest.program == name)?;
    let shown = path.display();
    match version(path) {
        Err(why) => Some(format!("{shown} {why}")),
        Ok(said) => judge(oldest, &said).map(|why| format!("{shown} {why}")),
    }
}

/// Refuse a program that says that it is too old. One that does not say its version may be a script in front of the real one.
pub fn check(name: &str, path: &Path) -> Result<()> {
    let oldest = OLDEST.iter().find(|oldest| oldest.program == name);
    let judged = oldest.zip(version(path).ok()).and_then(|(oldest, said)| judge(oldest, &said));
    match judged {
        Some(why) => bail!("{} {why}", path.display()),
        None => Ok(()),
    }
}

/// What a program says of its version; an error is why it does not.
fn version(path: &Path) -> std::result::Result<String, String> {
    let output = Command::new(path).arg("--version").output().map_err(|e| format!("cannot be started: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = bench_agent::printable(said.lines().next().unwrap_or("it prints nothing"), 400);
    Err(format!("fails with --version ({}): {said}", output.status))
}

fn judge(oldest: &Oldest, said: &str) -> Option<String> {
    // iperf3 3.0 says first which kernel this is.
    let stem = oldest.program.trim_end_matches('3');
    let line = said.lines().map(str::trim).find(|line| line.starts_with(stem))?;
    let Oldest { version: (major, minor), lacks, program } = oldest;
    let is_older = number(line)? < (*major, *minor);
    is_older.then(|| {
        let line = bench_agent::printable(line, 80);
        format!("is {line}, which {lacks}: install {program} {major}.{minor} or later")
    })
}

/// The first version number of a line: `fio-3.33`, `iperf 3.12 (cJSON 1.7.15)`, `nftables v1.0.6`.
fn number(line: &str) -> Option<(u32, u32)> {
    let from = &line[line.find(|c: char| c.is_ascii_digit())?..];
    let mut numbers = from.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let judged = |name: &str, said: &str| judge(OLDEST.iter().find(|oldest| oldest.program == name).unwrap(), said);
        for (name, said) in [
            ("fio", "fio-3.0"),
            ("fio", "fio-3.1"),
            ("fio", "fio-3.42-135-gf5344384"),
            ("fio", "fio-10.2"),
            ("fio", "fio-git"),
            ("iperf3", "iperf 3.1"),
            ("iperf3", "iperf 3.12 (cJSON 1.7.15)\nLinux host 6.1"),
            ("iperf3", "iperf 3.20+"),
            ("nft", "nftables v1.0.6 (Lester Gooch #5)"),
            ("nft", ""),
        ] {
            assert_eq!(judged(name, said), None, "{said}");
        }
        let old = judged("fio", "fio-2.16").unwrap();
        assert_eq!(old, "is fio-2.16, which prints times and sizes in other units: install fio 3.0 or later");
        let old = judged("iperf3", "Linux host 6.18.0 x86_64 GNU/Linux\niperf 3.0.12\n").unwrap();
        assert!(old.starts_with("is iperf 3.0.12, ") && old.contains("--cport"), "{old}");
    }

    #[test]
    fn what_does_not_run_is_of_no_use() {
        assert_eq!(unfit("fio", Path::new("/bin/true")), None);
        assert!(unfit("fio", Path::new("/bin/false")).unwrap().contains("exit status: 1"));
        assert!(unfit("nft", Path::new("/no/nft")).unwrap().contains("cannot be started"));
        assert_eq!(unfit("sh", Path::new("/bin/false")), None, "nothing is asked of it");
        assert!(check("fio", Path::new("/bin/false")).is_ok(), "it may be a script");
    }
}
