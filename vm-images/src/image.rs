//! The guest image: kernel, initramfs, and the tools tree as a read-only disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::tools::{ToolsTree, hex};
use crate::{ImageError, initramfs, io, kernel, modules, program, run};

/// Raised when what is in an image changes though nothing it is made from does.
const FORMAT: &str = "3";

/// RAM that a guest's kernel needs to boot, without its image and initramfs: found by booting Debian's kernels with less and less.
const LEAST_MEMORY_BYTES: u64 = 64 << 20;

/// Everything that a guest boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Kernel image.
    pub kernel: PathBuf,
    /// `uname -r` of it.
    pub kernel_release: String,
    /// Archive with `/init` and modules.
    pub initramfs: PathBuf,
    /// ext4 image of the tools tree.
    pub root: PathBuf,
    /// SHA-256 over what it was made from.
    pub digest: String,
}

impl Image {
    /// Build what is not cached: the root for each tree, the initramfs for each kernel and `bench`.
    pub fn build(
        cache: &Path,
        tree: &ToolsTree,
        executable: &Path,
        kernel: Option<&Path>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Image, ImageError> {
        let _lock = crate::cache::lock(cache)?;
        let kernel = kernel::find(cache, kernel, progress)?;
        // A kernel that is installed anew, or a module that is added, changes kmod's index.
        let index = kernel.modules.as_ref().map(|folder| folder.join("modules.dep")).filter(|index| index.exists());
        let parts: Vec<&Path> =
            [&kernel.image].into_iter().chain(&index).map(PathBuf::as_path).chain([executable]).collect();
        let key = key(&parts, FORMAT)?;
        let initramfs = cache.join(format!("initramfs-{}.cpio", &key[..16]));
        if !initramfs.exists() {
            progress("building the guest's initramfs");
            let modules = kernel.modules.as_deref().map(modules::collect).transpose()?.unwrap_or_default();
            appear(&initramfs, |new| initramfs::write(new, executable, &modules))?;
        }
        let root = cache.join(format!("root-{}.ext4", &tree.digest[..16]));
        if !root.exists() {
            progress("building the guest's root image");
            appear(&root, |new| write_root(new, tree))?;
        }
        let digest = hex(&Sha256::digest(format!("{key} {}", tree.digest)));
        Ok(Image { kernel: kernel.image, kernel_release: kernel.release, initramfs, root, digest })
    }
}

impl Image {
    /// Bytes of RAM below which its kernel has no room to unpack the initramfs: it resets itself, or panics.
    pub fn least_memory_bytes(&self) -> Result<u64, ImageError> {
        let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).map_err(io("looking at", path));
        Ok(LEAST_MEMORY_BYTES + size(&self.kernel)? + 2 * size(&self.initramfs)?)
    }
}

/// `bench` without symbols (where there is a `strip`), from the cache: the one file that is executed in every environment, small
/// because a guest unpacks it in every boot. `executable` is read once, and known by its content: by its name, whoever can write there
/// could have another one executed.
pub fn agent_executable(cache: &Path, executable: &Path) -> Result<PathBuf, ImageError> {
    let _lock = crate::cache::lock(cache)?;
    let digest = bench_agent::sha256(executable).map_err(io("reading", executable))?;
    let path = cache.join(format!("bench-{}", &hex(&Sha256::digest(format!("{FORMAT} {digest}")))[..16]));
    if !path.exists() {
        appear(&path, |new| {
            fs::copy(executable, new).map_err(io("copying", executable))?;
            // In place; a copy with symbols does as well.
            drop(Command::new("strip").arg(new).output());
            fs::set_permissions(new, fs::Permissions::from_mode(0o755)).map_err(io("making executable", new))
        })?;
    }
    Ok(path)
}

/// A key of the files' paths, sizes and times.
fn key(files: &[&Path], more: &str) -> Result<String, ImageError> {
    let mut text = more.to_owned();
    for file in files {
        let metadata = fs::metadata(file).map_err(io("looking at", file))?;
        text.push_str(&format!(
            "\n{} {} {} {}",
            file.display(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ));
    }
    Ok(hex(&Sha256::digest(text)))
}

/// Make a file under another name first, so that it is there wholly or not at all.
fn appear(path: &Path, make: impl FnOnce(&Path) -> Result<(), ImageError>) -> Result<(), ImageError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let new = crate::cache::half_made_file(folder)?;
    make(new.path())?;
    new.persist(path).map(drop).map_err(|e| e.error).map_err(io("naming", path))
}

/// An ext4 image of the tree, without root and without a loop mount.
fn write_root(path: &Path, tree: &ToolsTree) -> Result<(), ImageError> {
    let mebibytes = size(&tree.path)? * 11 / 10 / (1 << 20) + 16;
    write_ext4(path, &tree.path, mebibytes << 20, false)
}

/// An ext4 file system of `size_bytes` in a new file, with all that a folder holds, without a loop mount. The same content gives the
/// same file system, and nothing is left to be initialised when it is mounted.
pub fn write_ext4(path: &Path, content: &Path, size_bytes: u64, journal: bool) -> Result<(), ImageError> {
    // One block size and seeds of our own.
    let fixed = "00000000-0000-4000-8000-000000000001";
    run(program("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-U", fixed])
        .args(["-O", if journal { "has_journal" } else { "^has_journal" }])
        .args(["-E", &format!("root_owner=0:0,hash_seed={fixed},lazy_itable_init=0,lazy_journal_init=0"), "-d"])
        .arg(content)
        .arg(path)
        .arg(format!("{}k", size_bytes >> 10)))
    .map(drop)
}

/// Bytes of all files, each rounded up to a block.
fn size(folder: &Path) -> Result<u64, ImageError> {
    let mut total = 0;
    for entry in fs::read_dir(folder).map_err(io("reading the folder", folder))? {
        let path = entry.map_err(io("reading the folder", folder))?.path();
        let metadata = path.symlink_metadata().map_err(io("looking at", &path))?;
        total += if metadata.is_dir() { size(&path)? } else { metadata.len().next_multiple_of(4096) };
    }
    Ok(total)
}
