//! A record from a stranger is shown without a file being read or written outside of the report's folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bench_reports::write_all;
use bench_results::store::Record;
use bench_results::testing;
use serde_json::Value;

/// All files below a folder with what they hold; links as what they lead to.
fn below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            found.extend(below(&path));
        } else if kind.is_symlink() {
            found.insert(path.clone(), fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn parse(run: &Value, trials: &[Value]) -> Option<Record> {
    let lines: Vec<String> = trials.iter().map(|trial| format!("{trial}\n")).collect();
    Record::parse(Path::new("run"), run.to_string().as_bytes(), lines.concat().as_bytes()).ok()
}

#[test]
fn no_text_of_a_record_becomes_a_path() {
    let parent = tempfile::tempdir().unwrap();
    let outside = parent.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "as before").unwrap();
    let record = testing::record(1, 3, false);
    let mut run = serde_json::to_value(&record.run).unwrap();
    let mut trials: Vec<Value> = record.trials.iter().map(|trial| serde_json::to_value(trial).unwrap()).collect();
    // Every text is replaced where the record is accepted with it; in the end all of these at once.
    let mut pointers = Vec::new();
    testing::texts(&run, "", &mut pointers);
    pointers.retain(|pointer| !pointer.starts_with("/plan/trials/") || pointer.starts_with("/plan/trials/0/"));
    let hostile = [outside.join("file").display().to_string(), "../../outside/file".to_owned()];
    let mut accepted = 0;
    for (index, pointer) in pointers.iter().enumerate() {
        let before = run.pointer_mut(pointer).unwrap().take();
        *run.pointer_mut(pointer).unwrap() = Value::String(hostile[index % 2].clone());
        if parse(&run, &trials).is_some() {
            accepted += 1;
        } else {
            *run.pointer_mut(pointer).unwrap() = before;
        }
    }
    let mut pointers = Vec::new();
    testing::texts(&trials[0], "", &mut pointers);
    for pointer in pointers {
        let before = trials[0].pointer_mut(&pointer).unwrap().take();
        *trials[0].pointer_mut(&pointer).unwrap() = Value::String(hostile[0].clone());
        if parse(&run, &trials).is_some() {
            accepted += 1;
        } else {
            *trials[0].pointer_mut(&pointer).unwrap() = before;
        }
    }
    assert!(accepted > 20, "{accepted} texts are free");
    let before = below(parent.path());
    let report = parent.path().join("report");
    let written = write_all(&parse(&run, &trials).unwrap(), &report).unwrap();
    assert!(written.iter().all(|path| path.parent() == Some(report.as_path())), "{written:?}");
    let mut after = below(parent.path());
    after.retain(|path, _| !path.starts_with(&report));
    assert_eq!(before, after);
}

#[test]
fn links_in_the_reports_folder_are_not_followed() {
    let parent = tempfile::tempdir().unwrap();
    let (outside, report) = (parent.path().join("outside"), parent.path().join("report"));
    fs::create_dir(&outside).unwrap();
    let record = testing::record(1, 3, false);
    symlink(&outside, &report).unwrap();
    let refused = write_all(&record, &report).unwrap_err();
    assert!(std::error::Error::source(&refused).unwrap().to_string().contains("link"), "{refused}");
    assert_eq!(below(&outside).len(), 0);

    fs::remove_file(&report).unwrap();
    fs::create_dir(&report).unwrap();
    for name in ["file", "another"] {
        fs::write(outside.join(name), "as before").unwrap();
    }
    for name in ["index.html", ".index.html.tmp", ".answer.tmp.png", "answer.png", ".report.md.tmp", ".answer.svg.tmp"]
    {
        symlink(outside.join("file"), report.join(name)).unwrap();
    }
    write_all(&record, &report).unwrap();
    assert!(below(&outside).values().all(|content| content == b"as before"));
    assert!(fs::symlink_metadata(report.join("index.html")).unwrap().is_file());
}
