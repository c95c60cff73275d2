//! `bench report RUN`: from the record alone.

use std::path::PathBuf;

use anyhow::{Context, Result};
use bench_reports::Report;
use bench_results::primary;
use bench_results::store::{Record, find_run};

use crate::caller::{Caller, Hands};
use crate::output;

/// Arguments of `bench report`.
#[derive(clap::Args)]
pub struct ReportArgs {
    /// A run's folder, its archive, a unique prefix of its id, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// Parent of the run folders
    #[arg(long, value_name = "DIR", default_value = "bench-runs")]
    out: PathBuf,
    /// Judge by this metric instead of the suite's, such as `read_latency_p99_ns`; the report goes to `report-METRIC`
    #[arg(long, value_name = "METRIC")]
    primary: Option<String>,
    /// Print this format instead of rewriting the report
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// The page
    Html,
    /// For a pull request
    Md,
    /// Every measurement
    Csv,
    /// Every comparison, verdict and claim
    Json,
    /// Every ratio that is judged, with its verdict, as CSV
    Comparisons,
}

/// Rewrite `RUN/report` and print the summary, or print one format. Behind `sudo` it is the caller who does, so that nothing is read
/// or written that is not theirs to read or write.
pub fn run(args: &ReportArgs) -> Result<i32> {
    Caller::take_over()?;
    let folder = find_run(&args.out, &args.run)?;
    let hands = Hands::in_folder(&folder)?;
    let mut record = super::raw::load(&folder, hands)?;
    if let Some(metric) = &args.primary {
        primary::judge_by([&mut record].into_iter(), metric)?;
    }
    let analysis = bench_results::analysis::analyse(&record);
    let report = Report::new(&record, &analysis);
    if let Some(format) = args.format {
        let document = match format {
            Format::Csv => {
                output::print_written(|to| bench_reports::write_measurements(&record, to))?;
                return Ok(0);
            }
            Format::Html => report.html()?,
            Format::Md => report.markdown(),
            Format::Json => report.json()?,
            Format::Comparisons => report.comparisons_csv(),
        };
        output::print_document(&document)?;
        return Ok(0);
    }
    // The standing report is that of the metrics that were named before.
    let name = args.primary.as_ref().map_or("report".to_owned(), |metric| format!("report-{metric}"));
    write_and_print(&record, &report, &name, hands)?;
    Ok(0)
}

/// Write the whole report of a record into the folder `name` of its own, or beside its archive, and print the summary.
pub fn write_and_print(record: &Record, report: &Report, name: &str, hands: Hands) -> Result<()> {
    let from = &record.folder;
    let folder =
        if from.is_file() { from.with_file_name(format!("{}-{name}", record.run.id)) } else { from.join(name) };
    hands.act(|| {
        report.write_all(record, &folder).with_context(|| format!("writing the report to {}", folder.display()))
    })?;
    let page = folder.join("index.html");
    output::print_document(&report.terminal(output::width(), output::in_color(), Some(&page)))
}
