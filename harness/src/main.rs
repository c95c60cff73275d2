//! `bench`: measures honestly what containers and virtual machines cost.

mod cli;
mod cmd;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
