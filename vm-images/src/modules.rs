//! The kernel modules that a guest needs, in the order in which they must be loaded, as kmod tells it: `modules.dep`,
//! `modules.softdep`, `modules.alias` and `modules.builtin` are its files, and `modprobe` is their reader.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::{ImageError, io, program, run};

/// A guest cannot do without: PCI transport, disks, the agent's port, the root's file system, the network card.
const NEEDED: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "ext4", "virtio_net"];
/// Only some machines need: the transport of those without PCI. A kernel that lacks it does for all others.
const WANTED: [&str; 1] = ["virtio_mmio"];
/// How modules are packed: ending, and program that unpacks to standard output.
const PACKED: [(&str, &str); 3] = [("xz", "xz"), ("zst", "zstd"), ("gz", "gzip")];
/// The indices that `depmod` writes and `modprobe` reads (depmod(8)); packages that were only unpacked have none.
const INDICES: [&str; 3] = ["modules.dep.bin", "modules.softdep", "modules.builtin.bin"];

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Name of its file without endings.
    pub name: String,
    /// Its ELF content, unpacked.
    pub content: Vec<u8>,
}

/// The modules for a guest below `folder` (`.../RELEASE`), dependencies first; those built in are left out.
pub(crate) fn collect(folder: &Path) -> Result<Vec<Module>, ImageError> {
    files(folder)?.iter().map(|file| Ok(Module { name: name_of(file), content: unpack(file)? })).collect()
}

/// The files of these modules, in the order in which they must be loaded.
fn files(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let tree = Tree::of(folder)?;
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    let needed = NEEDED.iter().map(|name| tree.show_depends(name));
    let wanted = WANTED.iter().map(|name| match tree.show_depends(name) {
        Err(ImageError::Missing(_)) => Ok(Vec::new()),
        found => found,
    });
    for found in needed.chain(wanted) {
        for file in found? {
            // Below the folder itself: the tree is gone when they are read.
            let file = file.strip_prefix(&tree.modules).map(|inner| folder.join(inner)).unwrap_or(file);
            if seen.insert(file.clone()) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// A folder of modules where kmod looks for it, `BASE/lib/modules/RELEASE`, with its indices: the folder itself may be
/// elsewhere, may have no indices yet, and is not written to.
struct Tree {
    base: tempfile::TempDir,
    release: String,
    /// `lib/modules/RELEASE` in `base`.
    modules: PathBuf,
}

impl Tree {
    fn of(folder: &Path) -> Result<Tree, ImageError> {
        let base = tempfile::tempdir().map_err(io("making a folder in", &std::env::temp_dir()))?;
        let release = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let modules = base.path().join("lib/modules").join(&release);
        fs::create_dir_all(&modules).map_err(io("creating", &modules))?;
        // Some distributions' kmod looks below /usr only.
        let usr = base.path().join("usr");
        symlink(".", &usr).map_err(io("linking", &usr))?;
        let indexed = INDICES.iter().all(|name| folder.join(name).exists());
        let folder = fs::canonicalize(folder).map_err(io("finding the modules in", folder))?;
        for entry in fs::read_dir(&folder).map_err(io("reading the folder", &folder))? {
            let path = entry.map_err(io("reading the folder", &folder))?.path();
            let link = modules.join(path.file_name().unwrap_or_default());
            // `build` and `source` lead to headers.
            if !["build", "source"].iter().any(|name| path.ends_with(name)) {
                symlink(&path, &link).map_err(io("linking", &link))?;
            }
        }
        let tree = Tree { base, release, modules };
        if !indexed {
            tree.index()?;
        }
        Ok(tree)
    }

    /// Write the indices, in place of links to what there is of them.
    fn index(&self) -> Result<(), ImageError> {
        run(program("depmod").arg("-b").arg(self.base.path()).arg(&self.release)).map(drop)
    }

    /// The files to load for a module, itself last (modprobe(8)): none where it is built in.
    fn show_depends(&self, name: &str) -> Result<Vec<PathBuf>, ImageError> {
        let mut modprobe = program("modprobe");
        // The host's own configuration, which may keep modules from being loaded, is not the guest's.
        modprobe.arg("-d").arg(self.base.path()).args([
            "-S",
            &self.release,
            "-C",
            "/nonexistent",
            "--show-depends",
            name,
        ]);
        let shown = run(&mut modprobe).map_err(|error| match error {
            ImageError::Program { said, .. } if said.contains("not found") => ImageError::Missing(format!(
                "the guest's kernel {} has no module `{name}` and does not have it built in either: give another one, as \
                 in --env vm:kernel=/path/vmlinuz",
                self.release
            )),
            other => other,
        })?;
        Ok(insmods(&String::from_utf8_lossy(&shown)))
    }
}

/// The files of the lines `insmod FILE [OPTIONS]`.
fn insmods(shown: &str) -> Vec<PathBuf> {
    let file = |line: &str| Some(PathBuf::from(line.strip_prefix("insmod ")?.trim_end()));
    // Options come from configuration only, and none is read: the line ends with the file, which may hold spaces.
    shown.lines().filter_map(file).collect()
}

/// `kernel/drivers/virtio/virtio-rng.ko.xz` is `virtio-rng`.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split_once(".ko").map_or(&*name, |(name, _)| name).to_owned()
}

fn unpack(file: &Path) -> Result<Vec<u8>, ImageError> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    match PACKED.iter().find(|(ending, _)| extension == Some(ending)) {
        Some((_, unpacker)) => run(program(unpacker).arg("-dc").arg(file)),
        None => fs::read(file).map_err(io("reading the module", file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of modules as a package has it: ELF files (by the assembler, since kmod reads sections) and what is built in.
    struct Package {
        base: tempfile::TempDir,
    }

    impl Package {
        fn of(modules: &[(&str, &str)], builtin: &str) -> Package {
            let package = Package { base: tempfile::tempdir().unwrap() };
            fs::create_dir_all(package.folder().join("kernel/fs")).unwrap();
            fs::write(package.folder().join("modules.builtin"), builtin).unwrap();
            fs::write(package.folder().join("modules.order"), "").unwrap();
            modules.iter().for_each(|(name, info)| package.add(name, info));
            package
        }

        fn folder(&self) -> PathBuf {
            self.base.path().join("1.2.3-test")
        }

        /// A module with these strings in `.modinfo`; of other modules it needs symbols: `needs=a` means the symbol `sym_a`.
        fn add(&self, name: &str, info: &str) {
            let file = self.folder().join("kernel/fs").join(format!("{name}.ko"));
            let symbol = name.replace('-', "_");
            let mut text = format!(
                ".section .modinfo,\"a\"\n.asciz \"name={symbol}\"\n.asciz \"license=GPL\"\n\
                 .section __ksymtab_strings,\"aMS\",@progbits,1\n.asciz \"sym_{symbol}\"\n.section .text\n\
                 .globl __ksymtab_sym_{symbol}\n.globl sym_{symbol}\n__ksymtab_sym_{symbol}:\nsym_{symbol}:\n"
            );
            for word in info.split_whitespace() {
                match word.split_once('=') {
                    Some(("needs", other)) => text += &format!(".section .text\n.quad sym_{other}\n"),
                    _ => text += &format!(".section .modinfo\n.asciz \"{}\"\n", word.replace('~', " ")),
                }
            }
            let source = file.with_extension("s");
            fs::write(&source, text).unwrap();
            run(program("as").arg("-o").arg(&file).arg(&source)).unwrap();
            fs::remove_file(source).unwrap();
        }

        fn pack(&self, name: &str, packer: &str, ending: &str) {
            let file = self.folder().join("kernel/fs").join(format!("{name}.ko"));
            let packed = run(program(packer).arg("-c").arg(&file)).unwrap();
            fs::write(file.with_extension(format!("ko.{ending}")), packed).unwrap();
            fs::remove_file(file).unwrap();
        }

        fn names(&self) -> String {
            let modules = collect(&self.folder()).unwrap();
            assert!(modules.iter().all(|module| module.content.starts_with(b"\x7fELF")), "unpacked");
            modules.into_iter().map(|module| module.name).collect::<Vec<_>>().join(" ")
        }
    }

    const BUILT_IN: &str =
        "kernel/drivers/virtio_pci.ko\nkernel/drivers/virtio_console.ko\nkernel/drivers/virtio_net.ko\n";

    #[test]
    fn what_a_module_needs_comes_first_and_once() {
        let modules =
            [("virtio", ""), ("virtio-blk", "needs=virtio"), ("jbd2", ""), ("ext4", "needs=jbd2 needs=virtio")];
        let package = Package::of(&modules, BUILT_IN);
        assert_eq!(package.names(), "virtio virtio-blk jbd2 ext4");
        let left: Vec<_> = fs::read_dir(package.folder()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 3, "nothing is written there: {left:?}");
    }

    /// Debian 12's stock ext4: `softdep=pre: crypto-crc32c`, an alias of two modules.
    #[test]
    fn soft_dependencies_and_aliases_are_followed() {
        let modules = [
            ("virtio_blk", ""),
            ("crc32c_generic", "alias=crypto-crc32c alias=crypto-crc32c-generic"),
            ("crc32c-intel", "alias=crypto-crc32c"),
            ("ext4", "softdep=pre:~crypto-crc32c"),
        ];
        let names = Package::of(&modules, BUILT_IN).names();
        let at = |name: &str| names.split(' ').position(|known| known == name).unwrap();
        assert!(at("crc32c_generic") < at("ext4") && at("crc32c-intel") < at("ext4"), "{names}");
    }

    #[test]
    fn a_machine_without_pci_is_provided_for_where_the_kernel_is() {
        let modules = [("virtio", ""), ("virtio_blk", "needs=virtio"), ("ext4", ""), ("virtio_mmio", "needs=virtio")];
        assert_eq!(Package::of(&modules, BUILT_IN).names(), "virtio virtio_blk ext4 virtio_mmio");
        assert_eq!(Package::of(&modules[..3], BUILT_IN).names(), "virtio virtio_blk ext4");
    }

    #[test]
    fn packed_modules_are_unpacked() {
        for (packer, ending) in [("xz", "xz"), ("zstd", "zst")] {
            let package = Package::of(&[("virtio_blk", ""), ("ext4", "needs=virtio_blk")], BUILT_IN);
            package.pack("virtio_blk", packer, ending);
            package.pack("ext4", packer, ending);
            assert_eq!(package.names(), "virtio_blk ext4", "{ending}");
        }
    }

    #[test]
    fn a_missing_module_is_named_with_its_kernel() {
        let error = collect(&Package::of(&[("virtio_blk", "")], BUILT_IN).folder()).unwrap_err().to_string();
        assert!(error.contains("1.2.3-test has no module `ext4`"), "{error}");
    }

    #[test]
    fn a_file_with_a_space_is_one_file() {
        let shown = "builtin virtio\ninsmod /a folder/x.ko \ninsmod /b/y.ko.xz\n";
        assert_eq!(insmods(shown), [PathBuf::from("/a folder/x.ko"), PathBuf::from("/b/y.ko.xz")]);
    }
}
