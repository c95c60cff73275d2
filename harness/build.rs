//! Records the git revision that is built.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/index");
    let described = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).output();
    let revision = described.ok().filter(|output| output.status.success());
    if let Some(revision) = revision.and_then(|output| String::from_utf8(output.stdout).ok()) {
        println!("cargo::rustc-env=BENCH_GIT_REVISION={}", revision.trim());
    }
}
