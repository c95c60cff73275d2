//! Records the git revision that is built.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/index");
    let described =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).output();
    let revision = described.ok().filter(|output| output.status.success());
    let revision = revision.and_then(|output| String::from_utf8(output.stdout).ok()).map(|text| text.trim().to_owned());
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    if let Some(revision) = &revision {
        println!("cargo::rustc-env=BENCH_GIT_REVISION={revision}");
    }
    let shown = revision.map_or(version.clone(), |revision| format!("{version} ({revision})"));
    println!("cargo::rustc-env=BENCH_VERSION={shown}");
}
