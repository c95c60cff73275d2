//! The table of all probes.

mod attempts;
mod facts;
mod kernel;
mod namespaces;

use std::sync::LazyLock;

use super::{How, Probe, Resource, Sign};

/// All probes, by resource.
pub static PROBES: LazyLock<Vec<&'static Probe>> = LazyLock::new(|| {
    let all = [namespaces::PROBES, facts::PROBES, kernel::PROBES, attempts::PROBES];
    let mut all: Vec<&Probe> = all.into_iter().flatten().collect();
    all.sort_by_key(|probe| probe.resource);
    all
});

/// The identity of a kernel: drawn anew with each boot.
const KERNEL: &str = "boot-id";
/// What a probe leaves behind that only reads.
const READS: &str = "it only reads";

/// Question, why it matters, and source.
type Words = [&'static str; 3];

/// A probe that reads, of which an equal value is the host's on the host's kernel.
const fn equal(id: &'static str, resource: Resource, how: How, [question, why, source]: Words) -> Probe {
    Probe { id, resource, question, why, source, undone: READS, how, sign: Sign::Equal, of: KERNEL }
}

/// A probe that reads a number which grows.
const fn within(id: &'static str, resource: Resource, how: How, words: Words) -> Probe {
    Probe { sign: Sign::Within, ..equal(id, resource, how, words) }
}

/// A probe that attempts something.
const fn attempt(id: &'static str, resource: Resource, undone: &'static str, words: Words) -> Probe {
    Probe { undone, sign: Sign::Permitted, ..equal(id, resource, How::Call, words) }
}

/// A probe that makes something which the host may see.
const fn marker(id: &'static str, resource: Resource, undone: &'static str, words: Words) -> Probe {
    Probe { undone, sign: Sign::Seen, ..attempt(id, resource, undone, words) }
}

impl Probe {
    /// The same of a resource that this probe identifies.
    const fn of(self, of: &'static str) -> Probe {
        Probe { of, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::isolation::find;

    #[test]
    fn every_probe_is_declared_in_full_and_once() {
        let ids: BTreeSet<&str> = PROBES.iter().map(|probe| probe.id).collect();
        assert_eq!(ids.len(), PROBES.len());
        assert!(PROBES.len() >= 60, "{}", PROBES.len());
        for probe in PROBES.iter() {
            let words = [probe.question, probe.why, probe.source, probe.undone];
            assert!(words.iter().all(|text| text.len() > 5), "{probe:?}");
            assert!(probe.question.ends_with('?'), "{probe:?}");
            let is_name =
                probe.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            assert!(is_name, "{probe:?}");
        }
    }

    #[test]
    fn most_only_read_and_every_class_has_one() {
        let reads = PROBES.iter().filter(|probe| probe.sign.kind() == "read").count();
        assert!(2 * reads > PROBES.len(), "{reads} of {}", PROBES.len());
        for resource in Resource::ALL {
            assert!(PROBES.iter().any(|probe| probe.resource == resource), "{resource:?}");
        }
        assert_eq!(PROBES.iter().filter(|probe| probe.id.starts_with("namespace-")).count(), 8);
    }

    #[test]
    fn whose_a_resource_is_is_said_by_a_probe_that_reads() {
        for probe in PROBES.iter().filter(|probe| !probe.of.is_empty()) {
            let of = find(probe.of).unwrap_or_else(|| panic!("{probe:?}"));
            assert!(of.sign == Sign::Equal && (of.of.is_empty() || of.of == KERNEL), "{probe:?} of {of:?}");
        }
        for probe in PROBES.iter() {
            let is_call = probe.how == How::Call;
            assert!(is_call || probe.sign.kind() == "read", "{probe:?}");
        }
    }
}
