//! The text of a job file, as fio itself splits it (init.c, `__parse_jobs_ini`): sections, options, includes, variables.
//!
//! Includes and `${VAR}` are resolved here, once for the run: every environment gets the same text.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bench_results::limits::{self, Links};

/// A job file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct JobFileError {
    at: At,
    message: String,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The file, as it was named.
    pub(super) file: Arc<str>,
    /// Counted from 1.
    pub(super) line: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl At {
    /// Something wrong here.
    pub(super) fn wrong(&self, message: impl Into<String>) -> JobFileError {
        JobFileError { at: self.clone(), message: message.into() }
    }
}

/// An option that a section sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: String,
    /// Absent: a flag alone.
    pub(super) value: Option<String>,
    pub(super) at: At,
}

impl Setting {
    /// What a flag alone means is 1.
    pub(super) fn value(&self) -> &str {
        self.value.as_deref().unwrap_or("1")
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

/// A section with what it sets itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) settings: Vec<Setting>,
    pub(super) at: At,
}

impl Section {
    /// True when it is no job, and holds for those after it. fio asks for no more of the name.
    pub(super) fn is_global(&self) -> bool {
        self.name.starts_with("global")
    }
}

/// A job file with all that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobFile {
    pub(super) sections: Vec<Section>,
    /// The files that were included, as they were named.
    pub(super) includes: Vec<String>,
    /// The variables that were used, with their values.
    pub(super) variables: BTreeMap<String, String>,
}

/// Where text and variables come from.
pub(super) struct World<'a> {
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

/// How deep includes may lie in each other.
const MOST_NESTED: usize = 8;
/// Bytes of a line: fio takes a longer one for two.
const MOST_LINE: usize = 4000;
/// Bytes of a section's name: fio cuts a longer one.
const MOST_NAME: usize = 200;

/// Files and variables of this machine.
pub(super) fn world() -> World<'static> {
    World {
        read: &|path| limits::read(path, limits::JOB_FILE_BYTES, Links::Followed),
        variable: &|name| std::env::var(name).ok(),
    }
}

/// Read a job file with everything that it includes.
pub(super) fn read(path: &Path, world: &World<'_>) -> Result<JobFile, JobFileError> {
    let file = JobFile { sections: Vec::new(), includes: Vec::new(), variables: BTreeMap::new() };
    let mut reader = Reader { world, file, bytes: 0 };
    reader.file(path, None)?;
    let nothing = At { file: path.display().to_string().into(), line: 1 };
    match reader.file.sections.iter().all(Section::is_global) {
        true => {
            Err(nothing.wrong("it has no job: write a section such as [reads] with rw=, bs= and size= or runtime="))
        }
        false => Ok(reader.file),
    }
}

struct Reader<'a> {
    world: &'a World<'a>,
    file: JobFile,
    bytes: usize,
}

impl Reader<'_> {
    /// A file; `from`: where it is included, and how deep.
    fn file(&mut self, path: &Path, from: Option<(&At, usize)>) -> Result<(), JobFileError> {
        let name: Arc<str> = path.display().to_string().into();
        let first = At { file: name.clone(), line: 1 };
        let at = from.map_or(&first, |(at, _)| at);
        let content = (self.world.read)(path).map_err(|e| at.wrong(format!("reading {name}: {e}")))?;
        self.bytes += content.len();
        if self.bytes as u64 > limits::JOB_FILE_BYTES {
            let most = limits::size(limits::JOB_FILE_BYTES);
            return Err(
                at.wrong(format!("{name} makes it {} bytes with all includes, and {most} are read", self.bytes))
            );
        }
        if content.starts_with(b"\xef\xbb\xbf") {
            return Err(
                first.wrong("it begins with a byte order mark, which fio takes for text: save it as UTF-8 without")
            );
        }
        for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
            let at = At { file: name.clone(), line: index + 1 };
            if let Some(line) = plain(line, &at)? {
                self.line(line, &at, path, from.map_or(0, |(_, depth)| depth))?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str, at: &At, path: &Path, depth: usize) -> Result<(), JobFileError> {
        if line.starts_with('[') {
            let section = section(line, at)?;
            if depth > 0 {
                return Err(at.wrong("a file that is included has options alone, and no sections"));
            }
            if self.file.sections.len() == limits::JOB_FILE_SECTIONS {
                let most = limits::JOB_FILE_SECTIONS;
                return Err(at.wrong(format!("a job file has {most} sections at most")));
            }
            self.file.sections.push(section);
            return Ok(());
        }
        if self.file.sections.is_empty() {
            return Err(at.wrong(format!("`{}` stands before the first [section]", short(line))));
        }
        if let Some(name) = line.strip_prefix("include").filter(|rest| rest.starts_with(char::is_whitespace)) {
            return self.include(name.trim(), at, path, depth);
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.trim_end(), Some(self.resolve(value.trim(), at)?)),
            None => (line, None),
        };
        if let Some(section) = self.file.sections.last_mut() {
            section.settings.push(Setting { key: key.to_owned(), value, at: at.clone() });
        }
        Ok(())
    }

    /// Relative to the file that says it.
    fn include(&mut self, name: &str, at: &At, path: &Path, depth: usize) -> Result<(), JobFileError> {
        if depth == MOST_NESTED {
            return Err(at.wrong(format!("includes lie more than {MOST_NESTED} deep in each other")));
        }
        let included: PathBuf = path.parent().unwrap_or(Path::new("")).join(self.resolve(name, at)?);
        self.file.includes.push(included.display().to_string());
        self.file(&included, Some((at, depth + 1)))
    }

    /// Put values in place of `${NAME}`.
    fn resolve(&mut self, value: &str, at: &At) -> Result<String, JobFileError> {
        let mut resolved = String::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once('$') {
            let named = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            let Some((name, after)) = named else {
                return Err(at.wrong(
                    "`$` stands only before the {NAME} of a variable: $ncpus, $mb_memory and $pagesize would be another \
                     number in each environment, and fio has a shell compute with them",
                ));
            };
            let found = (self.world.variable)(name);
            let found = found.ok_or_else(|| at.wrong(format!("the variable `{}` is not set", short(name))))?;
            if found.contains(['$', ';', '#']) || found.chars().any(char::is_control) {
                return Err(
                    at.wrong(format!("the value of `{}` has a character that fio takes for its own", short(name)))
                );
            }
            resolved.push_str(before);
            resolved.push_str(&found);
            self.file.variables.insert(name.to_owned(), found);
            rest = after;
        }
        resolved.push_str(rest);
        if resolved.len() > MOST_LINE {
            return Err(at.wrong(format!("with its variables the line has more than {MOST_LINE} bytes")));
        }
        Ok(resolved)
    }
}

/// A line without its comment and the blanks around; absent where nothing is left.
fn plain<'a>(line: &'a [u8], at: &At) -> Result<Option<&'a str>, JobFileError> {
    if line.len() > MOST_LINE {
        return Err(at.wrong(format!("it has {} bytes: fio takes a line of more than {MOST_LINE} for two", line.len())));
    }
    let line = std::str::from_utf8(line).map_err(|_| at.wrong("it is no text in UTF-8"))?;
    let line = line.split([';', '#']).next().unwrap_or_default().trim_matches([' ', '\t', '\r']);
    if let Some(odd) = line.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(at.wrong(format!("it has the control character U+{:04X}", odd as u32)));
    }
    Ok(Some(line).filter(|line| !line.is_empty()))
}

fn section(line: &str, at: &At) -> Result<Section, JobFileError> {
    let name = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = |name: &&str| !name.is_empty() && name.len() <= MOST_NAME && !name.contains(['[', ']']);
    match name.filter(is_name) {
        Some(name) => Ok(Section { name: name.to_owned(), settings: Vec::new(), at: at.clone() }),
        None => Err(at.wrong(format!("`{}` is no section: write [NAME] with up to {MOST_NAME} bytes", short(line)))),
    }
}

/// For a message: a file may be any file.
pub(super) fn short(text: &str) -> String {
    bench_agent::printable(text, 40)
}
