//! The kernel modules that a guest needs, in the order in which they must be loaded, read from the modules themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{ImageError, io, run};

/// What the guest cannot do without: PCI transport, disks, the agent's port, the root's file system, the network card.
const NEEDED: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "ext4", "virtio_net"];

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Name with underscores.
    pub name: String,
    /// Its ELF content, unpacked.
    pub content: Vec<u8>,
}

/// The modules for a guest below `folder` (`lib/modules/RELEASE`), dependencies first; those built in are left out.
pub(crate) fn collect(folder: &Path) -> Result<Vec<Module>, ImageError> {
    let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    let builtin: Vec<String> = builtin.lines().filter_map(|line| name_of(Path::new(line))).collect();
    let mut files = BTreeMap::new();
    find(&folder.join("kernel"), &mut files)?;
    let mut modules = Vec::new();
    for name in NEEDED {
        add(name, &files, &builtin, &mut modules)?;
    }
    Ok(modules)
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    builtin: &[String],
    modules: &mut Vec<Module>,
) -> Result<(), ImageError> {
    if modules.iter().any(|module| module.name == name) || builtin.iter().any(|known| known == name) {
        return Ok(());
    }
    let file = files.get(name).ok_or_else(|| {
        ImageError::Missing(format!("the guest's kernel has no module `{name}` and does not have it built in either"))
    })?;
    let content = unpack(file)?;
    for dependency in depends(&content) {
        add(&dependency, files, builtin, modules)?;
    }
    modules.push(Module { name: name.to_owned(), content });
    Ok(())
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), ImageError> {
    for entry in fs::read_dir(folder).map_err(io("reading the folder", folder))? {
        let path = entry.map_err(io("reading the folder", folder))?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `kernel/drivers/virtio/virtio-rng.ko.xz` is `virtio_rng`.
fn name_of(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn unpack(file: &Path) -> Result<Vec<u8>, ImageError> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).map_err(io("reading the module", file)),
    };
    run(Command::new(program).arg("-dc").arg(file))
}

/// The `depends=` of a module's `.modinfo`: its strings end with a NUL.
fn depends(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = content.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = content[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(folder: &Path, name: &str, depends: &str) {
        let content = format!("\x7fELF...\0license=GPL\0depends={depends}\0name={name}\0");
        fs::write(folder.join("kernel").join(format!("{name}.ko")), content).unwrap();
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("kernel")).unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        module(folder.path(), "virtio_ring", "");
        module(folder.path(), "virtio", "virtio_ring");
        module(folder.path(), "virtio-pci", "virtio,virtio_ring");
        module(folder.path(), "virtio_blk", "virtio");
        module(folder.path(), "virtio_console", "virtio-ring");
        module(folder.path(), "virtio_net", "net_failover,virtio");
        module(folder.path(), "net_failover", "");
        let names: Vec<_> = collect(folder.path()).unwrap().into_iter().map(|module| module.name).collect();
        let expected = "virtio_ring virtio virtio_pci virtio_blk virtio_console net_failover virtio_net";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn a_kernel_without_virtio_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("kernel")).unwrap();
        assert!(collect(folder.path()).unwrap_err().to_string().contains("virtio_pci"));
    }
}
