//! `bench clean`: undo what killed runs left.

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::{ledger, output, paths};

/// Arguments of `bench clean`.
#[derive(clap::Args)]
pub struct CleanArgs {
    /// Only print the changes that would be undone
    #[arg(long)]
    dry_run: bool,
}

/// Replay the ledgers whose process is gone, and remove what killed builders left half-made in the cache.
pub fn run(args: &CleanArgs) -> Result<i32> {
    let mut cleaned = ledger::clean(&paths::state_path()?, args.dry_run)?;
    let half_made = match paths::cache_path() {
        Ok(cache) => bench_vm::remove_half_made(&cache, args.dry_run),
        // Neither a home nor the variable: nothing could be built.
        Err(_) if !geteuid().is_root() => Ok(Some(Vec::new())),
        Err(e) => return Err(e),
    };
    let half_made = half_made.unwrap_or_else(|e| {
        cleaned.failures.push(e.into());
        Some(Vec::new())
    });
    let did = if args.dry_run { "would undo" } else { "undid" };
    let half_made_text = half_made.iter().flatten().map(|path| format!("the half-made {}", path.display()));
    let undone: Vec<_> = cleaned.changes.iter().map(ToString::to_string).chain(half_made_text).collect();
    let mut said: String = undone.iter().map(|what| format!("{did}: {what}\n")).collect();
    if undone.is_empty() && cleaned.failures.is_empty() {
        said.push_str("nothing is left on this machine\n");
    }
    if cleaned.live > 0 {
        said.push_str(&format!("left alone: {} process(es) of bench still running\n", cleaned.live));
    }
    if half_made.is_none() {
        said.push_str("left alone: the cache, in which somebody builds\n");
    }
    // What could not be undone is said whether or not the rest can be.
    let printed = output::print(&said);
    if let Some((last, others)) = cleaned.failures.split_last() {
        others.iter().for_each(|failure| eprintln!("bench: {failure:#}"));
        bail!("{last:#}");
    }
    printed.map(|()| 0)
}
