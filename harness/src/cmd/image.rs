//! `bench image`: the tools tree and the guest.

use std::path::PathBuf;

use anyhow::{Context, Result};
use bench_vm::{Check, Image};

use crate::{output, paths, tools};

/// Subcommands of `bench image`.
#[derive(clap::Subcommand)]
pub enum ImageCommand {
    /// Build the tree and the image that are not cached yet
    Build {
        /// A guest kernel instead of the host's own or the distribution's
        #[arg(long, value_name = "FILE")]
        kernel: Option<PathBuf>,
        /// A file to add to the tree, with the libraries it needs
        #[arg(long = "with", value_name = "PATH")]
        with: Vec<PathBuf>,
    },
    /// List the cache
    List,
    /// Remove everything from the cache, or only entries that begin with DIGEST
    Remove {
        /// As `bench image list` shows it
        digest: Option<String>,
    },
}

/// Do it.
pub fn run(command: &ImageCommand) -> Result<i32> {
    let cache = paths::cache_dir()?;
    match command {
        ImageCommand::Build { kernel, with } => {
            let tree = tools::build(&absolute(with)?, &[], Check::Content)?;
            output::print_line(&format!("tools tree  {}  {}", &tree.digest[..12], tree.path.display()))?;
            let image = build(&tree, kernel.as_deref())?;
            output::print_line(&format!("guest image {}  kernel {}", &image.digest[..12], image.kernel_release))?;
        }
        ImageCommand::List => {
            let rows = bench_vm::list(&cache)?.into_iter().map(|item| {
                vec![item.kind, item.digest.chars().take(12).collect(), output::bytes(item.bytes), item.path]
            });
            output::print(&output::columns(&rows.collect::<Vec<_>>()))?;
        }
        ImageCommand::Remove { digest } => {
            let removed = bench_vm::remove(&cache, digest.as_deref())?;
            output::print(&removed.iter().map(|what| format!("removed {what}\n")).collect::<String>())?;
        }
    }
    Ok(0)
}

/// Files that the user names, as absolute paths.
pub fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    paths.iter().map(|path| std::path::absolute(path).with_context(|| format!("finding {}", path.display()))).collect()
}

/// The guest image for a tree and a kernel, telling what takes a while.
pub fn build(tree: &bench_vm::ToolsTree, kernel: Option<&std::path::Path>) -> Result<Image> {
    let cache = paths::cache_dir()?;
    let executable = tools::executable()?;
    let mut tell = |text: &str| eprintln!("bench: {text} ...");
    Image::build(&cache, tree, &executable, kernel, &mut tell).context("building the guest image")
}
