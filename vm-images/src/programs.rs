//! Programs of the distribution that images are built with and guests are started by, and how they are run.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{ImageError, QEMU, is_executable};

/// A program that is not part of `bench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name, looked for in `PATH` and the system's own folders.
    pub name: &'static str,
    /// Debian's (and Ubuntu's) package of it.
    pub package: &'static str,
    /// What it is for.
    pub purpose: &'static str,
}

/// Everything that building and starting a guest needs.
pub const PROGRAMS: &[Program] = &[
    Program { name: QEMU, package: "qemu-system-x86", purpose: "the guest" },
    Program { name: "mke2fs", package: "e2fsprogs", purpose: "the guest's root image" },
    Program { name: "modprobe", package: "kmod", purpose: "finding the guest's kernel modules" },
    Program { name: "xz", package: "xz-utils", purpose: "unpacking kernel modules (.ko.xz)" },
    Program { name: "zstd", package: "zstd", purpose: "unpacking kernel modules (.ko.zst)" },
];

/// Where a program is: in `PATH`, or in the folders that sudo and cron leave out of it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

/// A command for a program that [`find_program`] finds; one that is not there fails when it is started.
pub(crate) fn program(name: &str) -> Command {
    Command::new(find_program(name).unwrap_or_else(|| name.into()))
}

/// Run a program to its end; its standard output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>, ImageError> {
    let shown = format!("{command:?}").replace('"', "");
    let failed = |said: String| ImageError::Program { command: shown.clone(), said };
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| missing(command, &e).unwrap_or_else(|| failed(e.to_string())))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(2).collect();
    Err(failed(format!("{} ({})", last.into_iter().rev().collect::<Vec<_>>().join("; "), output.status)))
}

fn missing(command: &Command, error: &std::io::Error) -> Option<ImageError> {
    let name = Path::new(command.get_program()).file_name()?.to_str()?;
    let known = PROGRAMS.iter().find(|program| program.name == name)?;
    let (purpose, package) = (known.purpose, known.package);
    (error.kind() == ErrorKind::NotFound).then(|| ImageError::NoProgram { name: name.to_owned(), purpose, package })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = run(Command::new("/nowhere/zstd").arg("-dc")).unwrap_err().to_string();
        assert!(error.contains("`zstd` is missing") && error.contains("package zstd"), "{error}");
        let error = run(&mut Command::new("/nowhere/other")).unwrap_err().to_string();
        assert!(error.contains("`/nowhere/other` failed: No such file"), "{error}");
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_last_words() {
        let error = run(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("one; two (exit status: 3)"), "{error}");
    }
}
