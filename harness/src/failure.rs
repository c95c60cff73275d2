//! Errors that choose an exit code. All others are 2: what was asked could not be done.

use crate::output;

/// An environment that the user named cannot be had: exit code 69 (`EX_UNAVAILABLE` of sysexits.h), nothing was measured.
#[derive(Debug, thiserror::Error)]
#[error("environment `{environment}` cannot be used, nothing was measured")]
pub struct Unavailable {
    /// Its name.
    pub environment: String,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The program of a command is not the same, or not there, in an environment: exit code 2, nothing was measured.
#[derive(Debug, thiserror::Error)]
#[error("the command cannot be executed: {0}")]
pub struct NotInside(pub String);

/// A deciding metric fails the gate.
pub const REGRESSION: i32 = 1;
/// Exit code for usage and definition errors, and whatever else could not be done.
pub const USAGE: i32 = 2;
/// Some trials failed or are invalid.
pub const TRIALS: i32 = 3;
/// The gate cannot tell, and was asked to fail then.
pub const INCONCLUSIVE: i32 = 4;
/// An environment that the user named fails preflight.
pub const UNAVAILABLE: i32 = 69;
/// Our own failure of `container run` and `vm run`, as docker has it.
pub const OWN: i32 = 125;
/// Interrupted by the user.
pub const INTERRUPTED: i32 = 130;

/// Print what the command line's definition says, help or a usage error, which repeats arguments; the exit code, which is `wrong` for an
/// error.
pub fn usage(said: &clap::Error, wrong: i32) -> i32 {
    if said.use_stderr() {
        output::tell(said.render().to_string().trim_end());
        return wrong;
    }
    let help = said.render();
    let printed = match output::in_color() {
        true => output::print_document(&help.ansi().to_string()),
        false => output::print(&help.to_string()),
    };
    match printed {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("bench: {e:#}");
            wrong
        }
    }
}

/// The exit code for an error.
pub fn exit_code(error: &anyhow::Error) -> i32 {
    if error.is::<Unavailable>() { UNAVAILABLE } else { USAGE }
}

/// Refuse what only root can do, saying what needs it.
pub fn need_root(doing: &str, because: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "{doing} needs root: {because}; run it with sudo (results stay yours)"
    );
    Ok(())
}
