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
        let kernel = of_image(image)?;
        if kernel.modules.is_none() {
            let release = &kernel.release;
            progress(&format!(
                "no modules of {release} beside {} or on this machine: it must have virtio and ext4 built in",
                image.display()
            ));
        }
        return Ok(kernel);
    }
    match own(Path::new("/")) {
        Some(kernel) => Ok(kernel),
        None => packaged(cache, progress),
    }
}

/// The running kernel below a root folder: where Debian, Ubuntu and SUSE put its image, and where Fedora, Arch and SUSE do.
fn own(root: &Path) -> Option<Kernel> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned();
    let modules = modules(root, &release)?;
    let boot = root.join("boot").join(format!("vmlinuz-{release}"));
    let mut images = [boot, modules.join("vmlinuz")].into_iter();
    let image = images.find(|image| fs::File::open(image).is_ok())?;
    Some(Kernel { image, release, modules: Some(modules) })
}

/// The folder of a kernel's modules below a root folder.
fn modules(root: &Path, release: &str) -> Option<PathBuf> {
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| root.join(folder).join(release));
    // Modules that were built by hand may stand outside of `kernel`; headers alone have neither.
    folders.into_iter().find(|folder| ["kernel", "modules.dep"].iter().any(|name| folder.join(name).exists()))
}

/// See that a file is a kernel that a guest can boot.
pub fn check_kernel(image: &Path) -> Result<(), ImageError> {
    of_image(image).map(drop)
}

/// A kernel that the user names: its release is in the image; its modules are in the image's own folder
/// (`lib/modules/RELEASE/vmlinuz`), below the root that the image is in (`boot/vmlinuz`), or on the host.
fn of_image(image: &Path) -> Result<Kernel, ImageError> {
    let bytes = fs::read(image).map_err(io("reading the kernel", image))?;
    let release = release(&bytes).ok_or_else(|| {
        ImageError::Missing(format!("{} is not a kernel image that QEMU can boot (a bzImage)", image.display()))
    })?;
    // Relative to what the name leads to: `/vmlinuz` and `/boot/vmlinuz` are links on many hosts.
    let real = fs::canonicalize(image).map_err(io("finding the kernel", image))?;
    let roots =
        [real.as_path(), image].into_iter().flat_map(|path| path.ancestors().skip(1).take(5)).chain([Path::new("/")]);
    let modules = roots.map(|root| modules(root, &release)).find_map(|found| found);
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
    let modules = modules(&root, &release);
    Some(Kernel { image, release, modules })
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
        let error = of_image(Path::new("/bin/sh")).unwrap_err().to_string();
        assert!(error.contains("not a kernel image"), "{error}");
    }

    /// The head of a bzImage of this release.
    fn image(path: &Path, release: &str) {
        let mut bytes = vec![0; 0x400];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        bytes[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn modules_are_found_where_distributions_put_them() {
        for (kernel, modules) in [
            ("boot/vmlinuz-1.2.3", "lib/modules/1.2.3"),
            ("boot/vmlinuz-1.2.3", "usr/lib/modules/1.2.3"),
            ("usr/lib/modules/1.2.3/vmlinuz", "usr/lib/modules/1.2.3"),
            ("boot/efi/entry/1.2.3/linux", "usr/lib/modules/1.2.3"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let (kernel, modules) = (root.path().join(kernel), root.path().join(modules));
            image(&kernel, "1.2.3 (builder)");
            fs::create_dir_all(modules.join("kernel")).unwrap();
            let link = root.path().join("vmlinuz");
            std::os::unix::fs::symlink(&kernel, &link).unwrap();
            for named in [&kernel, &link] {
                let found = of_image(named).unwrap();
                assert_eq!(found.release, "1.2.3");
                assert_eq!(found.modules.unwrap().canonicalize().unwrap(), modules, "{}", named.display());
            }
        }
    }

    #[test]
    fn a_kernel_without_modules_has_none() {
        let root = tempfile::tempdir().unwrap();
        image(&root.path().join("bzImage"), "1.2.3-none");
        assert_eq!(of_image(&root.path().join("bzImage")).unwrap().modules, None);
    }
}
