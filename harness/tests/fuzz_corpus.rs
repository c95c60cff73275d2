//! Every input that fuzzing has found interesting, and every one that once was a crash, through the same code, on any compiler.

#[path = "../../fuzz/examples/seed.rs"]
#[allow(dead_code)]
mod seed;
#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code)]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest that one of these small inputs may take here, with a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn what_was_found_by_fuzzing_does_no_harm() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    // Fuzzing begins with what these are today.
    let seeds = tempfile::tempdir().unwrap();
    seed::write(seeds.path()).unwrap();
    for (name, body) in targets::TARGETS {
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} is fuzzed");
        let mut files = inputs(&fuzz.join("corpus").join(name));
        assert!(!files.is_empty(), "there is no corpus for {name}");
        let regressions = inputs(&fuzz.join("regressions").join(name));
        eprintln!("{name}: {} inputs, {} of them once a crash", files.len() + regressions.len(), regressions.len());
        files.extend(regressions);
        let begun_with = inputs(&seeds.path().join(name));
        assert!(!begun_with.is_empty(), "there is no seed for {name}");
        files.extend(begun_with);
        for file in files {
            let began = Instant::now();
            body(&fs::read(&file).unwrap());
            assert!(began.elapsed() < LONGEST, "{} took {:?}", file.display(), began.elapsed());
        }
    }
    let targets = inputs(&fuzz.join("fuzz_targets")).len();
    assert_eq!(targets, targets::TARGETS.len(), "every target is replayed");
}
