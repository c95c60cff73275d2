//! What a record tells of an environment's kind beyond its name: class and capabilities, which analysis and reports go by.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Environment;

/// Class of an environment's kind: there may be several kinds of each, and figures have one look for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A process of the host, with the host's files.
    Process,
    /// A process behind namespaces, with a root of its own.
    Container,
    /// A guest of a virtual machine.
    Vm,
    /// Whatever it was that others measured in: only in imported runs.
    Unknown,
}

impl Class {
    /// Of the kinds that there were before records told a class; absent for all others.
    pub fn of_kind(name: &str) -> Option<Class> {
        match name {
            "native" => Some(Class::Process),
            "container" => Some(Class::Container),
            "vm" => Some(Class::Vm),
            _ => None,
        }
    }

    /// What an environment of this class has, unless its record says otherwise.
    pub(crate) fn capabilities(self) -> &'static [Capability] {
        match self {
            Class::Process | Class::Container | Class::Unknown => &[],
            Class::Vm => &[Capability::OwnKernel, Capability::Vmm],
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Class::Process => "process",
            Class::Container => "container",
            Class::Vm => "vm",
            Class::Unknown => "unknown",
        }
    }
}

/// What an environment has that others have not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// A kernel that is not the host's.
    OwnKernel,
    /// A process of the host that is its machine, with an accelerator.
    Vmm,
    /// Docker's engine starts it: what is claimed of Docker is claimed of it.
    Docker,
}

impl Environment {
    /// Its class; in records of before it was told, that of its kind.
    pub fn class(&self) -> Class {
        // A kind that is unknown and tells no class is refused when a record is read.
        self.class.or_else(|| Class::of_kind(&self.kind)).unwrap_or(Class::Process)
    }

    /// True when it has this; in records of before it was told, as its class has.
    pub fn has(&self, capability: Capability) -> bool {
        match &self.capabilities {
            Some(told) => told.contains(&capability),
            None => self.class().capabilities().contains(&capability),
        }
    }

    /// Tell class and capabilities.
    #[must_use]
    pub fn of_class(self, class: Class, capabilities: &[Capability]) -> Environment {
        let capabilities: BTreeSet<Capability> = capabilities.iter().copied().collect();
        Environment { class: Some(class), capabilities: Some(capabilities), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn records_of_before_have_the_class_and_capabilities_of_their_kind() {
        let run = testing::record(1, 1, false).run;
        let mut json = serde_json::to_value(&run).unwrap();
        for environment in json["environments"].as_array_mut().unwrap() {
            let fields = environment.as_object_mut().unwrap();
            assert!(fields.remove("class").is_some() && fields.remove("capabilities").is_some());
        }
        let old: crate::record::Run = serde_json::from_value(json).unwrap();
        for (old, new) in old.environments.iter().zip(&run.environments) {
            assert_eq!((old.class, old.class()), (None, new.class()));
            for capability in [Capability::OwnKernel, Capability::Vmm] {
                assert_eq!(old.has(capability), new.has(capability), "{}", old.name);
            }
        }
        assert!(run.environments[3].has(Capability::Vmm) && !run.environments[2].has(Capability::OwnKernel));
    }

    #[test]
    fn a_kind_that_is_new_is_what_it_tells() {
        let mut environment = testing::record(1, 1, false).run.environments.remove(2);
        environment.kind = "sandbox".to_owned();
        let environment = environment.of_class(Class::Container, &[Capability::OwnKernel]);
        assert_eq!(environment.class(), Class::Container);
        assert!(environment.has(Capability::OwnKernel) && !environment.has(Capability::Vmm));
    }
}
