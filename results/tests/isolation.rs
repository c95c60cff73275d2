//! Made-up runs of probes: the matrix, the native control, the summary, the claims, and what changed.

use bench_results::analysis::{Analysis, analyse};
use bench_results::claims::Outcome as Verdict;
use bench_results::compare::{Sides, compare};
use bench_results::isolation::{Outcome, Resource, Separation};
use bench_results::policy::Policy;
use bench_results::record::{Observation, Sight};
use bench_results::store::Record;
use bench_results::testing::{probed, record};

fn nothing(_: &str, _: u32, _: &mut Observation) {}

fn outcome(analysis: &Analysis, id: &str, environment: &str) -> Outcome {
    analysis.isolation.as_ref().unwrap().cell(id, environment).unwrap().outcome.clone()
}

fn claim(analysis: &Analysis, id: &str) -> Option<Verdict> {
    analysis.claims.iter().find(|claim| claim.id == id).map(|claim| claim.outcome.clone())
}

fn fail(observation: &mut Observation, error: &str) {
    observation.inside = Sight::Error(error.to_owned());
}

#[test]
fn a_run_of_probes_has_outcomes_and_no_numbers() {
    let analysis = analyse(&probed(nothing));
    assert!(analysis.cells.is_empty() && analysis.comparisons.is_empty());
    let found = analysis.isolation.as_ref().unwrap();
    assert_eq!(found.environments, ["native", "native-control", "container", "vm"]);
    assert_eq!(found.control.as_deref(), Some("native"));
    let separation = |resource, at| found.standing(resource, at).separation;
    assert_eq!(separation(Resource::Hostname, 2), Separation::Separated);
    assert_eq!(separation(Resource::Time, 2), Separation::Shared);
    assert_eq!(separation(Resource::Scheduling, 2), Separation::Refused);
    assert!(Resource::ALL.into_iter().all(|resource| separation(resource, 0) == Separation::Shared));
    assert_eq!(outcome(&analysis, "cpu-model", "vm"), Outcome::Own);
    let summary = found.summary(2);
    assert!(summary.contains("time") && summary.contains("shared") && summary.contains("hostname"), "{summary}");
    assert!(
        analysis.headline.contains("container shares") && analysis.headline.contains("vm shares nothing"),
        "{}",
        analysis.headline
    );
    assert!(analysis.reportable.reasons.iter().all(|reason| reason.rule != "pairs"), "{:?}", analysis.reportable);
}

#[test]
fn what_does_not_succeed_natively_proves_nothing() {
    let of_native = |name: &str| name.starts_with("native");
    let analysis = analyse(&probed(|environment, _, one| match one.probe.as_str() {
        "bpf" if of_native(environment) => fail(one, "ENOSYS"),
        "modules" if of_native(environment) => one.inside = Sight::Value("other".to_owned()),
        _ => {}
    }));
    for (id, why) in
        [("bpf", "natively it fails as well (ENOSYS)"), ("modules", "natively it is not the host's either")]
    {
        for environment in ["native", "container", "vm"] {
            assert_eq!(outcome(&analysis, id, environment).why(), Some(why), "{id} in {environment}");
        }
    }
    let mut record = probed(nothing);
    record.trials.retain(|trial| trial.planned.environment == "container");
    let alone = analyse(&record);
    assert!(outcome(&alone, "boot-id", "container").why().unwrap().contains("no positive control"));
}

#[test]
fn blocks_have_to_agree_and_broken_trials_say_nothing() {
    let differs = |environment: &str, block: u32, one: &mut Observation| {
        if one.probe == "uptime" && environment == "container" && block == 2 {
            one.inside = Sight::Value("99".to_owned());
        }
    };
    let mut record = probed(differs);
    let why = outcome(&analyse(&record), "uptime", "container").why().unwrap().to_owned();
    assert_eq!(why, "blocks disagree: host's in 2, own in 1");
    let broken = record.trials.iter_mut().find(|one| one.planned.block == 2 && one.planned.environment == "container");
    broken.unwrap().invalid.push("disturbed".to_owned());
    assert_eq!(outcome(&analyse(&record), "uptime", "container"), Outcome::Hosts);
    let untold = probed(|environment, block, one| {
        if one.probe == "uptime" && environment == "container" && block == 2 {
            one.outside.clear();
        }
    });
    assert_eq!(
        outcome(&analyse(&untold), "uptime", "container"),
        Outcome::Hosts,
        "a block that cannot tell is no other outcome"
    );
}

#[test]
fn the_sentences_of_the_article_have_a_verdict() {
    let analysis = analyse(&probed(nothing));
    assert_eq!(claim(&analysis, "shared-kernel"), Some(Verdict::Holds));
    assert_eq!(claim(&analysis, "shared-time"), Some(Verdict::Holds));
    let own_time = analyse(&probed(|environment, _, one| {
        if one.probe == "boot-clock" && environment == "container" {
            one.inside = Sight::Value("1".to_owned());
        }
    }));
    assert_eq!(claim(&own_time, "shared-time"), Some(Verdict::DoesNotHold));
    let mut without = probed(nothing);
    without.trials.retain(|trial| trial.planned.environment != "container");
    assert!(matches!(claim(&analyse(&without), "shared-time"), Some(Verdict::NotTested(_))));
    assert_eq!(claim(&analyse(&record(1, 3, false)), "shared-time"), None);
}

#[test]
fn a_comparison_names_what_comes_out_in_another_way() {
    let notes = |base: &Record, new: &Record| {
        let (base, new) = (std::slice::from_ref(base), std::slice::from_ref(new));
        let sides = Sides::Runs { base, new, allowed: &std::collections::BTreeSet::new() };
        compare(sides, &Policy::default(), None).unwrap().notes
    };
    let base = probed(nothing);
    let renamed = |mut record: Record| {
        record.run.id.push('x');
        record
    };
    let same = notes(&base, &renamed(probed(nothing)));
    assert!(same.iter().any(|note| note.contains("in the same way")), "{same:?}");
    let worse = renamed(probed(|environment, _, one| {
        if one.probe == "mount" && environment == "container" {
            one.inside = Sight::Value("permitted".to_owned());
        }
        if one.probe == "namespace-mnt" && environment == "container" {
            one.inside = Sight::Value("a".to_owned());
        }
    }));
    let notes = notes(&base, &worse);
    let said = "isolation: `mount` (mounts) is host's in container, and was denied in BASE: less isolated";
    assert!(notes.iter().any(|note| note == said), "{notes:#?}");
    assert!(!notes.iter().any(|note| note.contains("`uptime`")), "{notes:#?}");
    let one = std::slice::from_ref(&base);
    let sides = Sides::Environments { runs: one, base: "native", new: "container" };
    let judged = compare(sides, &Policy::default(), None).unwrap();
    assert!(
        judged.notes.iter().any(|note| note.contains("`namespace-net` (network) is own in container")),
        "{judged:?}"
    );
}

#[test]
fn a_record_keeps_what_was_seen() {
    let trial = &probed(nothing).trials[0];
    let text = serde_json::to_string(trial).unwrap();
    assert!(
        text.contains(r#"{"probe":"boot-id","inside":{"value":"a"},"outside":[{"value":"a"},{"value":"a"}]}"#),
        "{text}"
    );
    assert_eq!(&serde_json::from_str::<bench_results::record::Trial>(&text).unwrap(), trial);
    assert!(!serde_json::to_string(&record(1, 1, false).trials[0]).unwrap().contains("observations"));
}
