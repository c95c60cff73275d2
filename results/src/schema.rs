//! The JSON Schema of the record, of comparisons and of power, which are a public contract: `results/schema`.

/// Schema of `run.json`.
pub fn run() -> String {
    pretty(&schemars::schema_for!(crate::record::Run))
}

/// Schema of a line of `trials.jsonl`.
pub fn trial() -> String {
    pretty(&schemars::schema_for!(crate::record::Trial))
}

/// Schema of what `bench compare --format json` prints.
pub fn compare() -> String {
    pretty(&schemars::schema_for!(crate::compare::Judgement))
}

/// Schema of the files of recorded residuals: `results/reference/residuals-*.json`.
pub fn residuals() -> String {
    pretty(&schemars::schema_for!(crate::calibration::Residuals))
}

/// Schema of what `bench power --gate --format json` prints.
pub fn gate() -> String {
    pretty(&schemars::schema_for!(crate::compare::Gate))
}

/// Schema of what `bench power --format json` prints.
pub fn power() -> String {
    pretty(&schemars::schema_for!(crate::power::Power))
}

fn pretty(schema: &schemars::Schema) -> String {
    // A schema is plain JSON already.
    format!("{}\n", serde_json::to_string_pretty(schema).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// `BLESS=1 cargo test -p bench-results` writes the committed files anew.
    #[test]
    fn the_committed_schemas_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        let schemas = [
            ("run.schema.json", super::run()),
            ("trial.schema.json", super::trial()),
            ("compare.schema.json", super::compare()),
            ("residuals.schema.json", super::residuals()),
            ("power.schema.json", super::power()),
            ("gate.schema.json", super::gate()),
        ];
        for (name, text) in schemas {
            let path = folder.join(name);
            if std::env::var_os("BLESS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name} is not current");
        }
    }
}
