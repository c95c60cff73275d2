//! What the tests of all forms share.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::path::Path;

use bench_results::store::Record;

/// A name that tries to be markup, a command, and a colour.
pub const HOSTILE: &str = "</style><script>alert('1')</script>&\"|`*\n\u{1b}[31mµ漢";

/// Tags are closed in order, attributes are quoted, ids are unique. Crude, but a lost end tag or quote does not pass.
pub fn assert_well_formed(markup: &str, about: &str) {
    const VOID: [&str; 2] = ["meta", "link"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut rest = markup;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>') || open.last() == Some(&"style"), "{about}: a stray > in {text:?}");
        let end = start + rest[start..].find('>').unwrap_or_else(|| panic!("{about}: a tag without an end"));
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.trim()), "{about}: wrong end tag");
        } else if !tag.starts_with('!') {
            assert_eq!(tag.matches('"').count() % 2, 0, "{about}: an open quote in <{tag}>");
            let name = tag.split([' ', '\n', '/']).next().unwrap();
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{about}: <{tag}>");
            if let Some(id) = tag.split(" id=\"").nth(1).and_then(|id| id.split('"').next()) {
                assert!(ids.insert(id), "{about}: the id {id} twice");
            }
            if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{about}: never closed: {open:?}");
}

/// measurements.csv of a record.
pub fn measurements(record: &Record) -> String {
    let mut csv = Vec::new();
    bench_reports::write_measurements(record, &mut csv).unwrap();
    String::from_utf8(csv).unwrap()
}

/// Compare with the committed file; `BLESS=1` rewrites it.
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{name} differs; BLESS=1 rewrites it. Now:\n{text}");
}
