//! docs/SUITES.md: its examples are parsed, and its tables hold every key that the parser knows.

use std::path::Path;

use bench_workloads::{AnyKind, Suite};

const TOP: &str = "name = \"frame\"\ntitle = \"frame\"\nenvironments = [\"native\"]\n";
const WORKLOAD: &str = "[[workload]]\nname = \"frame\"\ntitle = \"frame\"\nkind = \"command\"\nargv = [\"true\"]\n";
const PROFILE: &str = "[[profile]]\nname = \"frame\"\nblocks = 1\nruntime = \"1s\"\nwarm-up = \"0s\"\nsettle = \"0s\"\nsize = \"1MiB\"\n\
    margin = \"5%\"\nverdicts = false\n";

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SUITES.md")).unwrap()
}

/// The examples, each with what it lacks of a whole suite.
fn examples() -> Vec<String> {
    let page = page();
    let examples = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    examples
        .map(|example| {
            let part = |has: &str, part: &str| if example.contains(has) { "" } else { part }.to_owned();
            part("environments =", TOP) + example + &part("[[workload]]", WORKLOAD) + &part("[[profile]]", PROFILE)
        })
        .collect()
}

#[test]
fn every_example_is_a_suite() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wal.fio"), "[wal]\nrw=write\nsize=1m\n").unwrap();
    let file = folder.path().join("mine.toml").display().to_string();
    let examples = examples();
    assert!(examples.len() >= 9, "{}", examples.len());
    for example in examples {
        Suite::parse(&example, &file, &AnyKind).unwrap_or_else(|e| panic!("{e}\n{example}"));
    }
}

/// The words in backticks of an error.
fn named(error: &str) -> Vec<String> {
    error.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn error(text: &str) -> String {
    Suite::parse(text, "mine.toml", &AnyKind).unwrap_err().to_string()
}

#[test]
fn every_key_that_the_parser_knows_is_on_the_page() {
    let page = page();
    let kinds = error(&format!("{TOP}{}{PROFILE}", WORKLOAD.replace("\"command\"", "\"zzz\"")));
    let kinds: Vec<_> = kinds.split("there are ").nth(1).unwrap().split([',', ' ']).collect();
    let kinds: Vec<_> = kinds.into_iter().filter(|word| !word.is_empty() && *word != "and").collect();
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    let of_kinds = kinds.iter().map(|kind| {
        let workload = format!("[[workload]]\nname = \"x\"\ntitle = \"x\"\nkind = \"{kind}\"\nzzz = 1\n");
        (format!("### `{kind}`"), format!("{TOP}{workload}{PROFILE}"))
    });
    let rest = [
        ("# Suite files".to_owned(), format!("zzz = 1\n{TOP}{WORKLOAD}{PROFILE}")),
        ("## Profiles".to_owned(), format!("{TOP}{WORKLOAD}{PROFILE}zzz = 1\n")),
    ];
    for (heading, text) in of_kinds.chain(rest) {
        let section = page.split(&heading).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
        let section = section.split("\n#").next().unwrap();
        let said = error(&text);
        assert!(said.contains("unknown field `zzz`"), "{said}");
        let keys = named(&said);
        assert!(keys.len() > 1 || heading == "### `probes`", "{said}");
        for key in keys.iter().filter(|key| *key != "zzz") {
            assert!(section.contains(&format!("`{key}`")), "{heading} lacks `{key}`");
        }
    }
    let engines = error(&format!(
        "{TOP}[[workload]]\nname = \"x\"\ntitle = \"x\"\npattern = \"random-read\"\nblock-size = \"4KiB\"\niodepth = 1\njobs = 1\nioengine = \"zzz\"\n{PROFILE}"
    ));
    let engines = engines.split("there are ").nth(1).unwrap().split(';').next().unwrap();
    for engine in engines.split(", ") {
        assert!(page.contains(&format!("`{engine}`")), "the page lacks {engine}");
    }
}
