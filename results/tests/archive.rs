//! Runs as archives: read like their folders, and refused where they are not a run's.

use std::fs;
use std::path::Path;

use bench_results::archive;
use bench_results::record::Trial;
use bench_results::store::{Record, RunFolder, StoreError, find_runs};
use bench_results::testing::record;

fn store(parent: &Path, record: &Record) -> std::path::PathBuf {
    let mut folder = RunFolder::create(parent, &record.run).unwrap();
    record.trials.iter().for_each(|trial| folder.append_trial(trial).unwrap());
    fs::write(folder.raw("b01-rand-read-vm", 1).unwrap().join("fio.json"), "{}").unwrap();
    folder.path().to_owned()
}

#[test]
fn an_archive_is_read_like_its_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = store(parent.path(), &record(1, 2, false));
    let archives = [parent.path().join("one.tar.gz"), parent.path().join("two.tar.gz")];
    for to in &archives {
        archive::export(&folder, to).unwrap();
    }
    let (from_folder, from_archive) = (Record::load(&folder).unwrap(), Record::load(&archives[0]).unwrap());
    assert_eq!((from_archive.run, from_archive.trials), (from_folder.run, from_folder.trials));
    let [from_folder, from_archive] = [&folder, &archives[0]]
        .map(|path| Record { folder: folder.clone(), ..Record::load_lean(path, |_| {}).unwrap() });
    assert_eq!(from_archive, from_folder);
    // The trials come first: they are folded when the run is known, and what is said against them counts all the same.
    let other_way = parent.path().join("other.tar.gz");
    let [run, trials] = ["run.json", "trials.jsonl"].map(|name| fs::read(folder.join(name)).unwrap());
    let file = tar::EntryType::Regular;
    forged(&other_way, &[("r/trials.jsonl", file, &trials), ("r/run.json", file, &run)]);
    let deny = |trial: &mut Trial| trial.deny("somebody says so");
    let [there, here] =
        [&other_way, &folder].map(|path| Record { folder: folder.clone(), ..Record::load_lean(path, deny).unwrap() });
    assert_eq!(there, here);
    assert!(here.trials.iter().all(|trial| !trial.is_valid() && trial.histograms.is_empty()));
    fs::remove_file(other_way).unwrap();
    assert_eq!(fs::read(&archives[0]).unwrap(), fs::read(&archives[1]).unwrap(), "the same bytes each time");
    let mut names = Vec::new();
    let file = flate2::read::GzDecoder::new(fs::File::open(&archives[0]).unwrap());
    for entry in tar::Archive::new(file).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(names, ["run.json", "trials.jsonl", "fio.json"]);
    let set = find_runs(parent.path(), &parent.path().display().to_string()).unwrap();
    assert_eq!(set.len(), 3, "a folder and two archives");
}

/// An archive with these entries, as nobody's `export` writes it.
fn forged(to: &Path, entries: &[(&str, tar::EntryType, &[u8])]) {
    let mut builder =
        tar::Builder::new(flate2::write::GzEncoder::new(fs::File::create(to).unwrap(), Default::default()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap();
}

#[test]
fn an_archive_that_is_not_a_runs_is_refused() {
    use tar::EntryType::{Regular, Symlink};
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run.tar.gz");
    let refused = || match Record::load(&path) {
        Err(StoreError::Archive { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    for (entries, said) in [
        (&[("run/../../etc/passwd", Regular, &b"x"[..])][..], "leads out"),
        (&[("/etc/passwd", Regular, b"x")], "leads out"),
        (&[("run/raw", Symlink, b"")], "neither file nor folder"),
        (&[("a/run.json", Regular, b"{}"), ("b/trials.jsonl", Regular, b"")], "several folders"),
        (&[("a/run.json", Regular, b"{}"), ("a/run.json", Regular, b"{}")], "twice"),
        (&[("a/run.json", Regular, b"{}")], "lacks"),
        (&[], "lacks"),
    ] {
        forged(&path, entries);
        let reason = refused();
        assert!(reason.contains(said), "{entries:?}: {reason}");
    }
    fs::write(&path, "not an archive").unwrap();
    assert!(refused().contains("no compressed tar archive"));
    let folder = store(parent.path(), &record(1, 1, false));
    archive::export(&folder, &path).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(refused().contains("cut off"));
    forged(&path, &[("a/run.json", Regular, b"{\"schema_version\": 99}"), ("a/trials.jsonl", Regular, b"")]);
    assert!(matches!(Record::load(&path), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_folder_without_runs_and_a_run_that_cannot_be_exported_say_so() {
    let parent = tempfile::tempdir().unwrap();
    let name = parent.path().display().to_string();
    assert!(matches!(find_runs(Path::new("bench-runs"), &name), Err(StoreError::NoRuns(_))));
    assert!(matches!(archive::export(parent.path(), &parent.path().join("x.tar.gz")), Err(StoreError::NotARun(_))));
    let folder = store(parent.path(), &record(1, 1, false));
    let error = archive::export(&folder, Path::new("/no/such/folder/x.tar.gz")).unwrap_err().to_string();
    assert!(error.contains("/no/such/folder"), "{error}");
}
