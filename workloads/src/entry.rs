//! An entry of a suite, as its kind reads it: values as they are written, and errors with their places.

use std::ops::Range;
use std::path::Path;

use bench_results::quantity::{Written, parse_count};
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong at a place of the file.
pub(crate) type Wrong = (Range<usize>, String);

/// Something wrong with this value.
pub(crate) fn wrong<T>(at: &Spanned<T>, message: impl Into<String>) -> Wrong {
    (at.span(), message.into())
}

/// Something wrong that `toml` found.
pub(crate) fn refused(error: &toml::de::Error) -> Wrong {
    (error.span().unwrap_or(0..0), error.message().to_owned())
}

/// A quantity as it is written, read by one of the parsers of [`bench_results::quantity`].
pub(crate) fn read<T>(value: &Spanned<Written>, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Wrong> {
    parse(&value.get_ref().text()).map_err(|e| wrong(value, e))
}

/// A whole number from 1 to `most`.
pub(crate) fn count(value: &Spanned<Written>, most: u32) -> Result<u32, Wrong> {
    // The bound is one of 32 bits.
    read(value, |text| parse_count(text, u64::from(most))).map(|number| number as u32)
}

/// The keys that all workloads have.
#[derive(serde::Deserialize)]
pub(crate) struct Head {
    pub(crate) name: Spanned<String>,
    pub(crate) title: String,
    pub(crate) deciding: Option<Spanned<String>>,
    pub(crate) kind: Option<Spanned<String>>,
}

/// The keys that a workload has for its kind.
pub(crate) struct Entry<'a> {
    name: &'a Spanned<String>,
    /// Where the suite is.
    folder: &'a Path,
    keys: Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// Of the workload with this head, from its whole table, in a suite in this folder.
    pub(crate) fn new(head: &'a Head, table: &Spanned<DeValue<'a>>, folder: &'a Path) -> Entry<'a> {
        let mut keys = table.get_ref().as_table().cloned().unwrap_or_else(DeTable::new);
        ["name", "title", "deciding", "kind"].iter().for_each(|key| drop(keys.remove(*key)));
        Entry { name: &head.name, folder, keys: Spanned::new(table.span(), DeValue::Table(keys)) }
    }

    /// From where paths lead.
    pub(crate) fn folder(&self) -> &'a Path {
        self.folder
    }

    /// The keys, all that there are.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Wrong> {
        let name = self.name;
        T::deserialize(self.keys.into_deserializer()).map_err(|e| match e.message().strip_prefix("missing field ") {
            Some(key) => needs(name, key),
            None => refused(&e),
        })
    }

    /// The keys, where one that is absent may be needed after all: what is wrong then.
    pub(crate) fn read_or<T: DeserializeOwned>(self, key: &str) -> Result<(T, Wrong), Wrong> {
        let lacking = needs(self.name, &format!("`{key}`"));
        Ok((self.read()?, lacking))
    }
}

fn needs(name: &Spanned<String>, key: &str) -> Wrong {
    wrong(name, format!("workload `{}` needs {key}", name.get_ref()))
}
