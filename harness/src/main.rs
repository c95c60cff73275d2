//! `bench`: measures honestly what containers and virtual machines cost.
// A result that could not be written must not end in success: `output::print` checks, `println!` panics.
#![cfg_attr(not(test), deny(clippy::print_stdout))]

/// As std's, which panics where standard error cannot be written, in the middle of a run as well. In tests it is std's own, which
/// the test harness captures.
#[cfg(not(test))]
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::output::tell(&format!($($text)*)) };
}

mod agent;
mod caller;
mod cli;
mod cmd;
mod conductor;
mod environments;
mod failure;
mod host;
mod isolation;
mod ledger;
mod netlab;
mod output;
mod paths;
mod pinned;
mod terminal;
mod tools;
mod trusted;

use std::process::ExitCode;

fn main() -> ExitCode {
    bench_agent::beginning_ns();
    // These must come before any thread or runtime exists: they change namespaces, or are process 1 of something.
    if bench_vm::is_guest_init() {
        bench_vm::guest_main();
    }
    match std::env::args_os().nth(1).as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("container-init") => bench_container::init_main(),
        Some("agent") => agent::main(),
        Some("probe") => cmd::probe::main(),
        Some("isolation") => isolation::main(),
        // It begins on another CPU while the arguments are understood; root's alone, to whom it costs little.
        Some("container") if nix::unistd::geteuid().is_root() => cli::main(bench_container::Starter::begin().ok()),
        _ => cli::main(None),
    }
}
