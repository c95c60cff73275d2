//! The way to the program: its working directory and its file, by paths that the maker of the root folder may have laid.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::image_name;
use crate::init::{Doing, Failure, NOT_EXECUTABLE};
use crate::inside::{kind_of, open_here};
use crate::spec::Spec;

/// A folder of the host as a standard descriptor would lead paths of the root folder to it.
pub(crate) fn refuse_folders() -> Result<(), Failure> {
    for (number, fd) in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()].iter().enumerate() {
        let stat = rustix::fs::fstat(fd).doing(format!("looking at descriptor {number}"))?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Err(Failure::own(
                format!("descriptor {number} is open on a folder: give it a file or a pipe"),
                None,
            ));
        }
    }
    Ok(())
}

/// In a new root no link of `/proc` to an open file is followed, and where the path led is looked at.
pub(crate) fn enter_working_directory(spec: &Spec) -> Result<(), Failure> {
    let Some(cwd) = &spec.cwd else { return Ok(()) };
    let doing = || format!("changing to the folder {cwd}");
    if spec.root.is_none() {
        return std::env::set_current_dir(cwd).doing(doing());
    }
    let folder = open_here(Path::new(cwd)).doing(doing())?;
    rustix::process::fchdir(folder).doing(doing())?;
    let found = rustix::process::getcwd(Vec::new()).doing(doing())?;
    match found.as_bytes().first() {
        Some(b'/') => Ok(()),
        // The kernel says `(unreachable)` before it.
        _ => Err(Failure::own(format!("{}: it is not in the new root", doing()), None)),
    }
}

/// Look the program up as a shell does.
pub(crate) fn find(program: &str, spec: &Spec) -> Result<PathBuf, Failure> {
    if program.contains('/') {
        return match open_here(Path::new(program)) {
            Err(e) if spec.root.is_some() && e.raw_os_error() == Some(libc::ELOOP) => {
                Err(Failure { status: NOT_EXECUTABLE, doing: format!("looking for `{program}`"), source: Some(e) })
            }
            _ => Ok(program.into()),
        };
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH").map_or("/usr/bin:/bin", |(_, value)| value);
    let found =
        std::env::split_paths(OsStr::new(path)).map(|folder| folder.join(program)).find(|file| is_program(file));
    found.ok_or_else(|| image_name::not_found(program, format!("`{program}` was not found in PATH ({path})")))
}

fn is_program(path: &Path) -> bool {
    let is_file = open_here(path).and_then(|file| kind_of(&file)).is_ok_and(FileType::is_file);
    is_file && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}
