//! The initramfs: `bench` as `/init` with its libraries, and the modules in the order in which they are loaded.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType};

use crate::closure::closure;
use crate::modules::Module;
use crate::{ImageError, io};

/// Write the archive.
pub(crate) fn write(path: &Path, executable: &Path, modules: &[Module]) -> Result<(), ImageError> {
    let mut archive = Archive::create(path)?;
    for folder in ["dev", "proc", "sys", "newroot", "modules"] {
        archive.folder(Path::new(folder))?;
    }
    // The kernel opens it for the first process before anything is mounted.
    archive.entry(
        Builder::new("dev/console").mode(0o600).set_mode_file_type(ModeFileType::Char).rdev_major(5).rdev_minor(1),
        &[],
    )?;
    archive.file(Path::new("init"), 0o755, &read(executable)?)?;
    for library in closure(std::slice::from_ref(&executable.to_path_buf()))?.iter().filter(|file| *file != executable) {
        archive.file(library.strip_prefix("/").unwrap_or(library), 0o755, &read(library)?)?;
    }
    for (index, module) in modules.iter().enumerate() {
        archive.file(Path::new(&format!("modules/{index:02}-{}.ko", module.name)), 0o644, &module.content)?;
    }
    archive.finish()
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    fs::read(path).map_err(io("reading", path))
}

struct Archive {
    path: PathBuf,
    file: BufWriter<File>,
    folders: BTreeSet<PathBuf>,
    inode: u32,
}

impl Archive {
    fn create(path: &Path) -> Result<Archive, ImageError> {
        let file = BufWriter::new(File::create(path).map_err(io("creating", path))?);
        Ok(Archive { path: path.to_path_buf(), file, folders: BTreeSet::new(), inode: 1 })
    }

    fn entry(&mut self, builder: Builder, content: &[u8]) -> Result<(), ImageError> {
        self.inode += 1;
        let mut writer = builder.ino(self.inode).nlink(1).write(&mut self.file, content.len() as u32);
        let written = writer.write_all(content).and_then(|()| writer.finish().map(drop));
        written.map_err(io("writing", &self.path))
    }

    fn folder(&mut self, name: &Path) -> Result<(), ImageError> {
        for part in name.ancestors().collect::<Vec<_>>().into_iter().rev().filter(|part| !part.as_os_str().is_empty()) {
            if self.folders.insert(part.to_path_buf()) {
                let builder = Builder::new(&part.display().to_string()).mode(0o755);
                self.entry(builder.set_mode_file_type(ModeFileType::Directory), &[])?;
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &Path, mode: u32, content: &[u8]) -> Result<(), ImageError> {
        self.folder(name.parent().unwrap_or(Path::new("")))?;
        let builder = Builder::new(&name.display().to_string()).mode(mode);
        self.entry(builder.set_mode_file_type(ModeFileType::Regular), content)
    }

    fn finish(mut self) -> Result<(), ImageError> {
        let done = cpio::newc::trailer(&mut self.file).and_then(|file| file.flush());
        done.map_err(io("writing", &self.path))
    }
}
