//! A run as one file: a compressed tar archive that is read like the run's folder.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

use crate::store::{MOST_BYTES, RUN, Record, StoreError, TRIALS, io};

/// How the names of archives end.
pub const ENDING: &str = ".tar.gz";
/// Longest name in an archive, and longest extended header that is skipped: a few kilobytes can unpack to any size.
const MOST_NAME_BYTES: u64 = 4 << 10;

/// Write a run's folder to the archive `to`, wholly or not at all: its record and raw output, without the report, which is
/// made from them. The same folder gives the same bytes.
pub fn export(folder: &Path, to: &Path) -> Result<(), StoreError> {
    let record = Record::load(folder)?;
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
        }
    }
    Ok(())
}

fn write(folder: &Path, id: &str, files: &[PathBuf], to: &Path) -> Result<(), StoreError> {
    let failed = |e| io("writing the archive", to)(e);
    drop(fs::remove_file(to));
    let file = File::create_new(to).map_err(failed)?;
    let mut builder = Builder::new(GzEncoder::new(file, Compression::default()));
    for name in files {
        let path = folder.join(name);
        let content = fs::read(&path).map_err(io("reading", &path))?;
        // No times and no owners: what they were on this machine is nobody's business, and the bytes stay the same.
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, Path::new(id).join(name), &content[..]).map_err(failed)?;
    }
    let file = builder.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// `run.json` and `trials.jsonl` of an archive. Nothing is unpacked to disk, and all the same every path in it is checked: an
/// archive that would write outside of its folder is not ours.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let file = File::open(path).map_err(io("opening", path))?;
    read_tar(path, GzDecoder::new(std::io::BufReader::new(file)))
}

/// The same of a tar archive that is decompressed already; `path` is its name for errors.
pub fn read_tar(path: &Path, tar: impl Read) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let refused = |reason: String| StoreError::Archive { file: path.display().to_string(), reason };
    let unreadable = |e: std::io::Error| refused(format!("it is no compressed tar archive, or is cut off ({e})"));
    let mut archive = Archive::new(tar);
    let (mut run, mut trials, mut root, mut long_name) = (None, None, None, None);
    // Raw: what extends a header is an entry of its own, which is not read into memory whatever its size.
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() || kind.is_pax_global_extensions() {
            let content = limited(&mut entry, MOST_NAME_BYTES).map_err(unreadable)?;
            let content = content.ok_or_else(|| refused("a header in it is longer than 4 KiB".to_owned()))?;
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
        let (first, rest) = plain(&name, kind).map_err(refused)?;
        if root.get_or_insert_with(|| first.clone()) != &first {
            return Err(refused(format!("it holds several folders, and `{first}` is not the first")));
        }
        let (wanted, most) = match rest.to_str() {
            Some(RUN) => (&mut run, MOST_BYTES[0]),
            Some(TRIALS) => (&mut trials, MOST_BYTES[1]),
            _ => continue,
        };
        let content = limited(&mut entry, most).map_err(unreadable)?;
        let too_large = || refused(format!("`{}` in it is larger than {} MiB", name.display(), most >> 20));
        if wanted.replace(content.ok_or_else(too_large)?).is_some() {
            return Err(refused(format!("`{}` is in it twice", name.display())));
        }
    }
    run.zip(trials).ok_or_else(|| refused(format!("it lacks {RUN} or {TRIALS}: it is no run")))
}

/// The whole content, if it is not longer than this.
fn limited(entry: &mut impl Read, most_bytes: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    entry.take(most_bytes + 1).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= most_bytes).then_some(content))
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
