//! `bench agent --scratch DIR`: serves jobs on standard input and output, natively and in a container.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// Serve until the conductor says so or goes away.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let (Some(flag), Some(scratch)) = (arguments.next(), arguments.next()) else {
        return fail("usage: bench agent --scratch DIR (started by bench itself)");
    };
    if flag != "--scratch" {
        return fail("usage: bench agent --scratch DIR (started by bench itself)");
    }
    bench_agent::adopt_orphans();
    let stdin = std::io::stdin();
    let mut stdout = std::io::stdout().lock();
    match bench_agent::serve(stdin.as_fd(), &mut stdout, &PathBuf::from(scratch), Vec::new()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&format!("{:#}", anyhow::Error::from(e))),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("bench agent: {text}");
    ExitCode::FAILURE
}
