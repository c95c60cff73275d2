//! The documented error rates are those of the committed residuals and of the verdict code as it is.

use std::path::{Path, PathBuf};

use bench_results::calibration::{Calibrated, Residuals, calibrate};

/// A tenth of what the documented figures come from: enough to notice another rule.
const RUNS: u32 = 1000;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The newest committed residuals.
fn residuals() -> Residuals {
    let folder = repository().join("results/reference");
    let files = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("residuals-");
    let newest = files.filter(is_it).max().expect("no residuals in results/reference: `make calibrate` records some");
    serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap()
}

/// The cells of the row of the methodology's table.
fn documented(methodology: &str, row: &Calibrated) -> Vec<f64> {
    let start = format!("| {} | {} | {} | {} |", row.profile, row.workload, row.environment, row.blocks);
    let lines: Vec<_> = methodology.lines().filter(|line| line.starts_with(&start)).collect();
    assert_eq!(lines.len(), 1, "`{start}` once in docs/METHODOLOGY.md");
    let cells = lines[0][start.len()..].split('|').filter(|cell| !cell.trim().is_empty());
    cells.map(|cell| cell.trim().trim_end_matches(" %").parse::<f64>().unwrap() / 100.0).collect()
}

#[test]
fn the_methodology_says_what_the_residuals_say() {
    let methodology = std::fs::read_to_string(repository().join("docs/METHODOLOGY.md")).unwrap();
    let rows = calibrate(&residuals(), RUNS);
    assert!(rows.len() >= 2 * 7, "{}", rows.len());
    for row in rows {
        let said = documented(&methodology, &row);
        let [spread, alarms, equal, found] = said[..] else { panic!("{said:?}") };
        assert!((row.sd_log - spread).abs() < 0.0006, "{row:?}: {spread}");
        assert!((row.false_alarms() - alarms).abs() < 0.01, "{row:?}: {alarms}");
        // Three standard errors of 50 % in 1,000 runs are 4.7 %.
        assert!((row.equal.equivalent - equal).abs() < 0.05, "{row:?}: {equal}");
        assert!((row.slowdown.worse - found).abs() < 0.05, "{row:?}: {found}");
    }
}
