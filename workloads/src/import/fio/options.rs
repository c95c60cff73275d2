//! What a section was asked for: what its blocks must have in common, and what a record tells of it.

use std::collections::BTreeMap;

use bench_results::limits;
use bench_results::quantity::parse_size;

use super::super::place::{Fault, Place};

/// Longest value that is kept, such as a list of files.
const VALUE_LENGTH: usize = 400;
/// Names that fio takes as well, and those that it writes.
const ALIASES: [(&str, &str); 2] = [("readwrite", "rw"), ("blocksize", "bs")];
/// Options that say what fio writes and where to, or which random blocks it takes, and not what it does.
const HARMLESS: [&str; 9] = [
    "name",
    "description",
    "group_reporting",
    "randseed",
    "write_bw_log",
    "write_lat_log",
    "write_iops_log",
    "write_hist_log",
    "per_job_logs",
];
/// Options that are sizes.
const SIZES: [&str; 9] =
    ["bs", "ba", "size", "io_size", "filesize", "offset", "offset_align", "offset_increment", "zonesize"];
/// What is said of `direct` where two options deny each other.
const BOTH: &str = "not told: fio takes the last of direct and buffered, which were both given";

/// Options by name.
type Options = BTreeMap<String, String>;

/// Options of a section, whose own go before the global ones, and how many jobs are added up in it.
pub(super) fn parameters(at: &Place<'_>, globals: Option<&Place<'_>>, jobs: usize) -> Result<Options, Fault> {
    let mut all = globals.map(given).transpose()?.unwrap_or_default();
    if at.find("hostname").is_some() {
        // So `fio --client` says whose global options they are.
        all.retain(|name, _| !["hostname", "port"].contains(&name.as_str()));
    }
    all.extend(at.find("job options").map(|own| given(&own)).transpose()?.unwrap_or_default());
    let is_summed = jobs == 1 && all.get("group_reporting").is_some_and(|text| text != "0");
    let numjobs = all.get("numjobs").filter(|_| is_summed).cloned();
    // Unless it is told what a unit means, it is that of fio's default.
    if all.get("kb_base").is_none_or(|base| base == "1024") {
        all.iter_mut().filter(|(name, _)| SIZES.contains(&name.as_str())).for_each(|(_, text)| *text = in_bytes(text));
    }
    all.retain(|name, _| !HARMLESS.contains(&name.as_str()));
    all.insert("jobs".to_owned(), numjobs.unwrap_or_else(|| jobs.to_string()));
    all.insert("engine".to_owned(), "fio, imported".to_owned());
    Ok(all)
}

/// The options that were given in one place.
fn given(at: &Place<'_>) -> Result<Options, Fault> {
    let fields = at.fields()?.into_iter();
    let mut options: Options = fields
        .map(|(name, value)| {
            let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
            let text = value.value().as_str().map_or_else(|| value.value().to_string(), str::to_owned);
            // A switch without a value is on.
            let text = if text.is_empty() { "1" } else { &text };
            (bench_agent::printable(name, 80), bench_agent::printable(text, VALUE_LENGTH))
        })
        .collect();
    if let Some(buffered) = options.remove("buffered") {
        let meant = if buffered == "0" { "1" } else { "0" };
        let direct = options.entry("direct".to_owned()).or_insert_with(|| meant.to_owned());
        if direct != meant {
            BOTH.clone_into(direct);
        }
    }
    Ok(options)
}

/// `4k` as `4096`: units of one letter mean the same to fio and to us. `4KiB` does not, it is 4000 bytes to fio.
fn in_bytes(text: &str) -> String {
    let is_plain = text
        .strip_suffix(|c: char| c.is_ascii_alphabetic())
        .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
    let bytes = Some(text).filter(|_| is_plain).and_then(|text| parse_size(text).ok());
    bytes.map_or_else(|| text.to_owned(), |bytes| bytes.to_string())
}

/// `randread: rw randread, bs 4 KiB, iodepth 16`.
pub(super) fn title(name: &str, parameters: &Options) -> String {
    let shown = |option: &str, text: &String| match text.parse() {
        Ok(bytes) if SIZES.contains(&option) => limits::size(bytes),
        _ => bench_agent::printable(text, 80),
    };
    let said = ["rw", "bs", "iodepth", "jobs"].into_iter();
    let said = said.filter_map(|option| Some(format!("{option} {}", shown(option, parameters.get(option)?))));
    let (name, said) = (bench_agent::printable(name, 80), said.collect::<Vec<_>>().join(", "));
    if said.is_empty() { name } else { format!("{name}: {said}") }
}
