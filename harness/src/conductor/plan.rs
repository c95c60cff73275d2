//! The plan: the seeded, ordered list of all trials, complete before the first one executes.

use std::collections::{BTreeMap, BTreeSet};

use bench_results::record::{Plan, PlannedTrial, Profile};
use bench_workloads::Workload;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Seconds that the target is driven before each block but the first: starting instances is a pause, and pauses cool a disk.
pub const DRIVE_S: f64 = 1.0;

/// A workload and where it is executed.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What.
    pub workload: Workload,
    /// Names of environments, the reference first.
    pub environments: Vec<String>,
    /// Rates of a paced one in emulated guests that cannot follow the others, by name of the environment.
    pub own_rates_per_s: BTreeMap<String, f64>,
}

impl Planned {
    /// To be executed in these environments, everywhere alike.
    pub fn new(workload: Workload, environments: Vec<String>) -> Planned {
        Planned { workload, environments, own_rates_per_s: BTreeMap::new() }
    }

    /// The workload as it is executed in an environment.
    pub fn as_in(&self, environment: &str) -> Workload {
        let mut workload = self.workload.clone();
        if let Some(rate) = self.own_rates_per_s.get(environment) {
            workload.set_pace(*rate);
        }
        workload
    }
}

/// What a plan is made from.
pub struct Request<'a> {
    /// Name of the suite (or `command`).
    pub suite: &'a str,
    /// Profile with the user's changes applied.
    pub profile: Profile,
    /// Seed of everything random.
    pub seed: u64,
    /// Names of the environments that can be had, the reference first, the control (if any) among them.
    pub environments: &'a [String],
    /// Name of the control.
    pub control: Option<String>,
    /// What to measure, in the suite's order, and the names of the environments to measure it in.
    pub workloads: &'a [Planned],
    /// True when a storage target is driven before blocks.
    pub drives: bool,
}

/// Make the plan. Within a block the workloads come in the suite's order; each is executed in every environment, back to back, in
/// an order out of a balanced design, and again in the next order of it for each further turn.
pub fn make(request: Request<'_>) -> Plan {
    let mut rng = ChaCha12Rng::seed_from_u64(request.seed);
    let (blocks, turns) = (request.profile.blocks, request.profile.turns);
    let homes: Vec<Vec<&String>> = request
        .workloads
        .iter()
        .map(|planned| request.environments.iter().filter(|name| planned.environments.contains(name)).collect())
        .collect();
    let rows = blocks as usize * turns as usize;
    let mut orders: Vec<_> = homes.iter().map(|home| balanced_orders(home.len(), rows, &mut rng).into_iter()).collect();
    let between = between(&request, &homes);
    let mut trials = Vec::new();
    let mut planned_s = 0.0;
    for block in 1..=blocks {
        for ((planned, home), orders) in request.workloads.iter().zip(&homes).zip(&mut orders) {
            let workload = &planned.workload;
            let (warmup_s, runtime_s) = workload.seconds(&request.profile);
            for (turn, order) in (1..=turns).zip(orders) {
                let of_turn = if turns > 1 { format!("t{turn}") } else { String::new() };
                for (position, &environment) in order.iter().enumerate() {
                    let environment = home[environment];
                    planned_s += warmup_s + runtime_s;
                    trials.push(PlannedTrial {
                        id: format!("b{block:02}{of_turn}-{}{between}{environment}", workload.name()).into(),
                        block,
                        turn,
                        order: position as u32 + 1,
                        environment: environment.into(),
                        workload: workload.name().into(),
                        // 32 bits: every tool's seed option takes them, and a reader of JSON keeps them.
                        seed: u64::from(rng.random::<u32>()),
                    });
                }
            }
        }
    }
    let starts = starts(request.environments, blocks as usize, request.seed);
    let profile = request.profile;
    let driven_s = if request.drives { profile.settle_s + DRIVE_S * f64::from(blocks.saturating_sub(1)) } else { 0.0 };
    Plan {
        suite: request.suite.to_owned(),
        profile,
        seed: request.seed,
        reference: request.environments[0].clone(),
        control: request.control,
        workloads: request
            .workloads
            .iter()
            .zip(homes)
            .map(|(planned, home)| planned.workload.record(home.into_iter().cloned().collect()))
            .collect(),
        trials,
        starts,
        planned_s: planned_s + driven_s,
        sequential: None,
    }
}

/// What stands between workload and environment in the ids of trials. Where `-` gave two of them one id, or that of an instance's folder,
/// it is a character that no name has.
fn between(request: &Request<'_>, homes: &[Vec<&String>]) -> char {
    let mut ids: BTreeSet<String> = request.environments.iter().map(|name| format!("instance-{name}")).collect();
    let mut places = request.workloads.iter().zip(homes).flat_map(|(planned, home)| {
        home.iter().map(move |environment| format!("{}-{environment}", planned.workload.name()))
    });
    if places.all(|place| ids.insert(place)) { '-' } else { '+' }
}

/// Stream of the generator that the orders of starts come from: the orders of trials are those that the seed always gave.
const STARTS: u64 = 1;

/// In which order each block starts its instances. Whoever starts first after a pause starts on cold caches and sleeping CPUs: in a fixed
/// order that would always be the same environment.
fn starts(environments: &[String], blocks: usize, seed: u64) -> Vec<Vec<String>> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    rng.set_stream(STARTS);
    let orders = balanced_orders(environments.len(), blocks, &mut rng);
    orders.into_iter().map(|order| order.into_iter().map(|at| environments[at].clone()).collect()).collect()
}

/// `rows` orders of `n` things. Full squares first, in each of which every thing stands equally often in every position and, for
/// even `n`, follows every other equally often; the remainder is drawn from one more square. Things and rows are relabelled at random.
fn balanced_orders(n: usize, rows: usize, rng: &mut ChaCha12Rng) -> Vec<Vec<usize>> {
    let mut orders = Vec::with_capacity(rows);
    while orders.len() < rows {
        let mut labels: Vec<usize> = (0..n).collect();
        labels.shuffle(rng);
        let mut square = williams_square(n);
        square.shuffle(rng);
        let relabelled = square.into_iter().map(|row| row.into_iter().map(|thing| labels[thing]).collect());
        orders.extend(relabelled.take(rows - orders.len()));
    }
    orders
}

/// Williams (1949): the Latin square of 0, 1, n-1, 2, n-2, ... and its shifts. For odd `n` one square balances positions but not
/// successions; that would need twice the rows.
fn williams_square(n: usize) -> Vec<Vec<usize>> {
    let first: Vec<usize> = (0..n).map(|i| if i % 2 == 1 { i.div_ceil(2) } else { (n - i / 2) % n }).collect();
    (0..n).map(|shift| first.iter().map(|thing| (thing + shift) % n).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_environment_stands_equally_often_in_every_position() {
        for n in 1..=7 {
            let mut rng = ChaCha12Rng::seed_from_u64(n as u64);
            let orders = balanced_orders(n, 3 * n, &mut rng);
            let mut counts = vec![vec![0; n]; n];
            for order in &orders {
                for (position, &thing) in order.iter().enumerate() {
                    counts[thing][position] += 1;
                }
            }
            assert_eq!(counts, vec![vec![3; n]; n]);
        }
    }

    #[test]
    fn of_an_even_number_each_follows_each_other_once_a_square() {
        for n in [2, 4, 6] {
            let mut follows = vec![vec![0; n]; n];
            for row in williams_square(n) {
                for pair in row.windows(2) {
                    follows[pair[0]][pair[1]] += 1;
                }
            }
            for (a, row) in follows.iter().enumerate() {
                for (b, &count) in row.iter().enumerate() {
                    assert_eq!(count, usize::from(a != b), "{a} before {b} of {n}");
                }
            }
        }
    }

    #[test]
    fn the_remainder_uses_each_order_once() {
        let orders = balanced_orders(4, 6, &mut ChaCha12Rng::seed_from_u64(1));
        assert_eq!(orders.len(), 6);
        assert_ne!(orders[4], orders[5]);
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        let suite = bench_workloads::Suite::builtin("io").unwrap();
        let names = ["native", "native-control", "container", "vm"].map(String::from);
        let planned = |workload: &Workload| Planned::new(workload.clone(), names.to_vec());
        let workloads: Vec<_> = suite.workloads.iter().map(planned).collect();
        let plan_of = |profile: &str, seed| {
            make(Request {
                suite: "io",
                profile: suite.profile(profile).unwrap().clone(),
                seed,
                environments: &names,
                control: Some("native-control".into()),
                workloads: &workloads,
                drives: true,
            })
        };
        let plan = |seed| plan_of("quick", seed);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7).trials, plan(8).trials);
        assert_eq!(plan(7).trials.len(), 8 * 7 * 4);
        let seconds = 8.0 * 7.0 * 4.0 * 2.5 + 15.0 + 7.0 * DRIVE_S;
        assert!((plan(7).planned_s - seconds).abs() < 1e-9, "{}", plan(7).planned_s);
        let starts = plan(7).starts;
        assert_ne!(starts, plan(8).starts);
        for position in 0..4 {
            let mut first: Vec<_> = starts.iter().map(|order| order[position].clone()).collect();
            first.sort();
            let twice: Vec<_> = names.iter().flat_map(|name| [name.clone(), name.clone()]).collect();
            assert_eq!(
                first,
                {
                    let mut twice = twice;
                    twice.sort();
                    twice
                },
                "of 8 blocks each is at {position} in two"
            );
        }
        let turns = plan_of("standard", 7).trials;
        assert_eq!(turns.len(), 28 * 7 * 3 * 4);
        assert!(turns[4].id.starts_with("b01t2-seq-write-"), "{}", turns[4].id);
        let ids: std::collections::BTreeSet<_> = turns.iter().map(|trial| &trial.id).collect();
        assert_eq!(ids.len(), turns.len());
        for of_turn in turns.chunks(4) {
            let environments: std::collections::BTreeSet<_> = of_turn.iter().map(|trial| &trial.environment).collect();
            let key = |trial: &PlannedTrial| (trial.block, trial.workload.clone(), trial.turn);
            assert!(environments.len() == 4 && of_turn.iter().all(|trial| key(trial) == key(&of_turn[0])));
        }
    }

    #[test]
    fn no_two_places_have_one_id() {
        let text = include_str!("../../../workloads/suites/io.toml").replace("\"rand-write\"", "\"rand-read-4k\"");
        let suite = bench_workloads::Suite::parse(&text, "test", &bench_workloads::AnyKind).unwrap();
        let ids = |names: &[String]| {
            let workloads: Vec<_> =
                suite.workloads.iter().map(|workload| Planned::new(workload.clone(), names.to_vec())).collect();
            let profile = suite.profile("quick").unwrap().clone();
            let (control, workloads) = (None, &workloads[..]);
            let request =
                Request { suite: "io", profile, seed: 1, environments: names, control, workloads, drives: false };
            make(request).trials.into_iter().map(|trial| trial.id).collect::<Vec<_>>()
        };
        let clear = ids(&["native", "vm"].map(String::from));
        assert!(clear.iter().any(|id| id == "b01-rand-read-4k-vm"), "{clear:?}");
        let unclear = ids(&["vm", "4k-vm"].map(String::from));
        for id in ["b01-rand-read-4k+vm", "b01-rand-read+4k-vm"] {
            assert!(unclear.iter().any(|found| found == id), "{unclear:?}");
        }
        let apart: BTreeSet<_> = unclear.iter().collect();
        assert_eq!(apart.len(), unclear.len());
    }
}
