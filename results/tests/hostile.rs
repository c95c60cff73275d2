//! A record from a stranger: links, pipes, endless files, and archives that unpack to more than there is.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bench_results::archive;
use bench_results::store::{self, Record, RunFolder, StoreError};
use bench_results::testing;
use flate2::write::GzEncoder;
use tar::EntryType;

fn run(parent: &Path) -> PathBuf {
    let record = testing::record(1, 1, false);
    let mut folder = RunFolder::create(parent, &record.run).unwrap();
    record.trials.iter().for_each(|trial| folder.append_trial(trial).unwrap());
    fs::write(folder.raw("b01-rand-read-vm", 1).unwrap().join("fio.json"), "{}").unwrap();
    folder.path().to_owned()
}

fn damage(folder: &Path) -> String {
    match Record::load(folder) {
        Err(StoreError::Damaged { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn links_pipes_and_huge_files_are_not_read() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path());
    for name in ["run.json", "trials.jsonl"] {
        let (path, kept) = (folder.join(name), parent.path().join(name));
        fs::rename(&path, &kept).unwrap();
        symlink(&kept, &path).unwrap();
        assert!(damage(&folder).contains("link"), "{name}");
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo is of coreutils");
        assert!(damage(&folder).contains("device"), "{name}: a pipe would never end");
        fs::remove_file(&path).unwrap();
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(damage(&folder).contains("larger"), "{name}: a terabyte of nothing");
        fs::rename(&kept, &path).unwrap();
    }
    Record::load(&folder).unwrap();
}

#[test]
fn a_run_that_goes_on_reads_and_writes_through_no_link() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path());
    let record = Record::load(&folder).unwrap();
    let precious = parent.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    for name in [".trials.jsonl.new", ".run.json.new"] {
        symlink(&precious, folder.join(name)).unwrap();
    }
    let trials = store::recorded(&folder, &record.run).unwrap();
    let going_on = RunFolder::reopen(&folder, &record.run, trials, &[]).unwrap();
    assert!(fs::read_to_string(&precious).unwrap() == "precious", "written through a link");
    assert_eq!(Record::load(&folder).unwrap(), record);

    let raw = folder.join("raw");
    fs::create_dir_all(raw.join("b01-planted")).unwrap();
    symlink(&precious, raw.join("b01-planted/job.fio")).unwrap();
    symlink(parent.path(), raw.join("b02-planted")).unwrap();
    for trial in ["b01-planted", "b02-planted"] {
        let made = going_on.raw(trial, 1).unwrap();
        assert!(
            fs::symlink_metadata(&made).unwrap().is_dir() && fs::read_dir(made).unwrap().next().is_none(),
            "{trial}"
        );
    }
    assert!(precious.exists());
    fs::rename(&raw, parent.path().join("raw")).unwrap();
    symlink(parent.path().join("raw"), &raw).unwrap();
    assert!(going_on.raw("b03", 1).unwrap_err().to_string().contains("link"));

    let path = folder.join("trials.jsonl");
    fs::rename(&path, parent.path().join("elsewhere")).unwrap();
    symlink(parent.path().join("elsewhere"), &path).unwrap();
    assert!(store::recorded(&folder, &record.run).unwrap_err().to_string().contains("link"));
}

#[test]
fn an_export_holds_nothing_from_outside_of_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path());
    let secret = parent.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "secret").unwrap();
    symlink(secret.join("key"), folder.join("raw/b01-rand-read-vm/key")).unwrap();
    symlink(&secret, folder.join("raw/more")).unwrap();
    // Where the archive is made at first, there is a link already.
    let to = parent.path().join("run.tar.gz");
    let name = folder.file_name().unwrap().to_str().unwrap();
    symlink(secret.join("key"), parent.path().join(format!(".{name}.new"))).unwrap();
    archive::export(&folder, &to).unwrap();
    assert_eq!(names(&to), ["run.json", "trials.jsonl", "fio.json"]);
    assert_eq!(fs::read_to_string(secret.join("key")).unwrap(), "secret");

    fs::rename(folder.join("raw"), parent.path().join("raw")).unwrap();
    symlink(&secret, folder.join("raw")).unwrap();
    archive::export(&folder, &to).unwrap();
    assert_eq!(names(&to), ["run.json", "trials.jsonl"]);
}

fn names(archive: &Path) -> Vec<String> {
    let file = flate2::read::GzDecoder::new(fs::File::open(archive).unwrap());
    let mut archive = tar::Archive::new(file);
    let name = |entry: tar::Entry<'_, _>| entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    archive.entries().unwrap().map(|entry| name(entry.unwrap())).collect()
}

/// Names in headers of their own, as tar writes those of more than 100 bytes.
fn forged(to: &Path, entries: &[(EntryType, &str, u64)]) {
    let mut file = GzEncoder::new(fs::File::create(to).unwrap(), flate2::Compression::fast());
    for (kind, name, zeros) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..4].copy_from_slice(b"r/ok");
        header.set_entry_type(*kind);
        header.set_size(name.len() as u64 + zeros);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
        let padding = (512 - (name.len() as u64 + zeros) % 512) % 512;
        let rest = std::io::repeat(0).take(zeros + padding);
        std::io::copy(&mut name.as_bytes().chain(rest), &mut file).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    file.finish().unwrap();
}

#[test]
fn long_names_do_not_lead_out_and_bombs_are_not_unpacked() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("run.tar.gz");
    let gibibyte = 1 << 30;
    let (long, file) = (EntryType::GNULongName, EntryType::Regular);
    let out = format!("r/{}/../../../x", "a".repeat(200));
    let attributes = EntryType::XHeader;
    for (entries, said) in [
        (&[(long, out.as_str(), 1), (file, "x", 0)][..], "leads out"),
        (&[(long, "/etc/passwd", 1), (file, "x", 0)], "leads out"),
        (&[(long, "r/run.json", 1), (file, "", gibibyte)], "larger than 256 MiB"),
        (&[(long, "r/x", gibibyte)], "longer than 4 KiB"),
        (&[(attributes, "", gibibyte)], "longer than 4 KiB"),
        (&[(EntryType::GNULongLink, "/etc/passwd", 1)], "neither file nor folder"),
        (&[(EntryType::Link, "", 0)], "neither file nor folder"),
        (&[(EntryType::GNUSparse, "", 0)], "neither file nor folder"),
    ] {
        forged(&path, entries);
        let reason = match Record::load(&path) {
            Err(StoreError::Archive { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason.contains(said), "{entries:?}: {reason}");
    }
    let peak = testing::peak_kib();
    assert!(peak < 400_000, "three gibibytes were announced, {peak} kB were taken");
}

/// A trial's folder has a name of up to 128 bytes: its files are in the archive under long names.
#[test]
fn our_own_long_names_are_read() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path());
    let long = folder.join("raw").join("b".repeat(128));
    fs::create_dir(&long).unwrap();
    fs::write(long.join("fio.json"), "{}").unwrap();
    let to = parent.path().join("run.tar.gz");
    archive::export(&folder, &to).unwrap();
    assert_eq!(Record::load(&to).unwrap().trials, Record::load(&folder).unwrap().trials);
}

#[test]
fn a_workload_for_nobody_that_was_executed_all_the_same_is_counted() {
    let mut record = testing::record(1, 4, false);
    record.run.plan.workloads.iter_mut().for_each(|workload| workload.environments = vec!["nobody".to_owned()]);
    let headline = bench_results::analysis::analyse(&record).headline;
    assert!(headline.contains("7 of 7 workloads") && !headline.contains("of 0"), "{headline}");
}
