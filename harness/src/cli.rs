//! The command line: one subcommand, one module of [`crate::cmd`].

use std::process::ExitCode;

use bench_container::Starter;
use clap::{Parser, Subcommand};
use rustix::fs::Mode;

use crate::{cmd, failure};

/// Measure the cost of containers and virtual machines, compared with bare metal
#[derive(Parser)]
#[command(name = "bench", version = cmd::VERSION, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 fine, 1 a regression (compare), 2 could not do what was asked, 3 some trials failed or\n\
    are invalid, 4 inconclusive (compare, when asked, or of imported runs), 69 an environment that you named is not available,\n\
    130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure: execute a suite's workloads (or your own command) in every environment
    Run(cmd::run::RunArgs),
    /// Rewrite a run's report from its record alone, and print the summary
    Report(cmd::report::ReportArgs),
    /// Compare two runs, or two environments of one run, and fail on a regression
    Compare(cmd::compare::CompareArgs),
    /// Simulate, from the blocks of a run, how many blocks resolve the margin
    Power(cmd::power::PowerArgs),
    /// Write a run to an archive, which `report` and `compare` read like its folder
    Export(cmd::export::ExportArgs),
    /// Convert results of fio, iperf3 or hyperfine to a record, which is never judged
    Import(cmd::import::ImportArgs),
    /// List suites, workloads, environments or runs
    List(cmd::list::ListArgs),
    /// Check this machine: tools, KVM, sources of noise
    Doctor(cmd::doctor::DoctorArgs),
    /// Build, list or remove the tools tree and the guest image
    #[command(subcommand)]
    Image(cmd::image::ImageCommand),
    /// Execute a command in the container that `bench run` measures in
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Execute a command in the guest that `bench run` measures in
    #[command(subcommand)]
    Vm(VmCommand),
    /// Undo the changes that killed runs left on the machine
    Clean(cmd::clean::CleanArgs),
}

#[derive(Subcommand)]
enum ContainerCommand {
    /// Start a container, as `docker run -it --rm` does
    Run(cmd::container::RunArgs),
}

#[derive(Subcommand)]
enum VmCommand {
    /// Boot a guest and execute a command in it, on your terminal if there is one
    Run(cmd::vm::RunArgs),
}

/// Parse the arguments and do what they say; `starter` is for a container, if that is what they say.
pub fn main(starter: Option<Starter>) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            return code(failure::usage(&e, usage_error(std::env::args_os().skip(1))));
        }
    };
    keep_to_root();
    let (done, own_failure) = match cli.command {
        Command::Run(args) => (cmd::run::run(&args), None),
        Command::Report(args) => (cmd::report::run(&args), None),
        Command::Compare(args) => (cmd::compare::run(&args), None),
        Command::Power(args) => (cmd::power::run(&args), None),
        Command::Export(args) => (cmd::export::run(&args), None),
        Command::Import(args) => (cmd::import::run(&args), None),
        Command::List(args) => (cmd::list::run(&args), None),
        Command::Doctor(args) => (cmd::doctor::run(&args), None),
        Command::Image(command) => (cmd::image::run(&command), None),
        Command::Container(ContainerCommand::Run(args)) => (cmd::container::run(&args, starter), Some(failure::OWN)),
        Command::Vm(VmCommand::Run(args)) => (cmd::vm::run(&args), Some(failure::OWN)),
        Command::Clean(args) => (cmd::clean::run(&args), None),
    };
    match done {
        Ok(status) => code(status),
        Err(e) => {
            crate::output::tell(&format!("bench: {}", chain(&e)));
            code(own_failure.unwrap_or_else(|| failure::exit_code(&e)))
        }
    }
}

/// The exit code of a wrong command line: `container run` has docker's.
fn usage_error(mut words: impl Iterator<Item = std::ffi::OsString>) -> i32 {
    let is_container =
        words.next().is_some_and(|word| word == "container") && words.next().is_some_and(|word| word == "run");
    if is_container { failure::OWN } else { failure::USAGE }
}

/// What root makes is not for others to write, whatever its shell says.
fn keep_to_root() {
    let strict = Mode::WGRP | Mode::WOTH;
    if nix::unistd::geteuid().is_root() {
        let asked = rustix::process::umask(strict);
        rustix::process::umask(asked | strict);
    }
}

/// The causes once each: some libraries repeat their source's text in their own.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_cause_is_printed_once() {
        let error = anyhow::anyhow!("no such file").context("reading `x`: no such file").context("loading");
        assert_eq!(chain(&error), "loading: reading `x`: no such file");
    }
}
