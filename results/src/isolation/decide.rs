//! From what was seen in a trial to the outcome of each probe.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Observation, PROBES, Probe, Sight, Sign, find};

/// The probe that tells whose kernel executes.
const KERNEL: &str = "boot-id";
/// Errors that say that something is there and was refused, and not that a kernel lacks it.
const REFUSED: [&str; 3] = ["EPERM", "EACCES", "hidden"];

/// What stands for an answer that did not come.
const NO_ANSWER: [&str; 2] = ["SIGALRM", SILENT];

/// How a probe comes out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The instance sees or changes the host's resource.
    Hosts,
    /// It has one of its own.
    Own,
    /// It is refused.
    Denied,
    /// It cannot be told, and why.
    NotTestable(String),
}

impl Outcome {
    /// For people.
    pub fn text(&self) -> &'static str {
        match self {
            Outcome::Hosts => "host's",
            Outcome::Own => "own",
            Outcome::Denied => "denied",
            Outcome::NotTestable(_) => "not testable",
        }
    }

    /// Why it cannot be told.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::NotTestable(why) => Some(why),
            _ => None,
        }
    }
}

/// What was seen in a trial, by probe.
pub(super) type Trial<'a> = BTreeMap<&'a str, &'a Observation>;

/// A trial's observations; of two of one probe the first.
pub(super) fn trial(observations: &[Observation]) -> Trial<'_> {
    observations.iter().rev().map(|one| (one.probe.as_str(), one)).collect()
}

/// The outcome of a probe in a trial, by itself: nothing is said yet of what it does natively.
pub(super) fn decide(probe: &Probe, trial: &Trial<'_>) -> Outcome {
    let Some(seen) = trial.get(probe.id) else {
        return not_testable("the trial says nothing of it");
    };
    match &seen.inside {
        Sight::Error(error) => refused(error, trial),
        Sight::Value(inside) => match probe.sign {
            Sign::Permitted => holder(probe, trial),
            Sign::Equal => matched(&seen.outside, |outside| outside == inside, || holder(probe, trial)),
            Sign::Named => matched(&seen.outside, |outside| inside.contains(outside), || holder(probe, trial)),
            Sign::Seen => matched(&seen.outside, |outside| outside == SEEN, || Outcome::Hosts),
            Sign::Within => within(inside, &seen.outside).map_or_else(not_testable, |is| match is {
                true => holder(probe, trial),
                false => Outcome::Own,
            }),
        },
    }
}

/// What the host says of a marker that it saw.
pub const SEEN: &str = "seen";
/// The error of an attempt that ended without an answer.
pub const SILENT: &str = "it said nothing";

fn not_testable(why: &str) -> Outcome {
    Outcome::NotTestable(why.to_owned())
}

/// The instance got an error: it was refused, or its own kernel lacks the thing.
fn refused(error: &str, trial: &Trial<'_>) -> Outcome {
    if NO_ANSWER.contains(&error) {
        return Outcome::NotTestable(format!("no answer came ({error})"));
    }
    let own_kernel = find(KERNEL).is_some_and(|kernel| error_free(kernel, trial) == Outcome::Own);
    match REFUSED.contains(&error) || !own_kernel {
        true => Outcome::Denied,
        false => Outcome::NotTestable(format!("on its own kernel it fails ({error})")),
    }
}

/// The outcome of a probe that everything is asked of; never by way of its errors.
fn error_free(probe: &Probe, trial: &Trial<'_>) -> Outcome {
    match trial.get(probe.id).map(|seen| &seen.inside) {
        Some(Sight::Value(_)) => decide(probe, trial),
        _ => not_testable("whose kernel it is could not be seen"),
    }
}

/// Whose the resource of a probe is.
fn holder(probe: &Probe, trial: &Trial<'_>) -> Outcome {
    match find(probe.of) {
        None => Outcome::Hosts,
        Some(of) => match error_free(of, trial) {
            Outcome::Denied | Outcome::NotTestable(_) => {
                Outcome::NotTestable(format!("whose it is could not be seen ({})", of.id))
            }
            told => told,
        },
    }
}

/// What `then` says where one of the values outside is as asked; `own` where none is.
fn matched(outside: &[Sight], is: impl Fn(&str) -> bool, then: impl FnOnce() -> Outcome) -> Outcome {
    let values: Vec<&str> = outside.iter().filter_map(Sight::value).collect();
    match (values.is_empty(), outside.first()) {
        (true, Some(error)) => Outcome::NotTestable(format!("the host itself cannot see it ({})", error.text())),
        (true, None) => not_testable("nobody looked at it from outside"),
        (false, _) if values.into_iter().any(is) => then(),
        (false, _) => Outcome::Own,
    }
}

/// True when a number lies between those before and after.
fn within(inside: &str, outside: &[Sight]) -> Result<bool, &'static str> {
    let [before, after] = outside else { return Err("nobody looked at it from outside") };
    let number = |text: &str| text.split_whitespace().next()?.parse::<f64>().ok().filter(|number| number.is_finite());
    let outside = |sight: &Sight| sight.value().and_then(number).ok_or("the host itself cannot see it");
    let inside = number(inside).ok_or("it is no number")?;
    Ok((outside(before)?..=outside(after)?).contains(&inside))
}

/// Every probe of a trial.
pub(super) fn all(observations: &[Observation]) -> BTreeMap<&'static str, Outcome> {
    let trial = trial(observations);
    let told = PROBES.iter().filter(|probe| trial.contains_key(probe.id));
    told.map(|probe| (probe.id, decide(probe, &trial))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(probe: &str, inside: Sight, outside: &[&str]) -> Observation {
        let outside = outside.iter().map(|value| Sight::Value((*value).to_owned())).collect();
        Observation { probe: probe.to_owned(), inside, outside }
    }

    fn value(text: &str) -> Sight {
        Sight::Value(text.to_owned())
    }

    fn error(name: &str) -> Sight {
        Sight::Error(name.to_owned())
    }

    fn on(boot_id: &str, one: Observation) -> Outcome {
        let id = one.probe.clone();
        all(&[seen("boot-id", value(boot_id), &["a", "a"]), one])[id.as_str()].clone()
    }

    #[test]
    fn an_equal_value_is_the_hosts_only_on_its_kernel() {
        assert_eq!(on("a", seen("kernel-release", value("6.1"), &["6.1", "6.1"])), Outcome::Hosts);
        assert_eq!(on("a", seen("kernel-release", value("6.2"), &["6.1", "6.1"])), Outcome::Own);
        assert_eq!(on("b", seen("kernel-release", value("6.1"), &["6.1", "6.1"])), Outcome::Own, "an accident");
        assert_eq!(on("b", seen("cpu-model", value("x"), &["x", "x"])), Outcome::Hosts, "of hardware");
        assert_eq!(on("a", seen("load", value("1"), &["0", "1"])), Outcome::Hosts, "it changed before");
        let hidden = Observation { outside: vec![error("ENOENT"); 2], ..seen("modules", value("x"), &[]) };
        assert_eq!(on("a", hidden).text(), "not testable");
        assert_eq!(on("a", seen("modules", value("x"), &[])).text(), "not testable");
    }

    #[test]
    fn an_equal_value_in_an_own_namespace_is_an_accident() {
        let all = |namespace: &str| {
            let kernel = seen("boot-id", value("a"), &["a", "a"]);
            let net = seen("namespace-net", value(namespace), &["net:[1]", "net:[1]"]);
            all(&[kernel, net, seen("interfaces", value("lo:"), &["lo:", "lo:"]), seen("raw-socket", value("ok"), &[])])
        };
        assert_eq!(all("net:[2]")["interfaces"], Outcome::Own);
        assert_eq!(all("net:[2]")["raw-socket"], Outcome::Own);
        assert_eq!(all("net:[1]")["interfaces"], Outcome::Hosts);
        assert_eq!(all("net:[1]")["raw-socket"], Outcome::Hosts);
    }

    #[test]
    fn an_attempt_acts_on_the_kernel_that_executes_it() {
        assert_eq!(on("a", seen("step-clock", value("permitted"), &[])), Outcome::Hosts);
        assert_eq!(on("b", seen("step-clock", value("permitted"), &[])), Outcome::Own);
        for name in ["EPERM", "ENOSYS", "ENOENT", "SIGSYS"] {
            assert_eq!(on("a", seen("step-clock", error(name), &[])), Outcome::Denied, "{name}");
        }
        assert_eq!(on("b", seen("step-clock", error("EPERM"), &[])), Outcome::Denied);
        assert_eq!(on("a", seen("step-clock", error("SIGALRM"), &[])).text(), "not testable");
        assert_eq!(on("b", seen("bpf", error("ENOSYS"), &[])).text(), "not testable", "the guest's kernel lacks it");
        let alone = seen("step-clock", value("permitted"), &[]);
        assert_eq!(super::all(&[alone])["step-clock"].text(), "not testable", "whose kernel is not known");
    }

    #[test]
    fn a_number_that_grows_lies_between_those_outside() {
        let at = |inside: &str, outside: &[&str]| on("a", seen("uptime", value(inside), outside));
        assert_eq!(at("5.5 9", &["5.0 9", "6.0 9"]), Outcome::Hosts);
        assert_eq!(at("5 9", &["5 9", "5 9"]), Outcome::Hosts);
        assert_eq!(at("4.9 9", &["5.0 9", "6.0 9"]), Outcome::Own);
        for (inside, outside) in [("NaN", ["5", "6"]), ("5", ["x", "6"])] {
            assert_eq!(at(inside, &outside).text(), "not testable");
        }
        assert_eq!(on("b", seen("uptime", value("5.5"), &["5.0", "6.0"])), Outcome::Own, "an accident");
    }

    #[test]
    fn a_marker_and_a_name_are_looked_for() {
        assert_eq!(on("a", seen("key-seen", value("made"), &[SEEN])), Outcome::Hosts);
        assert_eq!(on("a", seen("key-seen", value("made"), &["not seen"])), Outcome::Own);
        assert_eq!(on("a", seen("key-seen", error("EPERM"), &["not seen"])), Outcome::Denied);
        assert_eq!(on("a", seen("cgroup-path", value("0::/x/bench-1-2"), &["bench-1-2"])), Outcome::Hosts);
        assert_eq!(on("a", seen("cgroup-path", value("0::/"), &["bench-1-2"])), Outcome::Own);
    }
}
