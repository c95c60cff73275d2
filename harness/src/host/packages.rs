//! What `bench` needs from the distribution, in this one place.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
pub use bench_vm::{Program, find_program as find};

use crate::output;

/// Measured programs, and those of containers and the network lab.
const PROGRAMS: &[Program] = &[
    Program { name: "fio", package: "fio", purpose: "the I/O workloads" },
    Program { name: "iperf3", package: "iperf3", purpose: "the network streams" },
    Program { name: "nft", package: "nftables", purpose: "NAT in the network lab" },
    Program { name: "busybox", package: "busybox-static", purpose: "a shell in containers and guests" },
];

/// Everything that `bench run` starts.
pub fn programs() -> impl Iterator<Item = &'static Program> {
    PROGRAMS.iter().chain(bench_vm::PROGRAMS)
}

/// Where a program is, or which package has it.
pub fn require(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| match programs().find(|program| program.name == name) {
        Some(program) => format!(
            "`{name}` is missing ({}): install the package {}, or let `bench doctor --install` do it",
            program.purpose, program.package
        ),
        None => format!("`{name}` was not found in PATH"),
    })
}

/// Refuse the value of an option that is to name a program and does not.
pub fn check_program(option: &str, path: &Path) -> Result<()> {
    let shown = path.display();
    let found = std::fs::metadata(path).with_context(|| format!("{option}={shown}"))?;
    ensure!(found.is_file() && bench_vm::is_executable(path), "{option}={shown}: it is no program");
    Ok(())
}

/// The programs that are not there.
pub fn missing() -> Vec<Program> {
    programs().copied().filter(|program| find(program.name).is_none()).collect()
}

/// Install what is missing with apt; on a terminal, ask first.
pub fn install() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return output::print_line("everything that bench starts is installed");
    }
    let names: Vec<_> = missing.iter().map(|program| program.package).collect();
    let lines = missing.iter().map(|program| format!("  {} ({})\n", program.package, program.purpose));
    output::print(&format!("missing packages:\n{}", lines.collect::<String>()))?;
    ensure!(
        find("apt-get").is_some(),
        "only Debian's and Ubuntu's packages are known here; install with your distribution's tool: {}",
        missing.iter().map(|program| program.name).collect::<Vec<_>>().join(" ")
    );
    crate::failure::need_root("installing packages", "apt-get writes to the system")?;
    if std::io::stdin().is_terminal() && !asked("install them now? [y/N] ")? {
        bail!("nothing was installed");
    }
    apt(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&names);
    apt(&arguments)?;
    let still: Vec<_> = self::missing().iter().map(|program| program.name).collect();
    ensure!(still.is_empty(), "apt-get succeeded, but still missing: {}", still.join(" "));
    Ok(())
}

fn asked(question: &str) -> Result<bool> {
    output::print(question)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let status = command.status().context("starting apt-get")?;
    ensure!(status.success(), "`apt-get {}` failed ({status}); its own words are above", arguments.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert!(require("sh").unwrap().ends_with("sh"));
        let error = require("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }
}
