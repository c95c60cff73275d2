//! Rows that cannot be misread: one direction of ratios, secondary metrics, and what a row says about itself, in every form.

use bench_reports::{Report, write_all};
use bench_results::analysis::analyse;
use bench_results::record::Trial;
use bench_results::store::Record;
use bench_results::testing::{record, speed_up};

fn report(record: &Record) -> Report {
    Report::new(record, &analyse(record))
}

/// Of a metric of which less is better, the same number and direction in every form.
#[test]
fn a_latency_has_one_ratio_and_one_direction_in_every_form() {
    let report = report(&record(1, 8, false));
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let is_it = |row: &&serde_json::Value| row["workload"] == "rand-read-qd1" && row["environment"] == "vm";
    let row = json["results"].as_array().unwrap().iter().find(is_it).unwrap();
    assert_eq!((&row["metric_name"], &row["better"]), (&"read_latency_p50_ns".into(), &"lower".into()));
    let ratio = row["ratio"].as_f64().unwrap();
    assert!(ratio > 1.5 && row["verdict"] == "worse", "{row}");
    assert!((row["mean"].as_f64().unwrap() / row["reference_mean"].as_f64().unwrap() / ratio - 1.0).abs() < 0.05);
    let shown = format!("{ratio:.3} [");
    let (terminal, markdown, html) = (report.terminal(100, false, None), report.markdown(), report.html().unwrap());
    let named = "median read latency (lower is better)";
    let below = terminal.split(&format!("rand-read-qd1: {named}\n")).nth(1).unwrap();
    let line = below.lines().find(|line| line.starts_with("  vm ")).unwrap();
    assert!(line.contains(&shown) && line.contains("worse"), "{line}");
    let line = markdown.lines().find(|line| line.starts_with("| rand-read-qd1 | vm |")).unwrap();
    assert!(line.contains(named) && line.contains(&format!("{ratio:.3} ")), "{line}");
    // Once in the table of results, once in the figure's own; never the inverse.
    let (figure, results) = html.split_once("Deciding metric of each workload").unwrap();
    for part in [figure, &results[..results.find("</table>").unwrap()]] {
        let row = part.rsplit_once("rand-read-qd1").unwrap().1;
        assert!(part.contains(named) && row.contains(&shown), "{row}");
        assert!(!row.contains(&format!("{:.3} [", 1.0 / ratio)), "{row}");
    }
    let csv = report.comparisons_csv();
    let named = "rand-read-qd1,vm,deciding,read_latency_p50_ns,ns,lower,native,";
    let line = csv.lines().find(|line| line.starts_with(named)).unwrap_or_else(|| panic!("{csv}"));
    assert!(line.starts_with(&format!("{named}{ratio},")) && line.contains(",worse,"), "{line}");
    assert!(csv.lines().skip(1).all(|line| line.contains(",higher,") || line.contains(",lower,")));
}

/// Arrows of the answer, of rows in which higher and lower values are better.
#[test]
fn an_arrow_in_each_row_of_the_figure_points_to_its_better_side() {
    let folder = tempfile::tempdir().unwrap();
    write_all(&record(1, 3, false), folder.path()).unwrap();
    let svg = std::fs::read_to_string(folder.path().join("answer.svg")).unwrap();
    let arrows = |text: &str| svg.matches(text).count();
    assert_eq!((arrows("better →"), arrows("← better")), (6, 1));
    assert_eq!((arrows("higher is better"), arrows("lower is better")), (6, 1));
    assert!(svg.contains("arrows point to the better side"));
}

#[test]
fn the_headline_carries_its_caveat_and_says_faster() {
    let mut noisy = record(1, 8, false);
    speed_up(&mut noisy, "rand-read", "container", 1.5);
    let headline = |record: &Record| analyse(record).headline;
    let said = headline(&noisy);
    assert!(
        said.starts_with("container: 49 % faster in rand-read, no measurable cost in 6 of 7 workloads; VM: "),
        "{said}"
    );
    speed_up(&mut noisy, "rand-read-qd1", "container", 2.0);
    let said = headline(&noisy);
    assert!(said.contains("faster in 2 of 7 workloads, most in "), "{said}");
    noisy.run.baseline.as_mut().unwrap().other_cpu_percent = 40.0;
    assert!(headline(&noisy).starts_with("not reportable: machine was not idle; container: "), "{}", headline(&noisy));
    let title = report(&noisy).html().unwrap();
    assert!(title.contains("<title>io: not reportable: ") && title.contains("<h1>not reportable: "));
}

#[test]
fn secondary_metrics_are_judged_in_every_form_and_fold_where_they_are_many() {
    let report = report(&record(1, 8, false));
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let all = json["secondaries"].as_array().unwrap();
    let find = |workload: &str, environment: &str, metric: &str| {
        let is_it = |row: &&serde_json::Value| {
            row["workload"] == workload && row["environment"] == environment && row["metric_name"] == metric
        };
        all.iter().find(is_it).unwrap_or_else(|| panic!("no {workload} {environment} {metric}"))
    };
    let p99 = find("rand-read", "vm", "read_latency_p99_ns");
    assert_eq!((&p99["verdict"], &p99["better"]), (&"worse".into(), &"lower".into()), "{p99}");
    assert!(p99["p_holm"].as_f64().unwrap() < 0.025 && p99["interval"][0].as_f64().unwrap() > 1.1, "{p99}");
    assert!(p99["sign_flip_p"].as_f64().unwrap() < 0.01 && p99["bootstrap_t"][0].as_f64().unwrap() > 1.1, "{p99}");
    let refused = find("rand-read", "vm", "read_latency_p999_ns");
    assert!(refused["ratio"].is_null() && refused["mean"].is_null() && refused["verdict"] == "none", "{refused}");
    let why = refused["sentence"].as_str().unwrap();
    assert!(why.starts_with("too few I/Os: it takes 160000 in a block"), "{why}");
    let (terminal, markdown, html) = (report.terminal(100, false, None), report.markdown(), report.html().unwrap());
    let count = |verdict: &str| all.iter().filter(|row| row["verdict"] == verdict).count();
    let said = format!("{} rows: {} worse, {} equivalent", all.len(), count("worse"), count("equivalent"));
    for form in [&terminal, &markdown, &html] {
        assert!(form.contains(&said), "{said}: {form}");
    }
    assert!(
        terminal.contains("  vm           1.") && terminal.contains(" more that are better or worse"),
        "{terminal}"
    );
    let line = |metric: &str| markdown.lines().find(|line| line.starts_with(&format!("| rand-read | vm | {metric} ")));
    assert!(line("read latency p99 (lower is better)").unwrap().contains("worse"), "{markdown}");
    assert!(line("read latency p99.9 (lower is better)").unwrap().contains("too few I/Os"), "{markdown}");
    let (_, section) = html.split_once("<h2 id=\"secondary\">").unwrap();
    assert!(section.split_once("<table>").unwrap().0.contains("<details><summary>Percentiles of latency"), "folded");
    let csv = report.comparisons_csv();
    let line = |named: &str| csv.lines().find(|line| line.starts_with(named)).unwrap_or_else(|| panic!("{csv}"));
    assert!(line("rand-read,vm,secondary,read_latency_p99_ns,ns,lower,native,1.").contains(",worse,"));
    assert!(line("rand-read,vm,secondary,read_latency_p999_ns,ns,lower,native,,,,none,,0,").contains("too few I/Os"));
    // No row of an emulated guest is among them.
    let emulated = self::report(&record(1, 8, true));
    assert!(!emulated.comparisons_csv().lines().any(|line| line.contains(",secondary,") && line.contains("vm")));
}

#[test]
fn a_row_whose_blocks_are_lopsided_says_so() {
    let note = "skewed: with quantiles of these blocks";
    let mut lopsided = record(1, 12, false);
    let forms = |record: &Record| {
        let report = report(record);
        [report.terminal(200, false, None), report.markdown(), report.html().unwrap(), report.json().unwrap()]
    };
    let even = forms(&lopsided);
    let is_it = |trial: &&mut Trial| {
        let planned = &trial.planned;
        planned.workload == "rand-read" && planned.environment == "container" && planned.block == 7
    };
    lopsided.trials.iter_mut().filter(is_it).for_each(|trial| trial.measurements[0].value *= 0.5);
    for (before, after) in even.iter().zip(forms(&lopsided)) {
        assert!(after.matches(note).count() > before.matches(note).count(), "{after}");
    }
}
