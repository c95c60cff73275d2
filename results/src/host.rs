//! The machine that a run was measured on, as its fingerprint tells: bare metal, a guest, or a CPU that is emulated.

use std::collections::BTreeMap;
use std::fmt;

use crate::imported;
use crate::record::{Capability, Environment, Run};

/// In the fingerprint where a build for tests lets a run on an emulated machine be judged all the same.
pub const JUDGED_FACT: &str = "build.judges_emulated";
/// In the model name of a CPU that is emulated: runs from before `machine.emulated` was recorded have only that.
const EMULATED_MODEL: &str = "TCG CPU";

/// Why a row with an emulated side is not judged.
pub const EMULATED_GUEST: &str = "emulated: says nothing about KVM";

/// What "native" is on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// The record does not say it.
    Unknown,
    /// Bare metal, as far as can be seen.
    Bare,
    /// A guest of this hypervisor.
    Guest(String),
    /// A CPU whose instructions are executed by software: its times say nothing.
    Emulated,
}

impl Host {
    /// The machine of a run.
    pub fn of(run: &Run) -> Host {
        Host::of_facts(&run.fingerprint)
    }

    /// The machine of a fingerprint.
    pub fn of_facts(fingerprint: &BTreeMap<String, String>) -> Host {
        let fact = |name: &str| fingerprint.get(name).map(String::as_str);
        let model = fact("cpu.model").is_some_and(|model| model.contains(EMULATED_MODEL));
        match (fact("machine.emulated"), fact("machine.virtualised")) {
            (Some("yes"), _) => Host::Emulated,
            _ if model => Host::Emulated,
            (_, Some("yes")) => Host::Guest(fact("machine.hypervisor").unwrap_or("an unknown hypervisor").to_owned()),
            (_, Some(_)) => Host::Bare,
            (_, None) => Host::Unknown,
        }
    }

    /// What native and guests of this machine must be called; absent on bare metal.
    fn label(&self, has_guests: bool) -> Option<String> {
        let (native, guests) = match self {
            Host::Unknown | Host::Bare => return None,
            Host::Guest(hypervisor) => (format!("native inside a VM ({hypervisor})"), "nested KVM"),
            Host::Emulated => ("native on an emulated CPU (TCG)".to_owned(), "KVM on an emulated CPU"),
        };
        Some(if has_guests { format!("{native}, guests under {guests}") } else { native })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unknown => f.write_str("not recorded"),
            Host::Bare => f.write_str("bare metal"),
            Host::Guest(hypervisor) => write!(f, "a virtual machine ({hypervisor})"),
            Host::Emulated => f.write_str("an emulated CPU (TCG)"),
        }
    }
}

/// What native, and guests under KVM if there are any, must be called on the machine of this run: `native inside a VM (KVM), guests
/// under nested KVM`. Absent on bare metal.
pub fn label(run: &Run) -> Option<String> {
    let under_kvm = |environment: &Environment| environment.has(Capability::Vmm) && !environment.is_emulated();
    Host::of(run).label(run.environments.iter().any(under_kvm))
}

/// Why nothing of a run may be judged; absent where it may.
pub fn why_not_judged(run: &Run) -> Option<&'static str> {
    imported::why_not_judged(run).or_else(|| why_not_judged_on(&run.fingerprint))
}

/// Why nothing that is measured on the machine of this fingerprint may be judged; absent where it may.
pub fn why_not_judged_on(fingerprint: &BTreeMap<String, String>) -> Option<&'static str> {
    let emulated = Host::of_facts(fingerprint) == Host::Emulated && !fingerprint.contains_key(JUDGED_FACT);
    emulated.then_some("the machine's own CPU is emulated: its times say nothing")
}

/// True for a run on an emulated machine that a build for tests lets be judged.
pub fn judged_all_the_same(run: &Run) -> bool {
    Host::of(run) == Host::Emulated && run.fingerprint.contains_key(JUDGED_FACT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::analyse;
    use std::collections::BTreeSet;

    use crate::claims::Outcome;
    use crate::compare::{Sides, compare};
    use crate::policy::Policy;
    use crate::testing;

    /// A run whose fingerprint has these facts besides.
    fn run(facts: &[(&str, &str)]) -> crate::store::Record {
        let mut record = testing::record(1, 8, false);
        record.run.fingerprint.extend(facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        record
    }

    const EMULATED: &[(&str, &str)] =
        &[("machine.virtualised", "yes"), ("machine.emulated", "yes"), ("machine.hypervisor", "TCG")];

    #[test]
    fn the_machine_is_told_from_its_facts() {
        let guest = [("machine.virtualised", "yes"), ("machine.emulated", "no"), ("machine.hypervisor", "Xen")];
        for (facts, expected) in [
            (&[][..], Host::Unknown),
            (&[("machine.virtualised", "no")], Host::Bare),
            (&guest, Host::Guest("Xen".into())),
            (&[("machine.virtualised", "yes")], Host::Guest("an unknown hypervisor".into())),
            (EMULATED, Host::Emulated),
            (&[("machine.virtualised", "yes"), ("cpu.model", "QEMU TCG CPU version 2.5+")], Host::Emulated),
        ] {
            assert_eq!(Host::of(&run(facts).run), expected, "{facts:?}");
        }
    }

    #[test]
    fn nothing_is_judged_on_an_emulated_machine() {
        let analysis = analyse(&run(EMULATED));
        assert!(analysis.comparisons.iter().all(|c| c.verdict.is_none() && c.why_no_verdict.is_some()));
        assert!(analysis.claims.iter().all(|claim| matches!(claim.outcome, Outcome::NotTested(_))));
        assert!(!analysis.reportable.reportable);
        assert!(analysis.headline.contains("not judged") && !analysis.headline.contains('%'), "{}", analysis.headline);
        assert!(crate::power::power(&run(EMULATED), None, 0.95).unwrap_err().to_string().contains("emulated"));
    }

    #[test]
    fn nor_is_a_comparison_of_two_runs() {
        let (base, mut new) = (run(EMULATED), testing::another(2, 8, false));
        new.run.fingerprint = base.run.fingerprint.clone();
        let (base, new, allowed) = ([base], [new], BTreeSet::new());
        let sides = Sides::Runs { base: &base, new: &new, allowed: &allowed };
        let judgement = compare(sides, &Policy::default(), None).unwrap();
        assert!(judgement.rows.iter().all(|row| row.emulated && !row.decides() && row.sentence.contains("emulated")));
    }

    #[test]
    fn a_build_for_tests_judges_and_says_so() {
        let facts = [EMULATED, &[(JUDGED_FACT, "yes")]].concat();
        let analysis = analyse(&run(&facts));
        assert!(analysis.comparisons.iter().any(|c| c.verdict.is_some()));
        assert!(
            analysis.headline.starts_with("test build on an emulated CPU, means nothing: "),
            "{}",
            analysis.headline
        );
        assert!(analysis.reportable.reasons.iter().any(|reason| reason.rule == "emulated"), "never to be passed on");
    }

    #[test]
    fn a_guest_of_a_hypervisor_is_labelled() {
        let record = run(&[("machine.virtualised", "yes"), ("machine.hypervisor", "KVM")]);
        let headline = analyse(&record).headline;
        assert!(headline.ends_with("(native inside a VM (KVM), guests under nested KVM)"), "{headline}");
        assert!(!analyse(&run(&[("machine.virtualised", "no")])).headline.contains("inside"));
    }
}
