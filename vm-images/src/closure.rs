//! Which files a program needs: its interpreter and libraries, as the system's own loader finds them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{ImageError, io, run};

/// All files that these programs need, themselves among them, by the absolute paths they are looked for at.
pub(crate) fn closure(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>, ImageError> {
    let mut files = BTreeSet::new();
    for program in programs {
        add(program, &mut files)?;
    }
    Ok(files)
}

fn add(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), ImageError> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(io("reading the folder", path))? {
            add(&entry.map_err(io("reading the folder", path))?.path(), files)?;
        }
        return Ok(());
    }
    if !files.insert(path.to_path_buf()) {
        return Ok(());
    }
    match interpreter(path).map_err(io("reading", path))? {
        Interpreter::None => Ok(()),
        Interpreter::Script(program) => add(&program, files),
        Interpreter::Loader(loader) => {
            let list = run(Command::new(&loader).arg("--list").arg(path))?;
            files.extend(libraries(&String::from_utf8_lossy(&list)));
            files.insert(loader);
            Ok(())
        }
    }
}

/// The absolute paths in what `ld.so --list` prints: `libaio.so.1 => /lib/x86_64-linux-gnu/libaio.so.1 (0x...)`.
fn libraries(list: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let found = line.split_once("=>").map_or(line, |(_, found)| found).trim();
        let found = found.rsplit_once(" (0x").map_or(found, |(path, _)| path);
        found.starts_with('/').then(|| PathBuf::from(found))
    };
    list.lines().filter_map(path).collect()
}

/// What starts a file.
#[derive(Debug, PartialEq, Eq)]
enum Interpreter {
    /// The kernel alone, or nothing: it is static, or no program.
    None,
    /// The program after `#!`.
    Script(PathBuf),
    /// The dynamic loader.
    Loader(PathBuf),
}

fn interpreter(path: &Path) -> std::io::Result<Interpreter> {
    let mut file = File::open(path)?;
    let mut head = [0; 256];
    let length = file.read(&mut head)?;
    let head = &head[..length];
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = String::from_utf8_lossy(line.split(|&byte| byte == b'\n').next().unwrap_or_default()).into_owned();
        return Ok(line
            .split_whitespace()
            .next()
            .map_or(Interpreter::None, |program| Interpreter::Script(program.into())));
    }
    Ok(loader(&mut file, head)?.map_or(Interpreter::None, Interpreter::Loader))
}

/// The `PT_INTERP` of a 64-bit little-endian ELF file (elf(5)).
fn loader(file: &mut File, head: &[u8]) -> std::io::Result<Option<PathBuf>> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize, bytes: &[u8]| {
        let part = bytes.get(at..at + length)?;
        Some(part.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte)))
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(None);
    }
    let (Some(offset), Some(size), Some(count)) = (number(32, 8, head), number(54, 2, head), number(56, 2, head))
    else {
        return Ok(None);
    };
    for index in 0..count {
        let mut header = [0; 56];
        file.seek(SeekFrom::Start(offset + index * size))?;
        file.read_exact(&mut header)?;
        if number(0, 4, &header) == Some(PT_INTERP) {
            let (start, length) = (number(8, 8, &header).unwrap_or(0), number(32, 8, &header).unwrap_or(0).min(4096));
            let mut name = vec![0; length as usize];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut name)?;
            let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
            return Ok(Some(PathBuf::from(name)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_is_read() {
        let list = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibaio.so.1 => /lib/x86_64-linux-gnu/libaio.so.1 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libaio.so.1", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(list), expected);
    }

    #[test]
    fn a_dynamic_program_has_a_loader_and_libraries() {
        let own = std::env::current_exe().unwrap();
        let files = closure(std::slice::from_ref(&own)).unwrap();
        assert!(files.contains(&own));
        assert!(files.iter().any(|file| file.to_string_lossy().contains("libc.so")), "{files:?}");
        assert!(files.iter().any(|file| file.to_string_lossy().contains("ld-linux")), "{files:?}");
    }

    #[test]
    fn a_script_brings_its_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/bin/sh -e\ntrue\n").unwrap();
        assert_eq!(interpreter(&script).unwrap(), Interpreter::Script("/bin/sh".into()));
        std::fs::write(&script, "plain text").unwrap();
        assert_eq!(interpreter(&script).unwrap(), Interpreter::None);
    }
}
