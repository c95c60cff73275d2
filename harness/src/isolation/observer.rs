//! The observer: `bench` on the host reads what the probes read, before and after, and looks for their markers meanwhile.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bench_results::isolation::{PROBES, Probe, SEEN, Sign, find};
use bench_results::record::{Observation, Sight};
use tokio::task::JoinHandle;

use super::{markers, read};

/// How often markers are looked for.
const PERIOD: Duration = Duration::from_millis(50);

/// By the id of the probe.
type Sights = BTreeMap<&'static str, Sight>;

/// Looks at the host while a trial goes on.
pub struct Observer {
    program: PathBuf,
    before: Sights,
    seen: Rc<RefCell<BTreeSet<&'static str>>>,
    looking: JoinHandle<()>,
}

/// What was seen on the host.
pub struct Outside {
    before: Sights,
    after: Sights,
    seen: BTreeSet<&'static str>,
}

impl Observer {
    /// Look, and go on looking for these markers. `program`: the file that is `bench` in all environments.
    pub fn begin(marker: &str, program: &Path) -> Observer {
        let seen = Rc::new(RefCell::new(BTreeSet::new()));
        let (found, number) = (Rc::clone(&seen), marker.parse().unwrap_or(0));
        let looking = tokio::task::spawn_local(async move {
            let mut interval = tokio::time::interval(PERIOD);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                found.borrow_mut().extend(markers::seen(number));
            }
        });
        Observer { program: program.to_path_buf(), before: look(program), seen, looking }
    }

    /// Look again, and no more.
    pub fn end(self) -> Outside {
        self.looking.abort();
        Outside { after: look(&self.program), seen: self.seen.take(), before: self.before }
    }
}

fn look(program: &Path) -> Sights {
    let reads = PROBES.iter().filter(|probe| matches!(probe.sign, Sign::Equal | Sign::Within));
    reads.map(|probe| (probe.id, read::read(probe, program))).collect()
}

impl Outside {
    /// What was seen inside, and here beside it; `group`: the name of the instance's cgroup.
    pub fn beside(self, inside: BTreeMap<String, Sight>, group: &str) -> Vec<Observation> {
        let observation = |(id, inside): (String, Sight)| {
            let outside = find(&id).map(|probe| self.of(probe, group)).unwrap_or_default();
            Observation { probe: id, inside, outside }
        };
        inside.into_iter().map(observation).collect()
    }

    fn of(&self, probe: &Probe, group: &str) -> Vec<Sight> {
        match probe.sign {
            Sign::Equal | Sign::Within => {
                [&self.before, &self.after].into_iter().filter_map(|sights| sights.get(probe.id).cloned()).collect()
            }
            Sign::Named => vec![Sight::Value(group.to_owned())],
            Sign::Seen if self.seen.contains(probe.id) => vec![Sight::Value(SEEN.to_owned())],
            Sign::Seen => vec![Sight::Value(format!("not {SEEN}"))],
            Sign::Permitted => Vec::new(),
        }
    }
}
