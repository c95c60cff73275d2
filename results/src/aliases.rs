//! Names that earlier versions wrote for what is called otherwise now. They are read, and never written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Beginnings of names of facts, and what they are now.
const FACTS: [(&str, &str); 2] = [("qmp.", "vmm."), ("tool.qemu.", "tool.vmm.")];

/// Differences that can be allowed, and what they are now.
const DIFFERENCES: [(&str, &str); 1] = [("qemu", "vmm")];

/// A map from names of facts.
pub(crate) fn facts<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    written: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    let read = BTreeMap::<String, T>::deserialize(written)?;
    Ok(read.into_iter().map(|(name, value)| (fact(name), value)).collect())
}

/// A fact's name as it is now.
fn fact(name: String) -> String {
    let renamed = FACTS.iter().find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)));
    renamed.unwrap_or(name)
}

/// The name of a difference as it is now.
pub(crate) fn difference(name: &str) -> &str {
    DIFFERENCES.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new)
}

#[cfg(test)]
mod tests {
    use crate::compare::Aspect;
    use crate::record::{Run, Trial};
    use crate::{testing, validity};

    #[test]
    fn records_of_before_are_read_with_the_names_of_now() {
        let record = testing::record(1, 1, false);
        let mut trial = serde_json::to_value(&record.trials[0]).unwrap();
        trial["facts"]["qmp.host_cached"] = 1.into();
        trial["facts"]["vmm.memory_bytes"] = 5.into();
        let trial: Trial = serde_json::from_value(trial).unwrap();
        assert!(trial.facts.contains_key("vmm.memory_bytes") && !trial.facts.contains_key("qmp.host_cached"));
        assert_eq!(validity::judge(&trial.facts, true)[0].check.fact, "vmm.host_cached");
        let mut run = serde_json::to_value(&record.run).unwrap();
        run["fingerprint"]["tool.qemu.version"] = "7.2".into();
        let run: Run = serde_json::from_value(run).unwrap();
        assert_eq!(run.fingerprint["tool.vmm.version"], "7.2");
    }

    #[test]
    fn differences_of_before_can_be_allowed_under_their_names() {
        assert_eq!("qemu".parse::<Aspect>(), Ok(Aspect::Vmm));
        assert_eq!("vmm".parse::<Aspect>(), Ok(Aspect::Vmm));
        assert!(!"nonsense".parse::<Aspect>().unwrap_err().contains("qemu"));
    }
}
