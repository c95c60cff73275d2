//! A copy of a run is that run, and neither a list nor an archive is a way around what is refused.

use bench_results::archive;
use bench_results::compare::{CompareError, Sides, compare};
use bench_results::policy::Policy;
use bench_results::record::Run;
use bench_results::store::{Record, RunFolder, list_runs};
use bench_results::testing::{another, counted, record};

fn honest() -> Record {
    counted(record(1, 3, false))
}

#[test]
fn a_list_and_an_archive_are_no_way_around() {
    let parent = tempfile::tempdir().unwrap();
    let write = |record: &Record| {
        let mut folder = RunFolder::create(parent.path(), &record.run).unwrap();
        record.trials.iter().for_each(|trial| folder.append_trial(trial).unwrap());
        folder.path().to_owned()
    };
    let mut record = honest();
    record.run.environments[2].name = "native".into();
    write(&record);
    let state = &list_runs(parent.path()).unwrap()[0].state;
    assert!(state.contains("`native` is listed twice"), "{state}");

    let mut record = Record { run: another(1, 3, false).run, ..honest() };
    let twin = record.trials[5].measurements[0].clone();
    record.trials[5].measurements.push(twin);
    let folder = write(&record);
    let to = parent.path().join("run.tar.gz");
    assert!(archive::export(&folder, &to).unwrap_err().to_string().contains("twice"));

    record = honest();
    record.run.id = "honest".into();
    let folder = write(&record);
    archive::export(&folder, &to).unwrap();
    assert_eq!(Record::load(&to).unwrap().trials, record.trials);
}

#[test]
fn a_copy_is_the_run_that_it_is_whatever_it_is_called() {
    let of = |base: &[Record], new: &[Record]| {
        compare(Sides::Runs { base, new, allowed: &Default::default() }, &Policy::default(), None)
    };
    let base = honest();
    let named = |edit: fn(&mut Record)| {
        let mut copy = honest();
        copy.run.id = "20260303T000000Z-io-copied".into();
        copy.run.started_at = "2026-03-03T00:00:00Z".into();
        edit(&mut copy);
        copy
    };
    let said = "20260303T000000Z-io-copied (a copy of 20260101T000000Z-io-demo00: they measured the very same values)";
    let copies: &[fn(&mut Record)] = &[
        |_| {},
        |copy| copy.folder = "elsewhere".into(),
        |copy| copy.run.plan.seed = 7,
        |copy| copy.trials.truncate(56),
        |copy| copy.trials.iter_mut().for_each(|trial| trial.facts.clear()),
        |copy| copy.trials.iter_mut().step_by(3).for_each(|trial| trial.invalid.push("so it is".into())),
        |copy| copy.trials.iter_mut().for_each(|trial| trial.measurements.reverse()),
        |copy| copy.trials.reverse(),
    ];
    for (at, edit) in copies.iter().enumerate() {
        let copy = named(*edit);
        let (base, copy) = (std::slice::from_ref(&base), std::slice::from_ref(&copy));
        assert_eq!(of(base, copy).unwrap_err(), CompareError::Itself(said.into()), "{at}");
        let twice = [base[0].clone(), copy[0].clone()];
        let other = [another(9, 3, false)];
        for (one, two) in [(&twice[..], &other[..]), (&other, &twice)] {
            assert!(matches!(of(one, two).unwrap_err(), CompareError::Twice(_)), "{at}");
        }
        let pair = Sides::Environments { runs: &twice, base: "native", new: "container" };
        assert!(matches!(compare(pair, &Policy::default(), None).unwrap_err(), CompareError::Twice(_)), "{at}");
    }
    let other = named(|copy| *copy = Record { run: copy.run.clone(), ..counted(another(2, 3, false)) });
    assert!(of(std::slice::from_ref(&base), std::slice::from_ref(&other)).is_ok());
    let mut empty = named(|copy| copy.trials.iter_mut().for_each(|trial| trial.measurements.clear()));
    empty.run.id = "empty".into();
    let others = [empty.clone(), Record { run: Run { id: "more".into(), ..empty.run.clone() }, ..empty }];
    assert!(
        !matches!(of(std::slice::from_ref(&base), &others), Err(CompareError::Twice(_))),
        "nothing is no copy of nothing"
    );
}
