//! A run as one file: a compressed tar archive that is read like the run's folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

use crate::limits::{
    self, ARCHIVE_BYTES, ARCHIVE_ENTRIES, ARCHIVE_NAME_BYTES, Links, TRIALS_BYTES, UNPACKED_BYTES, UNPACKED_FILE_BYTES,
};
use crate::reading::{self, Keep, Trials, parse_run};
use crate::record::Run;
use crate::store::{RUN, Record, StoreError, TRIALS, io};

/// How the names of archives end.
pub const ENDING: &str = ".tar.gz";

/// Write a run's folder to the archive `to`, wholly or not at all: its record and raw output, without the report, which is
/// made from them. The same folder gives the same bytes.
pub fn export(folder: &Path, to: &Path) -> Result<(), StoreError> {
    let record = Record::load_lean(folder, |_| {})?;
    let mut files = vec![PathBuf::from(RUN), PathBuf::from(TRIALS)];
    collect(folder, Path::new("raw"), &mut files)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = parent.join(format!(".{}.new", record.run.id));
    let written = write(folder, &record.run.id, &files, &temporary)
        .and_then(|()| fs::rename(&temporary, to).map_err(io("naming the archive", to)));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}

/// The files below `folder/below`, sorted.
fn collect(folder: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    let path = folder.join(below);
    // A link would lead out of the folder.
    if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    let entries = fs::read_dir(&path).map_err(io("reading the folder", &path))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let file = below.join(name);
        let kind = fs::symlink_metadata(folder.join(&file)).map_err(io("looking at", &folder.join(&file)))?.file_type();
        if kind.is_dir() {
            collect(folder, &file, files)?;
        } else if kind.is_file() {
            files.push(file);
            if files.len() as u64 > ARCHIVE_ENTRIES {
                return Err(io("packing", &path)(other(format!(
                    "a run of more than {ARCHIVE_ENTRIES} files is not packed"
                ))));
            }
        }
    }
    Ok(())
}

fn write(folder: &Path, id: &str, files: &[PathBuf], to: &Path) -> Result<(), StoreError> {
    let failed = |e| io("writing the archive", to)(e);
    drop(fs::remove_file(to));
    let file = File::create_new(to).map_err(failed)?;
    let mut builder = Builder::new(GzEncoder::new(file, Compression::default()));
    let mut all_bytes = 0;
    for name in files {
        let path = folder.join(name);
        let most_bytes = if name == Path::new(TRIALS) { TRIALS_BYTES } else { UNPACKED_FILE_BYTES };
        let source = limits::open(&path, most_bytes, Links::Refused).map_err(io("packing", &path))?;
        let bytes = source.metadata().map_err(io("looking at", &path))?.len();
        all_bytes += bytes;
        let most = limits::size(UNPACKED_BYTES);
        let too_much = || {
            io("packing", &path)(other(format!("with it the archive would hold more than {most}, and no more is read")))
        };
        if all_bytes > UNPACKED_BYTES {
            return Err(too_much());
        }
        // No times and no owners: what they were on this machine is nobody's business, and the bytes stay the same.
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(bytes);
        builder.append_data(&mut header, Path::new(id).join(name), (&source).take(bytes)).map_err(failed)?;
        if (&source).stream_position().map_err(io("packing", &path))? != bytes {
            return Err(io("packing", &path)(other(
                "it became shorter meanwhile: is the run still going on?".to_owned(),
            )));
        }
    }
    let file = builder.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn other(reason: String) -> std::io::Error {
    std::io::Error::other(reason)
}

/// The record in an archive, with its trials as `take` reads them: it is given the run, where that comes before them and can be read. Nothing
/// is unpacked to disk, and all the same every path in it is checked: an archive that would write
/// outside of its folder is not ours.
pub(crate) fn read(
    path: &Path,
    mut take: impl FnMut(Option<&Run>, Content<'_>) -> Result<Trials, StoreError>,
) -> Result<(Run, Trials), StoreError> {
    let (mut run, mut trials) = (None, None);
    walk(path, unpacked(path)?, |part, content| {
        match part {
            Part::Run => run = Some(parse_run(&path.join(RUN), &whole(path, content)?)),
            Part::Trials => {
                let run = run.as_ref().and_then(|run| run.as_ref().ok());
                trials = Some(take(run, Content { archive: path, content: BufReader::new(content) }));
            }
            Part::Other(_) => {}
        }
        Ok(())
    })?;
    // What is wrong with the archive is said first.
    let (run, trials) = run.zip(trials).ok_or_else(|| lacking(path))?;
    Ok((run?, trials?))
}

/// `trials.jsonl` of an archive.
pub(crate) struct Content<'a> {
    archive: &'a Path,
    content: BufReader<&'a mut dyn Read>,
}

impl Content<'_> {
    pub(crate) fn trials(self, keep: &mut dyn Keep) -> Result<Trials, StoreError> {
        reading::trials((&self.archive.join(TRIALS), self.content), |e| unreadable(self.archive, &e), keep)
    }
}

/// Go through the raw output in an archive: `take` is given the path of each file below `raw/`, and its content, which it may leave unread.
///
/// # Errors
/// As of reading the archive's record.
pub fn each_raw(path: &Path, mut take: impl FnMut(&Path, &mut dyn Read)) -> Result<(), StoreError> {
    walk(path, unpacked(path)?, |part, content| {
        if let Part::Other(name) = part
            && let Ok(below) = name.strip_prefix("raw")
        {
            take(below, content);
        }
        Ok(())
    })
}

fn unpacked(path: &Path) -> Result<impl Read, StoreError> {
    let file = limits::open(path, ARCHIVE_BYTES, Links::Followed);
    let file = file.map_err(|e| refused(path, format!("it cannot be read as an archive: {e}")))?;
    Ok(GzDecoder::new(BufReader::new(file)))
}

/// The bytes of `run.json` and `trials.jsonl` of a tar archive that is decompressed already; `path` is its name for errors.
pub fn read_tar(path: &Path, tar: impl Read) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let (mut run, mut trials) = (None, None);
    walk(path, tar, |part, content| {
        match part {
            Part::Run => run = Some(whole(path, content)?),
            Part::Trials => trials = Some(whole(path, content)?),
            Part::Other(_) => {}
        }
        Ok(())
    })?;
    run.zip(trials).ok_or_else(|| lacking(path))
}

fn lacking(path: &Path) -> StoreError {
    refused(path, format!("it lacks {RUN} or {TRIALS}: it is no run"))
}

fn refused(path: &Path, reason: String) -> StoreError {
    StoreError::Archive { file: path.display().to_string(), reason }
}

fn unreadable(path: &Path, e: &std::io::Error) -> StoreError {
    refused(path, format!("it is no compressed tar archive, or is cut off ({e})"))
}

fn whole(path: &Path, content: &mut dyn Read) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    Ok(bytes)
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Run,
    Trials,
    /// By its path within the run's folder.
    Other(PathBuf),
}

/// Go through a tar archive and give its files, whose sizes are within their limits, to `take`.
fn walk(
    path: &Path,
    tar: impl Read,
    mut take: impl FnMut(Part, &mut dyn Read) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let unreadable = |e: std::io::Error| unreadable(path, &e);
    let mut archive = Archive::new(tar);
    let (mut root, mut long_name, mut taken, mut sums) = (None, None, BTreeSet::new(), Sums::default());
    // Raw: what extends a header is an entry of its own, which is not read into memory whatever its size.
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() || kind.is_pax_global_extensions() {
            sums.add("a header in it is longer", entry.size(), ARCHIVE_NAME_BYTES)
                .map_err(|reason| refused(path, reason))?;
            let content = whole(path, &mut entry)?;
            if kind.is_gnu_longname() {
                let name = content.strip_suffix(b"\0").unwrap_or(&content);
                long_name = Some(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
            }
            continue;
        }
        let name = match long_name.take() {
            Some(name) => name,
            None => entry.path().map_err(unreadable)?.into_owned(),
        };
        let (first, rest) = plain(&name, kind).map_err(|reason| refused(path, reason))?;
        if root.get_or_insert_with(|| first.clone()) != &first {
            return Err(refused(path, format!("it holds several folders, and `{first}` is not the first")));
        }
        let (part, most) = match rest.to_str() {
            Some(RUN) => (Part::Run, limits::RUN_BYTES),
            Some(TRIALS) => (Part::Trials, limits::TRIALS_BYTES),
            _ => (Part::Other(rest), UNPACKED_FILE_BYTES),
        };
        sums.add(&format!("`{}` in it is larger", name.display()), entry.size(), most)
            .map_err(|reason| refused(path, reason))?;
        let is_record = !matches!(part, Part::Other(_));
        if is_record && !taken.insert(part.clone()) {
            return Err(refused(path, format!("`{}` is in it twice", name.display())));
        }
        take(part, &mut entry)?;
    }
    Ok(())
}

/// How much of an archive was gone through.
#[derive(Default)]
struct Sums {
    entries: u64,
    bytes: u64,
}

impl Sums {
    /// One more entry, of at most so many bytes; the words for one that has more.
    fn add(&mut self, too_large: &str, bytes: u64, most_bytes: u64) -> Result<(), String> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if bytes > most_bytes {
            Err(format!("{too_large} than {}", limits::size(most_bytes)))
        } else if self.bytes > UNPACKED_BYTES {
            Err(format!("it unpacks to more than {}", limits::size(UNPACKED_BYTES)))
        } else if self.entries > ARCHIVE_ENTRIES {
            Err(format!("it has more than {ARCHIVE_ENTRIES} entries"))
        } else {
            Ok(())
        }
    }
}

/// First part and rest of a path that stays within one folder, of a file or folder.
fn plain(name: &Path, kind: EntryType) -> Result<(String, PathBuf), String> {
    let shown = name.display();
    if !matches!(kind, EntryType::Regular | EntryType::Directory) {
        return Err(format!("`{shown}` in it is neither file nor folder"));
    }
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("the path `{shown}` in it leads out of its folder"));
    }
    let mut parts = name.components();
    let first =
        parts.next().and_then(|part| part.as_os_str().to_str()).ok_or(format!("`{shown}` in it is no plain name"))?;
    Ok((first.to_owned(), parts.as_path().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_archive_may_hold_in_all_is_said_where_it_holds_more() {
        let mut full = Sums { bytes: UNPACKED_BYTES - 1, ..Sums::default() };
        full.add("it is larger", 1, 1).unwrap();
        assert_eq!(full.add("it is larger", 1, 1).unwrap_err(), "it unpacks to more than 16 GiB");
        let mut many = Sums { entries: ARCHIVE_ENTRIES - 1, ..Sums::default() };
        many.add("it is larger", 0, 1).unwrap();
        assert_eq!(many.add("it is larger", 0, 1).unwrap_err(), "it has more than 1000000 entries");
        let larger = Sums::default().add("`r/x` in it is larger", UNPACKED_FILE_BYTES + 1, UNPACKED_FILE_BYTES);
        assert_eq!(larger.unwrap_err(), "`r/x` in it is larger than 1 GiB");
    }
}
