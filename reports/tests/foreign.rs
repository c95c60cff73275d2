//! Whatever text a record holds in whatever field, every form stays what it is: read by other parsers than ours.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bench_reports::{CompareReport, Report};
use bench_results::analysis::analyse;
use bench_results::compare::{Sides, compare};
use bench_results::policy::Policy;
use bench_results::store::Record;
use bench_results::testing;
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::Value;
use support::{assert_well_formed, measurements};

const BENIGN: &str = "word";

/// Text that tries to be something else.
const HOSTILE: [&str; 20] = [
    "::error::x",
    " \t::set-output name=x::y",
    "a\n::error::x\r::warning::y",
    "a\r\n##vso[task.setvariable variable=a]b",
    "a ##[error]b ###[group]c",
    "##teamcity[buildStop]",
    "\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}5n",
    "a\u{202e}b\u{2066}c\u{200f}\u{61c}d\u{200b}e\u{feff}f\u{e0041}",
    "@name a@b.example #123 x#1 GH-123 !5 org/repo#7",
    "https://a.example/x www.a.example ftp://a.example mailto:a@b.example",
    "![picture](https://a.example/x.png) [a](b) :octocat: <https://a.example>",
    "</details></td></tr></table></svg><script>alert(1)</script><img src=x onerror=y>",
    "a|b|\\|c`d`**e**__f__~~g~~ $x$ [^1] &lt; &#64;name",
    "\n\n# head\n\n- item\n\n    code\n> quoted\n---\n===",
    "- item",
    "1. item",
    "```\n~~~",
    "=1+1",
    "+1-1@a,\"b\";c",
    "\u{fffe}\u{ffff}\u{0}\u{8}\u{b}\u{85}\u{2028}]]>",
];

/// Whatever differs from another record, the two are compared.
const ALLOWED: [&str; 11] =
    ["cpu", "kernel", "device", "fio", "vmm", "guest-kernel", "tools", "profile", "limits", "environment", "workload"];

/// A record as JSON, some texts of which may be anything.
struct Sample {
    run: Value,
    trials: Vec<Value>,
    /// Pointers into the run, and into each of these trials.
    free: Vec<(Option<usize>, String)>,
}

impl Sample {
    /// With something in every field that a record can have; the texts that it is accepted with are free.
    fn new() -> Sample {
        let mut record = testing::record(1, 3, true);
        let text = || "text".to_owned();
        record.run.breaks = vec![serde_json::from_value(serde_json::json!({
            "block": 2, "attempt": 2, "last_trial_at": "x", "resumed_at": "y", "superseded": 1, "baseline": null, "settle": null
        })).unwrap()];
        record.run.left_out =
            vec![serde_json::from_value(serde_json::json!({ "environment": "x", "reason": "y" })).unwrap()];
        if let Some(baseline) = &mut record.run.baseline {
            (baseline.busiest, baseline.other_cpu_percent) = (Some(text()), 50.0);
        }
        record.trials[0].failure = Some(text());
        record.trials[1].invalid = vec![text(), text()];
        record.trials[2].remarks =
            vec![serde_json::from_value(serde_json::json!({ "check": "x", "text": "y" })).unwrap()];
        record.trials[2].instance.kernel_release = Some(text().into());
        let named =
            bench_results::record::Measurement { metric: text().into(), ..record.trials[3].measurements[0].clone() };
        record.trials[3].measurements.push(named);
        let run = serde_json::to_value(&record.run).unwrap();
        let trials: Vec<Value> = record.trials.iter().map(|trial| serde_json::to_value(trial).unwrap()).collect();
        let mut sample = Sample { run, trials, free: Vec::new() };
        sample.find_free();
        sample
    }

    fn at(&mut self, trial: Option<usize>, pointer: &str) -> &mut Value {
        let value = match trial {
            Some(index) => &mut self.trials[index],
            None => &mut self.run,
        };
        value.pointer_mut(pointer).unwrap()
    }

    fn find_free(&mut self) {
        let mut pointers = Vec::new();
        testing::texts(&self.run, "", &mut pointers);
        pointers.retain(|pointer| !pointer.starts_with("/plan/trials/"));
        let mut places: Vec<(Option<usize>, String)> = pointers.into_iter().map(|pointer| (None, pointer)).collect();
        for index in 0..4 {
            let mut pointers = Vec::new();
            testing::texts(&self.trials[index], "", &mut pointers);
            // Without what was measured nothing would be left to show.
            pointers.retain(|pointer| index == 3 || !pointer.starts_with("/measurements"));
            places.extend(pointers.into_iter().map(|pointer| (Some(index), pointer)));
        }
        let last = self.trials[3]["measurements"].as_array().unwrap().len() - 1;
        let is_last = |pointer: &str| pointer == format!("/measurements/{last}/metric");
        for (trial, pointer) in places {
            if pointer.ends_with("/deciding") || (pointer.starts_with("/measurements") && !is_last(&pointer)) {
                continue;
            }
            let before = self.at(trial, &pointer).take();
            *self.at(trial, &pointer) = Value::String("a word".to_owned());
            if self.record().is_some() {
                self.free.push((trial, pointer.clone()));
            }
            *self.at(trial, &pointer) = before;
        }
    }

    fn record(&self) -> Option<Record> {
        let lines: Vec<String> = self.trials.iter().map(|trial| format!("{trial}\n")).collect();
        Record::parse(Path::new("run"), self.run.to_string().as_bytes(), lines.concat().as_bytes()).ok()
    }

    /// With a text in all free places, and as the names of what has free names.
    fn with(&mut self, text: &str) -> Record {
        for (trial, pointer) in self.free.clone() {
            *self.at(trial, &pointer) = Value::String(text.to_owned());
        }
        let mut record = self.record().unwrap_or_else(|| panic!("{text:?} is refused"));
        record.run.fingerprint.insert(text.to_owned(), text.to_owned());
        record.run.environments[0].sameness.insert(text.to_owned(), text.to_owned());
        record.run.plan.workloads[0].parameters.insert(text.to_owned(), text.to_owned());
        record.trials[4].facts.insert(text.to_owned(), Value::String(text.to_owned()));
        record
    }
}

/// One form of a report, and its text.
type Form = (&'static str, String);

fn forms(record: &Record, other: &Record) -> Vec<Form> {
    let report = Report::new(record, &analyse(record));
    let mut forms = vec![
        ("terminal", report.terminal(100, false, Some(Path::new("bench-runs/a/index.html")))),
        ("narrow terminal", report.terminal(40, false, None)),
        ("report.md", report.markdown()),
        ("measurements.csv", measurements(record)),
        ("report.json", report.json().unwrap()),
        ("index.html", report.html().unwrap()),
    ];
    let mut other = other.clone();
    (other.run.id, other.run.plan.suite) = ("another".to_owned(), record.run.plan.suite.clone());
    // A copy would be the run itself.
    other.trials.iter_mut().flat_map(|trial| &mut trial.measurements).for_each(|one| one.value *= 1.01);
    let (base, new) = (std::slice::from_ref(&other), std::slice::from_ref(record));
    let all: BTreeSet<_> = ALLOWED.iter().map(|name| name.parse().unwrap()).collect();
    let sides = Sides::Runs { base, new, allowed: &all };
    let mut judgement = compare(sides, &Policy::default(), Some(&record.run.warnings[0])).unwrap();
    judgement.notes.push(record.run.warnings[0].clone());
    let report = CompareReport::new(&judgement, sides);
    forms.extend([
        ("comparison's terminal", report.terminal(100, false, None)),
        ("compare.md", report.markdown()),
        ("compare.json", report.json().unwrap()),
        ("comparison's page", report.html().unwrap()),
        ("junit.xml", report.junit().unwrap()),
        ("annotations", report.annotations()),
    ]);
    forms
}

/// What holds for every form.
fn assert_harmless((form, text): &Form, about: &str) {
    for line in text.split(['\n', '\r']) {
        let ours = ["::error ", "::warning ", "::notice "];
        let is_ours = *form == "annotations" && ours.iter().any(|ours| line.starts_with(ours));
        assert!(is_ours || !line.trim_start().starts_with("::"), "{about}: {form}: {line:?}");
        for command in ["##[", "##vso[", "##teamcity["] {
            assert!(!line.contains(command), "{about}: {form}: {line:?}");
        }
        assert!(!line.contains(bench_text::is_hidden), "{about}: {form}: {line:?}");
    }
}

/// What a document is made of, as another parser reads it, without its text; and that text.
fn structure(markdown: &str) -> (Vec<String>, String) {
    let (mut tags, mut said, mut is_code) = (Vec::new(), String::new(), false);
    for event in Parser::new_ext(markdown, Options::all()) {
        match event {
            Event::Start(Tag::Image { dest_url, .. }) => tags.push(format!("image {dest_url}")),
            Event::Start(tag) => {
                // What stands in a code block is looked at by nobody.
                is_code = matches!(tag, Tag::CodeBlock(_));
                tags.push(format!("{tag:?}"));
            }
            Event::Text(_) if is_code => {}
            Event::Html(html) | Event::InlineHtml(html) => tags.push(html.trim().to_owned()),
            Event::Text(text) | Event::Code(text) => said.push_str(&text),
            Event::End(_) => {
                is_code = false;
                said.push('\n');
            }
            Event::SoftBreak | Event::HardBreak => said.push(' '),
            other => tags.push(format!("{other:?}")),
        }
    }
    // A marker is of the suite's name, what is left of it.
    tags.retain(|tag| !tag.starts_with("<!-- bench compare: "));
    (tags, said)
}

/// No mention, reference or address is left in rendered text.
fn assert_refers_to_nothing(said: &str, about: &str) {
    let chars: Vec<char> = said.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        assert!(*c != '@' || next == '\u{200b}' || next.is_whitespace(), "{about}: a mention in {said:?}");
        assert!(*c != '#' || !next.is_alphanumeric(), "{about}: a reference in {said:?}");
    }
    for beginning in ["GH-1", "://", "www.a", ":octocat:"] {
        assert!(!said.contains(beginning), "{about}: {beginning}");
    }
}

fn assert_same_table(csv: &str, benign: &str, about: &str) {
    let rows =
        |text: &str| csv::Reader::from_reader(text.as_bytes()).into_records().collect::<Result<Vec<_>, _>>().unwrap();
    let (found, expected) = (rows(csv), rows(benign));
    assert_eq!(found.len(), expected.len(), "{about}");
    for row in &found {
        assert_eq!(row.len(), 10, "{about}: {row:?}");
        for (column, cell) in row.iter().enumerate() {
            match column {
                0 | 1 | 7 | 9 => assert!(cell.parse::<f64>().is_ok(), "{about}: {cell:?}"),
                _ => assert!(!cell.trim_start().starts_with(['=', '+', '-', '@']), "{about}: {cell:?}"),
            }
        }
    }
}

/// By libxml2; false where it is not installed.
fn is_checked_as_xml(text: &str, about: &str) -> bool {
    if Command::new("xmllint").arg("--version").output().is_err() {
        return false;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/junit.xsd");
    let output = Command::new("xmllint").arg("--noout").arg("--schema").args([&schema, file.path()]).output().unwrap();
    assert!(output.status.success(), "{about}: {}", String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn no_text_of_a_record_is_anything_but_text() {
    let mut sample = Sample::new();
    assert!(sample.free.len() > 60, "{} texts are free", sample.free.len());
    let other = sample.with("other words");
    let benign = forms(&sample.with(BENIGN), &other);
    let mut is_xml_checked = true;
    for hostile in HOSTILE {
        let record = sample.with(hostile);
        let about = format!("{hostile:?}");
        for (found, expected) in forms(&record, &other).iter().zip(&benign) {
            assert_harmless(found, &about);
            match found.0 {
                "report.md" | "compare.md" => {
                    let ((tags, said), (expected, _)) = (structure(&found.1), structure(&expected.1));
                    let at = tags.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(tags.len());
                    // A comment has only so many bytes: of longer texts it holds fewer rows.
                    let kinds = |tags: &[String]| tags.iter().cloned().collect::<BTreeSet<_>>();
                    let is_alike = tags == expected || (found.0 == "compare.md" && kinds(&tags) == kinds(&expected));
                    assert!(is_alike, "{about}: {:?} and not {:?}:\n{}", tags.get(at), expected.get(at), found.1);
                    assert_refers_to_nothing(&said, &about);
                }
                "measurements.csv" => assert_same_table(&found.1, &expected.1, &about),
                "report.json" | "compare.json" => drop(serde_json::from_str::<Value>(&found.1).unwrap()),
                "index.html" | "comparison's page" => assert_well_formed(&found.1, &about),
                "junit.xml" => is_xml_checked = is_checked_as_xml(&found.1, &about),
                _ => {}
            }
        }
    }
    if !is_xml_checked {
        eprintln!("junit.xml was not checked: there is no xmllint (package libxml2-utils), which `make test` installs");
    }
}

/// JSON is not made harmless by leaving out: a program reads what the record says.
#[test]
fn json_says_what_the_record_says() {
    let mut sample = Sample::new();
    for hostile in HOSTILE {
        let record = sample.with(hostile);
        let json: Value = serde_json::from_str(&Report::new(&record, &analyse(&record)).json().unwrap()).unwrap();
        assert!(json["warnings"].as_array().unwrap().iter().any(|warning| warning == hostile), "{hostile:?}");
    }
}

#[test]
fn a_page_says_that_nothing_may_be_executed_or_loaded() {
    let mut sample = Sample::new();
    let record = sample.with(BENIGN);
    let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">";
    for (form, text) in
        forms(&record, &record).iter().filter(|(form, _)| form.ends_with("html") || form.ends_with("page"))
    {
        let at = text.find(policy).unwrap_or_else(|| panic!("{form} has no policy"));
        assert!(at < text.find("<title>").unwrap() && at < text.find("<style>").unwrap(), "{form}: it comes first");
    }
}
