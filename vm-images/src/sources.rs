//! Whether the files that something was made from are still the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::closure::closure;

/// Files of the host as they were: each with its size in bytes and the time of its last change in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sources(BTreeMap<PathBuf, (u64, i64)>);

impl Sources {
    /// Programs and what they need, as they are now.
    pub fn of(programs: &[PathBuf]) -> Result<Sources, ImageError> {
        let mut sources = Sources::default();
        closure(programs)?.iter().for_each(|path| sources.add(path));
        Ok(sources)
    }

    /// Keep how the copies of its files in a tools tree are now.
    pub fn add_copies(&mut self, tree: &Path) {
        let copy = |path: &PathBuf| {
            let folder = path.parent()?.canonicalize().ok()?;
            Some(tree.join(folder.strip_prefix("/").ok()?).join(path.file_name()?))
        };
        let copies: Vec<_> = self.0.keys().filter_map(copy).collect();
        copies.iter().for_each(|path| self.add(path));
    }

    /// Keep how a file is now; one that cannot be looked at is not kept.
    pub fn add(&mut self, path: &Path) {
        self.0.extend(stamp(path).map(|stamp| (path.to_owned(), stamp)));
    }

    /// Those that were written, replaced or removed since they were added.
    pub fn changed(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter(|(path, known)| stamp(path) != Some(**known)).map(|(path, _)| path.as_path())
    }
}

/// Size in bytes and time of the last change in nanoseconds; absent where the file cannot be looked at.
pub(crate) fn stamp(path: &Path) -> Option<(u64, i64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_watched_where_a_tree_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, original) = (folder.path().join("tree"), folder.path().join("program"));
        let copy = tree.join(original.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        let mut sources = Sources::default();
        for path in [&original, &copy] {
            fs::write(path, "as it was").unwrap();
        }
        sources.add(&original);
        sources.add_copies(&tree);
        fs::write(&copy, "as it is now").unwrap();
        assert_eq!(sources.changed().collect::<Vec<_>>(), [copy.as_path()]);
    }

    #[test]
    fn what_is_written_replaced_or_removed_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["same", "written", "replaced", "removed"].map(|name| folder.path().join(name));
        let mut sources = Sources::default();
        for path in &names {
            fs::write(path, "as it was").unwrap();
            sources.add(path);
        }
        sources.add(&folder.path().join("never there"));
        assert_eq!(sources.changed().count(), 0);
        let [_, written, replaced, removed] = &names;
        fs::write(written, "as long, ").unwrap();
        fs::write(folder.path().join("new"), "as it is").unwrap();
        fs::rename(folder.path().join("new"), replaced).unwrap();
        fs::remove_file(removed).unwrap();
        assert_eq!(sources.changed().collect::<Vec<_>>(), [removed.as_path(), replaced, written]);
    }
}
