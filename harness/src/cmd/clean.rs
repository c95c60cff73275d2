//! `bench clean`: undo what killed runs left.

use anyhow::{Result, bail};

use crate::{ledger, output, paths};

/// Arguments of `bench clean`.
#[derive(clap::Args)]
pub struct CleanArgs {
    /// Only say what would be undone
    #[arg(long)]
    dry_run: bool,
}

/// Replay the ledgers whose process is gone.
pub fn run(args: &CleanArgs) -> Result<i32> {
    let cleaned = ledger::clean(&paths::state_dir(), args.dry_run)?;
    let did = if args.dry_run { "would undo" } else { "undid" };
    for change in &cleaned.changes {
        output::print_line(&format!("{did}: {change}"));
    }
    let half_made = bench_vm::remove_half_made(&paths::cache_path()?, args.dry_run)?;
    for path in &half_made {
        output::print_line(&format!("{did}: the half-made {}", path.display()));
    }
    if let Some((last, others)) = cleaned.failures.split_last() {
        others.iter().for_each(|failure| eprintln!("bench: {failure:#}"));
        bail!("{last:#}");
    }
    if cleaned.changes.is_empty() && half_made.is_empty() {
        output::print_line("nothing is left on this machine");
    }
    if cleaned.live > 0 {
        output::print_line(&format!("left alone: {} process(es) of bench still running", cleaned.live));
    }
    Ok(0)
}
