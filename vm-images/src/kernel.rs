//! The guest's kernel: the host's own where it can be read, else the distribution's cloud kernel, downloaded but not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{ImageError, io, run};

/// Debian's package that depends on the current cloud kernel.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel with its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its image.
    pub image: PathBuf,
    /// `uname -r` of it.
    pub release: String,
    /// Its folder of modules; absent when there is none: then everything must be built in.
    pub modules: Option<PathBuf>,
}

/// The kernel asked for, else the host's own, else the distribution's.
pub(crate) fn find(cache: &Path, asked: Option<&Path>, progress: &mut dyn FnMut(&str)) -> Result<Kernel, ImageError> {
    if let Some(image) = asked {
        return of_image(image);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let image = PathBuf::from(format!("/boot/vmlinuz-{release}"));
    let modules = PathBuf::from(format!("/lib/modules/{release}"));
    if fs::File::open(&image).is_ok() && modules.join("kernel").is_dir() {
        return Ok(Kernel { image, release, modules: Some(modules) });
    }
    packaged(cache, progress)
}

/// A kernel that the user names: its release is in the image, its modules beside it (`../lib/modules`) or on the host.
fn of_image(image: &Path) -> Result<Kernel, ImageError> {
    let bytes = fs::read(image).map_err(io("reading the kernel", image))?;
    let release = release(&bytes).ok_or_else(|| {
        ImageError::Missing(format!("{} is not a kernel image that QEMU can boot (a bzImage)", image.display()))
    })?;
    let beside = image.parent().and_then(Path::parent).map(|parent| parent.join("lib/modules").join(&release));
    let host = PathBuf::from("/lib/modules").join(&release);
    let modules = beside.into_iter().chain([host]).find(|folder| folder.join("kernel").is_dir());
    Ok(Kernel { image: image.to_path_buf(), release, modules })
}

/// The version string of a bzImage (kernel: x86/boot.rst, `kernel_version` at 0x20e, magic `HdrS` at 0x202).
fn release(bytes: &[u8]) -> Option<String> {
    if bytes.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let at = 0x200 + usize::from(u16::from_le_bytes([*bytes.get(0x20e)?, *bytes.get(0x20f)?]));
    let text = bytes.get(at..at + 128)?;
    let end = text.iter().position(|&byte| byte == 0 || byte == b' ')?;
    String::from_utf8(text[..end].to_vec()).ok()
}

fn packaged(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Kernel, ImageError> {
    // What was unpacked once is good until `bench image remove`.
    if let Some(kernel) = unpacked(cache) {
        return Ok(kernel);
    }
    let package = dependency(progress)?;
    progress(&format!("downloading the guest's kernel ({package})"));
    let new = crate::cache::half_made(cache)?;
    run(Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download", &package])
        .current_dir(new.path()))?;
    let files = fs::read_dir(new.path()).map_err(io("reading", new.path()))?;
    let file = files.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "deb"));
    let file = file.ok_or_else(|| ImageError::Missing(format!("apt-get downloaded no package {package}")))?;
    let root = new.path().join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&root))?;
    fs::remove_file(&file).map_err(io("removing", &file))?;
    let home = cache.join("kernel");
    let new = new.keep();
    fs::rename(&new, &home).map_err(io("naming the kernel's folder", &home))?;
    unpacked(cache).ok_or_else(|| ImageError::Missing(format!("the package {package} holds no kernel image")))
}

fn unpacked(cache: &Path) -> Option<Kernel> {
    let root = cache.join("kernel/root");
    let images = fs::read_dir(root.join("boot")).ok()?.flatten().map(|entry| entry.path());
    let image = images
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .max()?;
    let release = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
    let modules = [root.join("lib/modules"), root.join("usr/lib/modules")].map(|folder| folder.join(&release));
    Some(Kernel { image, release, modules: modules.into_iter().find(|folder| folder.is_dir()) })
}

/// The package that [`PACKAGE`] depends on now.
fn dependency(progress: &mut dyn FnMut(&str)) -> Result<String, ImageError> {
    let show = || run(Command::new("apt-cache").args(["show", "--no-all-versions", PACKAGE]));
    let found = |text: Vec<u8>| depends(&String::from_utf8_lossy(&text));
    if let Some(package) = show().ok().and_then(found) {
        return Ok(package);
    }
    progress("updating the lists of packages");
    run(Command::new("apt-get").args(["-q", "update"]))?;
    show().ok().and_then(found).ok_or_else(|| {
        ImageError::Missing(format!(
            "the host's kernel image cannot be read and the package {PACKAGE} is not to be had here: give a kernel that \
             has virtio built in or its modules beside it, as in --env vm:kernel=/path/vmlinuz"
        ))
    })
}

fn depends(show: &str) -> Option<String> {
    let line = show.lines().find_map(|line| line.strip_prefix("Depends:"))?;
    let names = line.split([',', '|']).filter_map(|part| part.split_whitespace().next());
    names.map(str::to_owned).find(|name| name.starts_with("linux-image-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_named_by_the_package_that_depends_on_it() {
        let show = "Package: linux-image-cloud-amd64\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n";
        assert_eq!(depends(show).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(depends("Package: x\n"), None);
    }

    #[test]
    fn a_file_that_is_no_kernel_is_refused() {
        assert_eq!(release(b"MZ"), None);
        let error = of_image(Path::new("/bin/true")).unwrap_err().to_string();
        assert!(error.contains("not a kernel image"), "{error}");
    }
}
