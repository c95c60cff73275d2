//! The documented error rates are those of the committed residuals and of the verdict code as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bench_results::calibration::{Calibrated, PROFILES, Residuals, calibrate};

/// A tenth of what the documented figures come from: enough to notice another rule.
const RUNS: u32 = 1000;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The newest committed residuals of each suite and profile: `residuals-SUITE-PROFILE-YEAR-MONTH-DAY.json`.
fn residuals() -> Vec<Residuals> {
    let folder = repository().join("results/reference");
    let names = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let dated = names.filter_map(|name| {
        let (what, date) = name.strip_prefix("residuals-")?.split_at_checked(name.len() - "residuals-".len() - 16)?;
        Some((what.to_owned(), (date.to_owned(), name)))
    });
    let mut newest = BTreeMap::new();
    for (what, file) in dated {
        let known = newest.entry(what).or_insert_with(|| file.clone());
        *known = file.max(known.clone());
    }
    let read = |(_, name): (String, String)| std::fs::read(folder.join(name)).unwrap();
    newest.into_values().map(|file| serde_json::from_slice(&read(file)).unwrap()).collect()
}

/// The cells of the row of the documented table.
fn documented(figures: &str, row: &Calibrated) -> Vec<f64> {
    let start = format!("| {} | {} | {} | {} |", row.profile, row.workload, row.environment, row.blocks);
    let lines: Vec<_> = figures.lines().filter(|line| line.starts_with(&start)).collect();
    assert_eq!(lines.len(), 1, "`{start}` once in docs/FIGURES.md");
    let cells = lines[0][start.len()..].split('|').filter(|cell| !cell.trim().is_empty());
    cells.map(|cell| cell.trim().trim_end_matches(" %").parse::<f64>().unwrap() / 100.0).collect()
}

#[test]
fn the_documented_figures_say_what_the_residuals_say() {
    let figures = std::fs::read_to_string(repository().join("docs/FIGURES.md")).unwrap();
    let rows: Vec<_> = residuals()
        .into_iter()
        .flat_map(|file| calibrate(&file, RUNS).into_iter().map(move |row| (file.suite.clone(), row)))
        .collect();
    for rated in PROFILES {
        let its = rows.iter().filter(|(suite, row)| (suite.as_str(), row.profile) == (rated.suite, rated.profile));
        assert!(its.count() >= 7, "{rated:?}");
    }
    for (_, row) in rows {
        let said = documented(&figures, &row);
        let [spread, alarms, equal, found, edge_worse, edge_equal] = said[..] else { panic!("{said:?}") };
        assert!((row.sd_log - spread).abs() < 0.0006, "{row:?}: {spread}");
        // What is aimed at.
        assert!(alarms <= 0.01, "{row:?}: {alarms}");
        assert!(row.profile != "standard" || found >= 0.95, "{row:?}: {found}");
        let simulated =
            [row.false_alarms(), row.equal.equivalent, row.slowdown.worse, row.edge.worse, row.edge.equivalent];
        for (simulated, said) in simulated.into_iter().zip([alarms, equal, found, edge_worse, edge_equal]) {
            let error = (said * (1.0 - said) / f64::from(RUNS)).sqrt();
            assert!((simulated - said).abs() < 0.002 + 3.5 * error, "{row:?}: {simulated} {said}");
        }
    }
}
