//! `NAME[=KIND][:KEY=VALUE]...`: an environment as the user writes it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bench_results::quantity::parse_count;
use bench_results::quantity::parse_duration;

/// Kind of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A process in its own cgroup.
    Native,
    /// Our namespace and cgroup container.
    Container,
    /// A QEMU guest.
    Vm,
}

/// An environment's definition. Of which programs and images it needs, nothing is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentDefinition {
    /// Name within the run.
    pub name: String,
    /// `native`, `container` or `vm`.
    pub kind: Kind,
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
    #[error("there is no kind of environment `{0}`; there are native, container and vm, as in NAME=vm:accel=tcg")]
    Kind(String),
    /// No such option.
    #[error("{kind} has no option `{option}`; it has {}", .known.join(", "))]
    Option {
        /// The kind.
        kind: &'static str,
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
    /// An option without a value.
    #[error("`{0}` is not KEY=VALUE, as in vm:accel=tcg")]
    Form(String),
}

/// What an option takes.
enum Values {
    Path,
    /// A whole number above 0.
    Count,
    /// A time of at least a second.
    Duration,
    OneOf(&'static [&'static str]),
}

const YES_NO: Values = Values::OneOf(&["yes", "no"]);

/// The options of a kind.
fn options(kind: Kind) -> &'static [(&'static str, Values)] {
    match kind {
        Kind::Native => &[("fio", Values::Path)],
        Kind::Container => &[
            ("fio", Values::Path),
            ("userns", YES_NO),
            ("seccomp", Values::OneOf(&["docker", "unconfined"])),
            ("net", Values::OneOf(&["none", "host", "bridge", "routed", "hook", "nat"])),
            ("read_iops", Values::Count),
            ("write_iops", Values::Count),
        ],
        Kind::Vm => &[
            ("qemu", Values::Path),
            ("kernel", Values::Path),
            ("fio", Values::Path),
            ("accel", Values::OneOf(&["auto", "kvm", "tcg"])),
            ("aio", Values::OneOf(&["io_uring", "native", "threads"])),
            ("cache", Values::OneOf(&["none", "directsync", "writeback", "writethrough", "unsafe"])),
            ("iothread", YES_NO),
            ("boot-timeout", Values::Duration),
            ("net", Values::OneOf(&["none", "bridge", "routed", "hook", "nat"])),
        ],
    }
}

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Native => "native",
            Kind::Container => "container",
            Kind::Vm => "vm",
        }
    }
}

fn parse_kind(text: &str) -> Result<Kind, EnvironmentError> {
    let found = [Kind::Native, Kind::Container, Kind::Vm].into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| EnvironmentError::Kind(text.to_owned()))
}

/// True for names that may stand in file names and on command lines.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-')
}

impl FromStr for EnvironmentDefinition {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Self, EnvironmentError> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default().trim();
        let (name, kind) = head.split_once('=').unwrap_or((head, head));
        let kind = parse_kind(kind)?;
        if !is_name(name) {
            return Err(EnvironmentError::Name(name.to_owned()));
        }
        let options = parts.map(|part| parse_option(kind, part)).collect::<Result<_, _>>()?;
        Ok(EnvironmentDefinition { name: name.to_owned(), kind, options })
    }
}

fn parse_option(kind: Kind, text: &str) -> Result<(String, String), EnvironmentError> {
    let (option, value) = text.split_once('=').ok_or_else(|| EnvironmentError::Form(text.to_owned()))?;
    let Some((_, values)) = options(kind).iter().find(|(name, _)| *name == option) else {
        return Err(EnvironmentError::Option {
            kind: kind.name(),
            option: option.to_owned(),
            known: options(kind).iter().map(|(name, _)| *name).collect(),
        });
    };
    let expected = match values {
        Values::Path if value.starts_with('/') => None,
        Values::Path => Some("an absolute path".to_owned()),
        Values::Count if parse_count(value, u64::MAX).is_ok() => None,
        Values::Count => Some("a whole number above 0".to_owned()),
        Values::Duration if parse_duration(value).is_ok_and(|seconds| (1.0..=86_400.0).contains(&seconds)) => None,
        Values::Duration => Some("a time from 1s to 1d, such as 90s or 5min".to_owned()),
        Values::OneOf(known) if known.contains(&value) => None,
        Values::OneOf(known) => Some(format!("one of {}", known.join(", "))),
    };
    match expected {
        None => Ok((option.to_owned(), value.to_owned())),
        Some(expected) => Err(EnvironmentError::Value { option: option.to_owned(), value: value.to_owned(), expected }),
    }
}

impl fmt::Display for EnvironmentDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        f.write_str(&self.name)?;
        if self.name != kind {
            write!(f, "={kind}")?;
        }
        self.options.iter().try_for_each(|(key, value)| write!(f, ":{key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn definitions_are_read() {
        let plain: EnvironmentDefinition = "vm".parse().unwrap();
        assert_eq!((plain.name.as_str(), plain.kind), ("vm", Kind::Vm));
        let old: EnvironmentDefinition = "old=vm:qemu=/opt/q9/qemu:accel=tcg".parse().unwrap();
        assert_eq!(old.name, "old");
        assert_eq!(old.options["qemu"], "/opt/q9/qemu");
        assert_eq!(old.to_string(), "old=vm:accel=tcg:qemu=/opt/q9/qemu");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (text, said) in [
            ("docker", "native, container and vm"),
            ("x=docker", "native, container and vm"),
            ("A=vm", "a-z"),
            ("../x=vm", "a-z"),
            ("vm:speed=1", "qemu, kernel"),
            ("vm:accel=xen", "auto, kvm, tcg"),
            ("vm:qemu=qemu", "absolute path"),
            ("container:read_iops=0", "above 0"),
            ("container:write_iops=1.5", "whole number"),
            ("vm:boot-timeout=90", "such as 90s"),
            ("vm:boot-timeout=0s", "from 1s"),
            ("vm:accel", "KEY=VALUE"),
            ("native:qemu=/x", "fio"),
            ("", "native, container and vm"),
        ] {
            let error = text.parse::<EnvironmentDefinition>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(name in "[a-z0-9][a-z0-9-]{0,31}", tcg in any::<bool>(), path in "/[a-z/]{1,20}") {
            let accel = if tcg { "tcg" } else { "auto" };
            let text = format!("{name}=vm:accel={accel}:qemu={path}");
            let read: EnvironmentDefinition = text.parse().unwrap();
            prop_assert_eq!(read.to_string().parse::<EnvironmentDefinition>().unwrap(), read);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = text.parse::<EnvironmentDefinition>();
        }
    }
}
