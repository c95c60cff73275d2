//! One report model, rendered to terminal, Markdown, CSV, JSON, HTML, SVG and PNG.
//!
//! This crate never touches the machine: it works on a record of any age, and the same record gives the same bytes.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod build;
mod compare;
mod csv;
mod escape;
mod facts;
mod figures;
mod html;
mod isolation;
mod ladder;
mod markdown;
mod network;
mod page;
mod patterns;
mod pictures;
mod report;
mod secondary;
mod skew;
mod terminal;
mod units;
mod validity;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bench_results::analysis::analyse;
use bench_results::store::Record;

pub use compare::CompareReport;
pub use csv::write_measurements;
pub use figures::FigureError;
pub use report::Report;

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of the report cannot be written.
    #[error("{action} {path}: check space and permissions of the run's folder")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A figure cannot be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// A page or the JUnit file cannot be rendered.
    #[error("rendering a template")]
    Page(#[from] askama::Error),
    /// The judgement cannot be written as JSON.
    #[error("writing the comparison as JSON")]
    Json(#[from] serde_json::Error),
}

/// Write the whole report of a record: see [`Report::write_all`].
pub fn write_all(record: &Record, folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    Report::new(record, &analyse(record)).write_all(record, folder)
}

impl Report {
    /// Write everything of the record that it is of into `folder` (`RUN/report`, made where it is missing): index.html, report.md,
    /// measurements.csv, comparisons.csv, and each figure as .svg and .png. Returns the files, the page first.
    pub fn write_all(&self, record: &Record, folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
        make_folder(folder)?;
        let mut written = write_figures(&self.figures, folder)?;
        written.push(write(folder, "report.md", &self.markdown())?);
        written.push(written_by(folder, "measurements.csv", |to| write_measurements(record, to))?);
        written.push(write(folder, "comparisons.csv", &self.comparisons_csv())?);
        written.insert(0, write(folder, "index.html", &self.html()?)?);
        Ok(written)
    }
}

/// Write only the page, for a run that is still going on. Returns its path.
pub fn write_page(record: &Record, folder: &Path) -> Result<PathBuf, ReportError> {
    make_folder(folder)?;
    write(folder, "index.html", &Report::new(record, &analyse(record)).html()?)
}

/// Each figure as .svg and .png.
fn write_figures(figures: &[figures::Figure], folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let mut written = Vec::new();
    for figure in figures {
        written.push(write(folder, &format!("{}.svg", figure.name), &figure.svg()?)?);
        let path = folder.join(format!("{}.png", figure.name));
        // plotters chooses the format by the ending.
        let temporary = folder.join(format!(".{}.tmp.png", figure.name));
        drop(std::fs::remove_file(&temporary));
        figure.write_png(&temporary)?;
        rename(&temporary, &path)?;
        written.push(path);
    }
    Ok(written)
}

/// In a run that came from a stranger the folder may be there already, as a link to somewhere else.
fn make_folder(folder: &Path) -> Result<(), ReportError> {
    let failed = |source| ReportError::Io { action: "making the folder", path: folder.to_owned(), source };
    if std::fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink()) {
        let source = std::io::Error::other("it is a link, and what it leads to may not be this run's; remove it");
        return Err(failed(source));
    }
    std::fs::create_dir_all(folder).map_err(failed)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, ReportError> {
    written_by(folder, name, |to| to.write_all(text.as_bytes()))
}

/// A reader sees the old file or the new one, never half of one.
fn written_by(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<PathBuf, ReportError> {
    let temporary = folder.join(format!(".{name}.tmp"));
    // What is there may be a link to somewhere else.
    drop(std::fs::remove_file(&temporary));
    let written = std::fs::File::create_new(&temporary).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|source| ReportError::Io { action: "writing", path: temporary.clone(), source })?;
    let path = folder.join(name);
    rename(&temporary, &path)?;
    Ok(path)
}

fn rename(from: &Path, to: &Path) -> Result<(), ReportError> {
    std::fs::rename(from, to).map_err(|source| ReportError::Io { action: "replacing", path: to.to_owned(), source })
}
