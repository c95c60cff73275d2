//! Which files a program needs: its interpreter and libraries, as the system's own loader finds them; and what is in the way of
//! executing it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{ImageError, io, run};

/// Where the programs of a command are looked for, alike in every environment (`PATH`).
pub const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Interpreters of interpreters that the kernel follows (execve(2)).
const MOST_INTERPRETERS: u32 = 5;

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
        Interpreter::Script { program, argument } => {
            // `env` looks the real one up.
            let sought = named_by_env(&program, argument.as_deref()).and_then(search);
            sought.map_or(Ok(()), |sought| add(&sought, files))?;
            add(&program, files)
        }
        Interpreter::Loader(loader) => {
            files.extend(libraries(&list(&loader, path)?));
            files.insert(loader);
            Ok(())
        }
    }
}

/// What the loader says it would load; without what the caller's shell may tell it, which no environment has.
fn list(loader: &Path, program: &Path) -> Result<String, ImageError> {
    let listed =
        run(Command::new(loader).arg("--list").arg(program).env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD"))?;
    Ok(String::from_utf8_lossy(&listed).into_owned())
}

/// A program by its name, in [`SEARCH`].
pub fn search(name: &str) -> Option<PathBuf> {
    SEARCH.split(':').map(|folder| Path::new(folder).join(name)).find(|file| is_executable(file))
}

/// True for files that may be executed.
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// True for a file that needs others to be executed: a script, or a program with libraries.
pub fn is_program(path: &Path) -> bool {
    interpreter(path).is_ok_and(|interpreter| interpreter != Interpreter::None)
}

/// Why a file could not be executed, as far as that can be told without trying; `None`: nothing is in the way.
pub fn obstacle(program: &Path) -> Option<String> {
    obstacle_within(program, MOST_INTERPRETERS)
}

fn obstacle_within(program: &Path, depth: u32) -> Option<String> {
    match std::fs::metadata(program) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Some("there is no such file".to_owned()),
        Err(e) => return Some(e.to_string()),
        Ok(found) if found.is_dir() => return Some("it is a folder".to_owned()),
        Ok(found) if !found.is_file() => return Some("it is no regular file".to_owned()),
        Ok(_) if !is_executable(program) => return Some("it is not executable (`chmod +x` makes it so)".to_owned()),
        Ok(_) => {}
    }
    match interpreter(program) {
        Err(e) => Some(format!("it cannot be read: {e}")),
        Ok(Interpreter::None) => foreign(program),
        Ok(Interpreter::Loader(loader)) if !loader.exists() => {
            Some(format!("its loader {} is missing: it was built for another system", loader.display()))
        }
        Ok(Interpreter::Loader(loader)) => missing_library(&loader, program),
        Ok(Interpreter::Script { program: interpreter, argument }) => {
            let shown = interpreter.display().to_string().escape_debug().to_string();
            let hint = if shown.ends_with("\\r") { " (its first line ends in a carriage return)" } else { "" };
            let sought = named_by_env(&interpreter, argument.as_deref());
            if depth == 0 {
                Some("its interpreter has an interpreter, and so on, more often than the kernel follows".to_owned())
            } else if !interpreter.is_absolute() {
                Some(format!("its first line names the interpreter `{shown}`, which is no absolute path"))
            } else if let Some(why) = obstacle_within(&interpreter, depth - 1) {
                Some(format!("its interpreter {shown} cannot be executed: {why}{hint}"))
            } else {
                let absent = sought.filter(|name| search(name).is_none());
                absent.map(|name| format!("its interpreter `{name}` is not in {SEARCH}"))
            }
        }
    }
}

/// The name that `#!/usr/bin/env NAME` has looked up.
fn named_by_env<'a>(interpreter: &Path, argument: Option<&'a str>) -> Option<&'a str> {
    let mut words = argument?.split_whitespace().filter(|word| !word.starts_with('-') && !word.contains('='));
    words.next().filter(|name| interpreter.ends_with("env") && !name.contains('/'))
}

fn missing_library(loader: &Path, program: &Path) -> Option<String> {
    match list(loader, program) {
        // Old loaders only say so in their list.
        Ok(list) => {
            let missing = list.lines().find_map(|line| line.trim().strip_suffix(" => not found"));
            missing.map(|library| format!("its library {library} is missing"))
        }
        Err(ImageError::Program { said, .. }) => {
            let said = said.split_once("shared libraries: ").map_or(said.as_str(), |(_, missing)| missing);
            Some(format!("a library of it is missing: {said}"))
        }
        Err(e) => Some(e.to_string()),
    }
}

/// What cannot be a program for this machine (elf(5)). A static one is.
fn foreign(program: &Path) -> Option<String> {
    const MACHINES: [[u8; 2]; 2] = [[62, 0], [3, 0]];
    let mut head = [0; 20];
    let read = File::open(program).and_then(|mut file| file.read(&mut head));
    match read {
        Err(e) => Some(format!("it cannot be read: {e}")),
        Ok(length) if length < head.len() || !head.starts_with(b"\x7fELF") => {
            Some("it is neither a program nor a script that begins with `#!`".to_owned())
        }
        Ok(_) if !MACHINES.iter().any(|machine| head[18..] == *machine) => {
            Some("it is a program for another kind of processor".to_owned())
        }
        Ok(_) => None,
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
    /// The program after `#!`, and the rest of the line.
    Script { program: PathBuf, argument: Option<String> },
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
        // As the kernel does: only blanks and tabs end a word.
        let blank = [' ', '\t'];
        let line = line.trim_matches(blank);
        let (program, argument) = line.split_once(blank).map_or((line, None), |(program, rest)| (program, Some(rest)));
        let argument = argument.map(|rest| rest.trim_matches(blank).to_owned());
        return Ok(match program {
            "" => Interpreter::None,
            program => Interpreter::Script { program: program.into(), argument },
        });
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
        let argument = Some("-e".to_owned());
        assert_eq!(interpreter(&script).unwrap(), Interpreter::Script { program: "/bin/sh".into(), argument });
        std::fs::write(&script, "plain text").unwrap();
        assert_eq!(interpreter(&script).unwrap(), Interpreter::None);
    }

    #[test]
    fn what_is_in_the_way_of_executing_a_file_is_told_beforehand() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let told = |text: &[u8], mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            obstacle(&path).unwrap_or_default()
        };
        for (text, mode, said) in [
            ("#!/bin/sh\ntrue\n", 0o755, ""),
            ("#! /bin/sh -e\ntrue\n", 0o755, ""),
            ("#!/usr/bin/env sh\ntrue\n", 0o755, ""),
            ("#!/bin/sh\ntrue\n", 0o644, "not executable"),
            ("#!/no/such/interpreter\n", 0o755, "/no/such/interpreter cannot be executed: there is no such file"),
            ("#!/bin/sh\r\ntrue\r\n", 0o755, "carriage return"),
            ("#!/usr/bin/env no-such-interpreter\n", 0o755, "`no-such-interpreter` is not in /usr/local"),
            ("#!/usr/bin/env -S no-such-interpreter -x\n", 0o755, "`no-such-interpreter` is not in"),
            ("#!sh\ntrue\n", 0o755, "no absolute path"),
            ("#!\ntrue\n", 0o755, "neither a program nor a script"),
            ("true\n", 0o755, "neither a program nor a script"),
            ("", 0o755, "neither a program nor a script"),
        ] {
            let found = told(text.as_bytes(), mode);
            assert!(found.contains(said) && found.is_empty() == said.is_empty(), "{text:?}: {found}");
        }
        let mut other = std::fs::read("/bin/true").unwrap();
        assert_eq!(told(&other, 0o755), "");
        let loader = other.windows(6).position(|bytes| bytes == b"/lib64").unwrap();
        other[loader + 5] = b'0';
        assert!(told(&other, 0o755).contains("its loader /lib60/"));
        // A static one for ARM.
        let arm = [b"\x7fELF\x02\x01\x01".to_vec(), vec![0; 11], vec![183, 0], vec![0; 44]].concat();
        assert!(told(&arm, 0o755).contains("another kind of processor"));
        assert!(obstacle(folder.path()).unwrap().contains("a folder"));
        assert!(obstacle(Path::new("/dev/null")).unwrap().contains("no regular file"));
        assert!(obstacle(Path::new("/no/such/program")).unwrap().contains("no such file"));
    }

    #[test]
    fn a_missing_library_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let mut bytes = std::fs::read("/bin/true").unwrap();
        let libc = bytes.windows(10).position(|bytes| bytes == b"libc.so.6\0").unwrap();
        bytes[libc + 3] = b'q';
        std::fs::write(&program, bytes).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let why = obstacle(&program).unwrap();
        assert!(why.contains("libq.so.6"), "{why}");
    }
}
