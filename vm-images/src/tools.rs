//! The tools tree: the measured programs with everything they need, at the paths they have on the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::closure::closure;
use crate::sources::Sources;
use crate::{ImageError, io, run};

/// Places to mount on: folders, and files for `bench` itself and the target.
const FOLDERS: [&str; 6] = ["proc", "sys", "dev", "tmp", "run", "mnt"];
const FILES: [(&str, &str); 5] = [
    ("bench", ""),
    ("target", ""),
    ("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
];
/// Folders that are links on hosts with a merged /usr.
const LINKS: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// How much of a cached tree is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Nothing: every file's content is hashed. Once a run.
    Content,
    /// Sizes and times of the files it was made from.
    Sources,
}

/// A built tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolsTree {
    /// Its root.
    pub path: PathBuf,
    /// SHA-256 over paths, modes and contents.
    pub digest: String,
}

/// What a cached tree was made from.
#[derive(Serialize, Deserialize)]
struct Manifest {
    digest: String,
    sources: Sources,
}

impl ToolsTree {
    /// The tree of these programs (absolute paths; folders are taken whole), from the cache where it is still right. `points`: empty
    /// files, which others are mounted on.
    pub fn build(
        cache: &Path,
        programs: &[PathBuf],
        points: &[PathBuf],
        check: Check,
    ) -> Result<ToolsTree, ImageError> {
        let names = programs.iter().map(|program| program.display().to_string());
        let names: Vec<_> = names.chain(points.iter().map(|point| format!("point {}", point.display()))).collect();
        let home = cache.join(format!("tree-{}", &hex(&Sha256::digest(names.join("\n")))[..16]));
        if let Some(tree) = cached(&home, check) {
            return Ok(tree);
        }
        let _lock = crate::cache::lock(cache)?;
        // Another process may have built it meanwhile.
        if let Some(tree) = cached(&home, check) {
            return Ok(tree);
        }
        let new = crate::cache::half_made(cache)?;
        let root = new.path().join("root");
        let sources = fill(&root, programs)?;
        points.iter().try_for_each(|point| make_point(&root, point))?;
        let manifest = Manifest { digest: digest(&root)?, sources };
        let text = serde_json::to_vec(&manifest).unwrap_or_default();
        fs::write(new.path().join("manifest.json"), text).map_err(io("writing to", new.path()))?;
        for path in [new.path(), &root] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(io("opening up", path))?;
        }
        if home.exists() {
            fs::remove_dir_all(&home).map_err(io("removing the outdated", &home))?;
        }
        let new = new.keep();
        fs::rename(&new, &home).map_err(io("naming the tools tree", &home))?;
        Ok(ToolsTree { path: home.join("root"), digest: manifest.digest })
    }
}

fn cached(home: &Path, check: Check) -> Option<ToolsTree> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(home.join("manifest.json")).ok()?).ok()?;
    let path = home.join("root");
    let unchanged = manifest.sources.changed().next().is_none() && path.is_dir();
    let right = unchanged && (check == Check::Sources || digest(&path).ok()? == manifest.digest);
    right.then_some(ToolsTree { path, digest: manifest.digest })
}

/// Copy everything in; what it was made from.
fn fill(root: &Path, programs: &[PathBuf]) -> Result<Sources, ImageError> {
    for folder in FOLDERS.into_iter().chain(["etc", "usr/bin"]) {
        let path = root.join(folder);
        fs::create_dir_all(&path).map_err(io("creating", &path))?;
    }
    for name in LINKS {
        if let Ok(to) = fs::read_link(Path::new("/").join(name)) {
            let to = to.strip_prefix("/").unwrap_or(&to);
            fs::create_dir_all(root.join(to)).map_err(io("creating", &root.join(to)))?;
            symlink(to, root.join(name)).map_err(io("linking", &root.join(name)))?;
        }
    }
    let mut sources = Sources::default();
    for file in closure(programs)? {
        copy(&file, root)?;
        sources.add(&file);
    }
    for (name, content) in FILES {
        let path = root.join(name);
        fs::write(&path, content).map_err(io("writing", &path))?;
    }
    if let Some(busybox) = programs.iter().find(|program| program.ends_with("busybox")) {
        applets(busybox, root)?;
    }
    Ok(sources)
}

/// Copy a file to its own path below `root`; of its folders links are followed, of itself only the content counts.
fn copy(file: &Path, root: &Path) -> Result<(), ImageError> {
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return Ok(()) };
    let parent = fs::canonicalize(parent).map_err(io("finding", parent))?;
    let target = root.join(parent.strip_prefix("/").unwrap_or(&parent));
    fs::create_dir_all(&target).map_err(io("creating", &target))?;
    fs::copy(file, target.join(name)).map(drop).map_err(io("copying into the tools tree", file))
}

/// An empty file, unless there is something of this name.
fn make_point(root: &Path, point: &Path) -> Result<(), ImageError> {
    let path = root.join(point.strip_prefix("/").unwrap_or(point));
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder).map_err(io("creating", folder))?;
    match fs::File::create_new(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(io("creating", &path)(e)),
        _ => Ok(()),
    }
}

/// A link for each applet that is not there as a program of its own.
fn applets(busybox: &Path, root: &Path) -> Result<(), ImageError> {
    let list = run(Command::new(busybox).arg("--list"))?;
    for name in String::from_utf8_lossy(&list).lines().filter(|name| !name.is_empty() && !name.contains('/')) {
        let link = root.join("usr/bin").join(name);
        if !link.exists() && link.symlink_metadata().is_err() {
            symlink(busybox, &link).map_err(io("linking", &link))?;
        }
    }
    let sh = root.join("bin/sh");
    if !sh.exists() && sh.symlink_metadata().is_err() {
        let folder = root.join("bin");
        fs::create_dir_all(&folder).map_err(io("creating", &folder))?;
        symlink(busybox, &sh).map_err(io("linking", &sh))?;
    }
    Ok(())
}

/// SHA-256 over the sorted lines `mode path sha256` and `link path target`.
fn digest(root: &Path) -> Result<String, ImageError> {
    let mut lines = Vec::new();
    describe(root, root, &mut lines)?;
    lines.sort();
    Ok(hex(&Sha256::digest(lines.join("\n"))))
}

fn describe(root: &Path, folder: &Path, lines: &mut Vec<String>) -> Result<(), ImageError> {
    for entry in fs::read_dir(folder).map_err(io("reading the folder", folder))? {
        let path = entry.map_err(io("reading the folder", folder))?.path();
        let metadata = path.symlink_metadata().map_err(io("looking at", &path))?;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if metadata.is_dir() {
            lines.push(format!("folder {name}"));
            describe(root, &path, lines)?;
        } else if metadata.is_symlink() {
            let to = fs::read_link(&path).map_err(io("reading the link", &path))?;
            lines.push(format!("link {name} {}", to.display()));
        } else {
            let content = bench_agent::sha256(&path).map_err(io("hashing", &path))?;
            lines.push(format!("{:o} {name} {content}", metadata.mode() & 0o777));
        }
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_built_once_and_noticed_when_it_was_touched() {
        let cache = tempfile::tempdir().unwrap();
        let program = PathBuf::from("/bin/true");
        let programs = std::slice::from_ref(&program);
        let first = ToolsTree::build(cache.path(), programs, &[], Check::Content).unwrap();
        let inside = first.path.join(fs::canonicalize("/bin").unwrap().strip_prefix("/").unwrap()).join("true");
        assert_eq!(fs::read(&inside).unwrap(), fs::read(&program).unwrap());
        assert_eq!(ToolsTree::build(cache.path(), programs, &[], Check::Sources).unwrap(), first);
        fs::write(&inside, "something else").unwrap();
        let again = ToolsTree::build(cache.path(), programs, &[], Check::Content).unwrap();
        assert_eq!(again.digest, first.digest);
        assert_eq!(fs::read(&inside).unwrap(), fs::read(&program).unwrap(), "the damaged tree was replaced");
        for place in ["proc", "sys", "dev", "tmp", "bench", "target"] {
            assert!(again.path.join(place).exists(), "{place}");
        }
    }
}
