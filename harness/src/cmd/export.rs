//! `bench export RUN`: one archive that `report` and `compare` read like the folder.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bench_results::archive::{self, ENDING};
use bench_results::store::find_run;

use crate::caller::Caller;
use crate::output;

/// Arguments of `bench export`.
#[derive(clap::Args)]
pub struct ExportArgs {
    /// A run's folder, a unique prefix of its id, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// Parent of the run folders
    #[arg(long, value_name = "DIR", default_value = "bench-runs")]
    out: PathBuf,
    /// The archive to write [default: ID.tar.gz in the current folder]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Write the archive and print its path. Behind `sudo` it is the caller who does, so that nothing comes into it that is not theirs to
/// read.
pub fn run(args: &ExportArgs) -> Result<i32> {
    Caller::take_over()?;
    let folder = find_run(&args.out, &args.run)?;
    ensure!(!folder.is_file(), "{} is an archive already", folder.display());
    let name = std::path::absolute(&folder)?.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("{name}{ENDING}")));
    ensure!(to.to_string_lossy().ends_with(ENDING), "--to {}: the name must end in {ENDING}", to.display());
    ensure!(!to.exists(), "{} exists already; remove it, or give another name with --to", to.display());
    archive::export(&folder, &to)?;
    output::print_line(&to.display().to_string())?;
    Ok(0)
}
