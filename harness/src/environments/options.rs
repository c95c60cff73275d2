//! The options of a kind: a struct of the kind's own, read from `KEY=VALUE` as the user wrote them.

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};
use std::path::PathBuf;

use bench_results::quantity::{parse_count, parse_duration};
use bench_workloads::EnvironmentError;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::Value;

use crate::netlab::Route;

/// Options as they are written.
type Written = BTreeMap<String, String>;

/// The options of a kind; refuses one that it has not, or a value that the option does not take.
pub fn read<T: DeserializeOwned>(kind: &str, written: &Written) -> Result<T, EnvironmentError> {
    let mut pairs = Pairs { left: written.iter(), option: "", value: "" };
    let read = T::deserialize(&mut pairs);
    let (option, value) = (pairs.option.to_owned(), pairs.value.to_owned());
    read.map_err(|refused| match refused {
        Refused::Option(known) => EnvironmentError::Option { kind: kind.to_owned(), option, known: known.to_vec() },
        Refused::Value(expected) => EnvironmentError::Value { option, value, expected },
    })
}

/// Refuse an option that a kind has not, or a value that the option does not take.
pub fn check<T: DeserializeOwned>(kind: &str, option: &str, value: &str) -> Result<(), EnvironmentError> {
    read::<T>(kind, &[(option.to_owned(), value.to_owned())].into()).map(drop)
}

/// An option for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// As it is written: `seccomp=docker|unconfined`.
    pub form: String,
    /// What it is for.
    pub text: String,
}

/// The options of a kind, from the documentation of its struct.
pub fn describe<T: JsonSchema>() -> Vec<Described> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let options = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let described = options.map(|(name, schema)| {
        let text = schema["description"].as_str().unwrap_or_default().trim_end_matches('.').to_owned();
        Described { form: format!("{name}={}", values(schema).join("|")), text }
    });
    described.collect()
}

/// What an option takes: each of its values, or the name of its type.
fn values(schema: &Value) -> Vec<&str> {
    if let Some(one) = schema["const"].as_str() {
        return vec![one];
    }
    let alternatives = ["enum", "oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    let found: Vec<&str> =
        alternatives.flat_map(|one| one.as_str().map_or_else(|| values(one), |one| vec![one])).collect();
    if found.is_empty() { schema["title"].as_str().into_iter().collect() } else { found }
}

/// Types of values by the names that `describe` shows.
macro_rules! named {
    ($($type:ident: $name:literal),*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "title": $name })
            }
        }
    )*};
}

named!(AbsolutePath: "PATH", Count: "N", Seconds: "TIME", Net: "ROUTE");

/// An absolute path.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct AbsolutePath(pub PathBuf);

impl TryFrom<String> for AbsolutePath {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.starts_with('/') { Ok(AbsolutePath(text.into())) } else { Err("an absolute path") }
    }
}

/// A whole number above 0.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Count(pub u64);

impl TryFrom<String> for Count {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_count(&text, u64::MAX).map(Count).map_err(|_| "a whole number above 0")
    }
}

/// A time of at least a second, in seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Seconds(pub f64);

impl TryFrom<String> for Seconds {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let seconds = parse_duration(&text).ok().filter(|seconds| (1.0..=86_400.0).contains(seconds));
        seconds.map(Seconds).ok_or("a time from 1s to 1d, such as 90s or 5min")
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum YesNo {
    /// It is so.
    Yes,
    /// It is not.
    No,
}

/// How work is to reach the peer; absent inside: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net(pub Option<Route>);

impl Net {
    /// One of these names.
    pub fn one_of<'de, D: Deserializer<'de>>(written: D, names: &[&str]) -> Result<Option<Net>, D::Error> {
        let name = String::deserialize(written)?;
        match names.contains(&name.as_str()) {
            true => Ok(Some(Net(Route::named(&name)))),
            false => Err(de::Error::custom(one_of(names))),
        }
    }

    /// As it is asked for; else the usual one, if there has to be one.
    pub fn route(asked: Option<Net>, networked: bool, usual: Route) -> Option<Route> {
        match asked {
            Some(Net(route)) => route,
            None => networked.then_some(usual),
        }
    }
}

fn one_of(known: &[&str]) -> String {
    format!("one of {}", known.join(", "))
}

/// Why options were not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// There is no such option, but these.
    #[error("it must be one of {}", .0.join(", "))]
    Option(&'static [&'static str]),
    /// It has another value than this.
    #[error("it must be {0}")]
    Value(String),
}

impl de::Error for Refused {
    fn custom<T: std::fmt::Display>(expected: T) -> Refused {
        Refused::Value(expected.to_string())
    }

    fn unknown_variant(_variant: &str, known: &'static [&'static str]) -> Refused {
        Refused::Value(one_of(known))
    }

    fn unknown_field(_field: &str, known: &'static [&'static str]) -> Refused {
        Refused::Option(known)
    }
}

/// Options with the one that is being read.
struct Pairs<'a> {
    left: btree_map::Iter<'a, String, String>,
    option: &'a str,
    value: &'a str,
}

impl<'de> Deserializer<'de> for &mut Pairs<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let Some((option, value)) = self.left.next() else { return Ok(None) };
        self.option = option;
        self.value = value;
        seed.deserialize(Text(option)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        seed.deserialize(Text(self.value))
    }
}

/// An option's name or value.
struct Text<'a>(&'a str);

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let variant: StrDeserializer<'_, Refused> = self.0.into_deserializer();
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
