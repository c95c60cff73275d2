//! `NAME[=KIND][:KEY=VALUE]...`: an environment as the user writes it.

use std::collections::BTreeMap;
use std::fmt;

/// An environment's definition. Of which programs and images it needs, nothing is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentDefinition {
    /// Name within the run.
    pub name: String,
    /// Name of its kind: `native`, `container`, `docker`, `vm`.
    pub kind: String,
    /// Options of the kind.
    pub options: BTreeMap<String, String>,
}

/// A definition that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// Names stand in file names and on command lines.
    #[error("`{0}` is not a name for an environment: use up to 32 of a-z, 0-9 and -, beginning with a letter or digit")]
    Name(String),
    /// No such kind.
    #[error("there is no kind of environment `{name}`; there are {known}, as in NAME=vm:accel=tcg")]
    Kind {
        /// What was written.
        name: String,
        /// The kinds that there are, for people.
        known: String,
    },
    /// No such option.
    #[error("{kind} has no option `{option}`; it has {}", .known.join(", "))]
    Option {
        /// The kind.
        kind: String,
        /// What was written.
        option: String,
        /// What could have been.
        known: Vec<&'static str>,
    },
    /// No such value.
    #[error("{option}={value}: it must be {expected}")]
    Value {
        /// The option.
        option: String,
        /// What was written.
        value: String,
        /// What could have been.
        expected: String,
    },
    /// An option that the kind cannot do without.
    #[error("{kind} needs the option `{option}`, as in NAME={kind}:{option}={example}")]
    Missing {
        /// The kind.
        kind: String,
        /// The option.
        option: &'static str,
        /// A value that it could have.
        example: &'static str,
    },
    /// An option without a value.
    #[error("`{0}` is not KEY=VALUE, as in vm:accel=tcg")]
    Form(String),
}

/// The kinds of environments: whoever starts them knows which there are, and what their options take.
pub trait Kinds {
    /// Refuse a kind that there is not.
    ///
    /// # Errors
    /// It names the kinds that there are.
    fn check(&self, kind: &str) -> Result<(), EnvironmentError>;

    /// Refuse an option that a kind has not, or a value that it does not take.
    ///
    /// # Errors
    /// It names what could have been written.
    fn check_option(&self, kind: &str, option: &str, value: &str) -> Result<(), EnvironmentError>;

    /// Refuse options that are not enough for a kind.
    ///
    /// # Errors
    /// It names what is missing.
    fn check_options(&self, _kind: &str, _options: &BTreeMap<String, String>) -> Result<(), EnvironmentError> {
        Ok(())
    }
}

/// Takes every kind and every option: for the suites that come with `bench`, and where nothing is started.
#[derive(Debug, Clone, Copy)]
pub struct AnyKind;

impl Kinds for AnyKind {
    fn check(&self, _kind: &str) -> Result<(), EnvironmentError> {
        Ok(())
    }

    fn check_option(&self, _kind: &str, _option: &str, _value: &str) -> Result<(), EnvironmentError> {
        Ok(())
    }
}

/// True for names that may stand in file names and on command lines.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-')
}

impl EnvironmentDefinition {
    /// From `NAME[=KIND][:KEY=VALUE]...`, of one of these kinds.
    ///
    /// # Errors
    /// It is of another form, or names what its kind has not.
    pub fn parse(text: &str, kinds: &dyn Kinds) -> Result<EnvironmentDefinition, EnvironmentError> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default().trim();
        let (name, kind) = head.split_once('=').unwrap_or((head, head));
        kinds.check(kind)?;
        if !is_name(name) {
            return Err(EnvironmentError::Name(name.to_owned()));
        }
        let option = |text: &str| -> Result<(String, String), EnvironmentError> {
            let (option, value) = text.split_once('=').ok_or_else(|| EnvironmentError::Form(text.to_owned()))?;
            kinds.check_option(kind, option, value)?;
            Ok((option.to_owned(), value.to_owned()))
        };
        let options = parts.map(option).collect::<Result<_, _>>()?;
        kinds.check_options(kind, &options)?;
        Ok(EnvironmentDefinition { name: name.to_owned(), kind: kind.to_owned(), options })
    }
}

impl fmt::Display for EnvironmentDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.name != self.kind {
            write!(f, "={}", self.kind)?;
        }
        self.options.iter().try_for_each(|(key, value)| write!(f, ":{key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_read() {
        let read = |text| EnvironmentDefinition::parse(text, &AnyKind).unwrap();
        let plain = read("vm");
        assert_eq!((plain.name.as_str(), plain.kind.as_str(), plain.options.len()), ("vm", "vm", 0));
        let old = read("old=vm:kernel=/opt/k9/vmlinuz:accel=tcg");
        assert_eq!((old.name.as_str(), old.kind.as_str()), ("old", "vm"));
        assert_eq!(old.options["kernel"], "/opt/k9/vmlinuz");
        assert_eq!(old.to_string(), "old=vm:accel=tcg:kernel=/opt/k9/vmlinuz");
    }
}
