//! Updates and parameters in files: computed from them, kept as long as they are needed, and no longer.

use shared::aggregate::{
    Aggregation, Combination, PreStep, RoundStep, RowMeta, Rule, ServerStep, Slices, effective_steps,
};
use shared::encoding::{Encoding, PerMille};
use shared::local::LocalTraining;
use shared::task::Task;
use shared::update::CHUNK_BYTES;
use shared::{Digest, ParticipantId, RoundId};

use super::*;
use crate::durable::ParamsRole;
use crate::testing::{site, update_of};

/// Different updates, none of them simple.
fn values(name: &str, len: usize) -> ParamVector {
    let seed = f32::from(name.as_bytes()[0]);
    ParamVector::new(
        (0..len).map(|index| (seed * 1.7 + f32::from(u16::try_from(index).unwrap()) * 0.31).sin()).collect(),
    )
    .unwrap()
}

/// A round of `task` that collects.
fn collecting(task: Task) -> (World, Driver) {
    let world = World::with(task);
    let mut driver = world.driver();
    let names: Vec<String> = driver.task().task.cohort.iter().map(ToString::to_string).collect();
    let joins = names.iter().map(|name| join(name, &driver).unwrap()).collect();
    assert!(driver.offer(joins).unwrap().iter().all(Result::is_ok));
    driver.advance().unwrap();
    (world, driver)
}

fn deliver(driver: &mut Driver, name: &str) {
    let update = update_of(name, driver, &values(name, driver.task().task.update_len())).unwrap();
    driver.offer(vec![update]).unwrap().remove(0).unwrap();
}

fn candidate(driver: &Driver) -> Digest {
    let RoundState::Aggregated(state) = &*driver.snapshot().state else {
        panic!("{}", driver.snapshot().state.phase())
    };
    state.candidate
}

#[test]
fn r2_aggregate_exact_restarts_folding_and_order_change_no_bit_of_the_candidate() {
    let (_world, mut undisturbed) = collecting(task());
    SITES.iter().for_each(|name| deliver(&mut undisturbed, name));
    undisturbed.advance().unwrap();
    for (order, restarts, folds) in
        [(["c", "a", "b"], false, true), (["b", "c", "a"], true, true), (["a", "c", "b"], true, false)]
    {
        let (world, mut driver) = collecting(task());
        for name in order {
            deliver(&mut driver, name);
            if folds && let Some(fold) = driver.folding() {
                fold().unwrap();
            }
            if restarts {
                driver = world.driver();
            }
        }
        driver.advance().unwrap();
        assert_eq!(candidate(&driver), candidate(&undisturbed), "{order:?}");
    }
}

#[test]
fn an_update_that_is_excluded_after_it_was_folded_leaves_the_sum() {
    let (world, mut driver) = collecting(task());
    SITES.iter().for_each(|name| deliver(&mut driver, name));
    driver.folding().unwrap()().unwrap();
    let now = driver.context().clock.now();
    driver.context().registry.quarantine(&site("c"), "a test".to_owned(), now).unwrap();
    world.pass(&driver, 1);
    driver.advance().unwrap();
    let (world, mut without) = collecting(task());
    ["a", "b"].iter().for_each(|name| deliver(&mut without, name));
    world.clock.advance(Duration::from_secs(20));
    without.advance().unwrap();
    assert_eq!(candidate(&driver), candidate(&without));
}

/// A task whose updates take some chunks each, the last one short.
fn of_chunks(encoding: Encoding) -> Task {
    let model = shared::task::ModelSpec { inputs: u32::try_from(5 * CHUNK_BYTES / 8).unwrap(), hidden: vec![] };
    Task { model, encodings: vec![encoding], ..task() }
}

/// The update of `name`, as it is sent, with its header.
fn encoded(name: &str, driver: &Driver) -> (shared::document::SignedDocument, Vec<u8>) {
    let encoding = driver.task().task.encodings[0];
    let values = (0..driver.task().task.update_len()).map(|index| {
        let index = u16::try_from(index % 1009).unwrap();
        (f32::from(name.as_bytes()[0]) * 1.7 + f32::from(index) * 0.31).sin()
    });
    let update = ParamVector::new(values.collect()).unwrap();
    let payload = encoding.encode(&update, &mut |bytes| bytes.fill(7));
    let header = shared::update::UpdateHeader { encoding, ..crate::testing::header(name, driver, &payload) };
    (crate::testing::key(name).sign(&header).unwrap(), payload)
}

/// Sends an update up to its chunk number `chunks`, and offers it if that is all of it.
fn send(driver: &mut Driver, name: &str, chunks: usize) {
    let (document, payload) = encoded(name, driver);
    let sender = crate::testing::participant(name);
    let mut upload = crate::testing::begin(document, &payload, &sender, driver).unwrap();
    let first = usize::try_from(upload.durable()).unwrap() / CHUNK_BYTES;
    for (number, chunk) in payload.chunks(CHUNK_BYTES).enumerate().take(chunks).skip(first) {
        upload.take(driver.context(), u64::try_from(number * CHUNK_BYTES).unwrap(), chunk).unwrap();
    }
    if upload.is_complete() {
        let proposal = upload.finish(driver.context(), driver.snapshot().state.plan()).unwrap();
        driver.offer(vec![proposal]).unwrap().remove(0).unwrap();
    }
}

#[test]
fn what_came_of_an_update_that_stopped_on_its_way_leaves_no_trace_and_is_not_added_twice_when_it_goes_on() {
    let kept = PerMille::new(500).unwrap();
    for encoding in [Encoding::F32, Encoding::Bf16, Encoding::TopK { per_mille: kept }] {
        let of = |senders: &[(&str, usize)], disturb: &dyn Fn(&Driver)| {
            let (world, mut driver) = collecting(of_chunks(encoding));
            senders.iter().for_each(|(name, chunks)| send(&mut driver, name, *chunks));
            disturb(&driver);
            world.clock.advance(Duration::from_secs(20));
            driver.advance().unwrap();
            candidate(&driver)
        };
        let (all, nothing) = (usize::MAX, |_: &Driver| ());
        let two = of(&[("a", all), ("b", all)], &nothing);
        let three = of(&[("a", all), ("b", all), ("c", all)], &nothing);
        assert_ne!(two, three);
        assert_eq!(of(&[("c", 1), ("a", all), ("b", all)], &nothing), two, "{encoding:?}");
        assert_eq!(of(&[("c", 1), ("a", all), ("c", all), ("b", all)], &nothing), three, "{encoding:?}");
        let lost = |driver: &Driver| {
            let plan = driver.snapshot().state.plan().clone();
            for (id, payload) in driver.context().blobs.updates(&plan.round_id).unwrap() {
                if id == site("c") {
                    driver.context().blobs.remove_update(&plan.round_id, &id, payload).unwrap();
                }
            }
        };
        assert_eq!(of(&[("a", all), ("c", 1), ("b", all)], &lost), two, "what is lost cannot be taken out");
        let changed = |driver: &Driver| {
            let (document, _) = encoded("c", driver);
            let header = shared::canonical::decode(document.body.as_bytes()).unwrap();
            driver.context().blobs.create_update(&header).unwrap().write_at(5, b"another").unwrap();
        };
        assert_eq!(of(&[("a", all), ("c", 1), ("b", all)], &changed), two, "nor what was changed");
    }
}

#[test]
fn every_rule_over_files_gives_the_bits_that_it_gives_in_memory() {
    let cohort: std::collections::BTreeSet<ParticipantId> =
        "abcdefghi".chars().map(|name| site(&name.to_string())).collect();
    let rules = [
        Rule::Mean,
        Rule::FedNova,
        Rule::CoordinateMedian,
        Rule::TrimmedMean { byzantine: 2 },
        Rule::MultiKrum { byzantine: 2, keep: None },
        Rule::Bulyan { byzantine: 1 },
        Rule::GeometricMedian { smoothing: 1e-6, iterations: 8 },
        Rule::NormBound { max_norm: 1.0 },
        Rule::CenteredClipping { radius: 0.5, iterations: 3 },
    ];
    for rule in rules {
        let weighs = matches!(rule, Rule::Mean | Rule::FedNova | Rule::NormBound { .. });
        let pre = if weighs { vec![] } else { vec![PreStep::NearestNeighbourMixing { byzantine: 2 }] };
        let aggregation = Aggregation { rule, pre, ..Aggregation::default() };
        let model = shared::task::ModelSpec { inputs: 3000, hidden: vec![] };
        let task = Task { cohort: cohort.clone(), quorum: 9, model, aggregation, ..task() };
        let (world, mut driver) = collecting(task.clone());
        cohort.iter().for_each(|id| deliver(&mut driver, id.as_str()));
        driver.advance().unwrap();
        let rows: Vec<ParamVector> = cohort.iter().map(|id| values(id.as_str(), 3001)).collect();
        let meta: Vec<RowMeta> = cohort
            .iter()
            .map(|id| RowMeta { participant_id: id.clone(), weight: 1, local_steps: effective_steps(1, 0.0) })
            .collect();
        let combination = Combination { aggregation: &task.aggregation, meta: &meta, seed: 0, threads: 1 };
        let rows = Slices::new(rows.iter().map(ParamVector::as_slice).collect()).unwrap();
        let combined = combination.to_vec(&rows).unwrap();
        #[expect(clippy::as_conversions, reason = "the one rounding of the candidate")]
        let expected: Vec<u8> = combined.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
        assert_eq!(candidate(&driver), shared_crypto::bulk_digest(&expected), "{:?}", task.aggregation.rule);
        drop(world);
    }
}

#[test]
fn what_the_server_keeps_goes_from_round_to_round_and_only_a_control_variate_to_participants() {
    let adam = ServerStep::FedAdam { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-3 };
    for (server, local, is_shared) in [
        (adam, LocalTraining::Plain, false),
        (ServerStep::Scaffold { learning_rate: 1.0 }, LocalTraining::Scaffold, true),
    ] {
        let mut task = task();
        task.aggregation.server = server;
        task.recipe.local = local;
        let (world, mut driver) = collecting(task.clone());
        SITES.iter().for_each(|name| deliver(&mut driver, name));
        driver.advance().unwrap();
        let RoundState::Aggregated(state) = &*driver.snapshot().state else { panic!() };
        let kept = state.server_state.unwrap();
        let blob = driver.context().blobs.params(kept).unwrap();
        assert_eq!(blob.len().unwrap(), u64::try_from(RoundStep::state_len(&task) * 4).unwrap());
        assert_eq!(durable::params_used_as(&*world.store, kept, ParamsRole::Shared).unwrap(), is_shared);
        assert!(durable::params_used_as(&*world.store, state.candidate, ParamsRole::Shared).unwrap());
        SITES.iter().for_each(|name| {
            let evaluation = evaluation(name, &driver).unwrap();
            driver.offer(vec![evaluation]).unwrap().remove(0).unwrap();
        });
        driver.advance().unwrap();
        let snapshot = driver.snapshot();
        assert_eq!((snapshot.rounds_done, snapshot.state.plan().server_state), (1, Some(kept)));
        let view = snapshot.view(&site("a"), world.clock.now());
        assert_eq!(view.control, is_shared.then_some(kept));
        let first = RoundId { task_id: task.task_id, number: RoundNumber::FIRST };
        let record = durable::read(&*world.store, &durable::record(&first)).unwrap().unwrap();
        let record: RoundRecord = driver.context().signer.public().open(&record).unwrap();
        assert_eq!((record.server_state_before, record.server_state), (None, Some(kept)));
    }
}

#[test]
fn files_of_rounds_that_are_too_long_ago_are_removed_and_nothing_else() {
    let world = World::with(Task { rounds: 6, ..task() });
    let mut driver = world.driver();
    run(&mut driver).unwrap();
    let context = driver.context();
    let updates = |number| {
        let round_id = RoundId { task_id: task().task_id, number: RoundNumber(number) };
        context.blobs.updates(&round_id).unwrap().len()
    };
    assert_eq!((1..=6).map(updates).collect::<Vec<_>>(), [0, 0, 0, 3, 3, 3], "two are kept beside the newest");
    let before = context.blobs.all_params().unwrap();
    assert_eq!(before.len(), 4, "the checkpoint of the oldest that is kept, and three candidates");
    let again = world.context(world.store.clone());
    assert_eq!(again.blobs.all_params().unwrap(), before, "nothing that is named is taken for an orphan");
    drop(again.blobs.write_params(b"nobody names this").unwrap());
    assert_eq!(world.context(world.store.clone()).blobs.all_params().unwrap(), before);
}

#[test]
fn files_that_could_not_be_removed_are_removed_after_the_next_round() {
    let world = World::with(Task { rounds: 6, ..task() });
    let mut driver = world.driver();
    let mut failures = 0;
    while !driver.has_ended() {
        let snapshot = driver.snapshot();
        let last_step =
            (snapshot.state.plan().round_id.number, snapshot.state.phase()) == (RoundNumber(4), "aggregated");
        world.disk.stop_after(if last_step { 0 } else { u64::MAX });
        failures += u32::from(last_step);
        step(&mut driver).unwrap();
    }
    let of_round = |number| RoundId { task_id: task().task_id, number: RoundNumber(number) };
    let blobs = &driver.context().blobs;
    let left: Vec<_> = (1..=6).map(|number| blobs.updates(&of_round(number)).unwrap().len()).collect();
    assert_eq!((left, blobs.all_params().unwrap().len()), (vec![0, 0, 0, 3, 3, 3], 4));
    assert!(failures > 0);
}

#[test]
fn an_update_that_never_counted_is_removed_when_its_round_is_over() {
    let (world, mut driver) = collecting(task());
    let round_id = driver.snapshot().state.plan().round_id.clone();
    let _never_offered = update("c", &driver).unwrap();
    ["a", "b"].iter().for_each(|name| deliver(&mut driver, name));
    assert_eq!(driver.context().blobs.updates(&round_id).unwrap().len(), 3);
    world.clock.advance(Duration::from_secs(20));
    driver.advance().unwrap();
    world.clock.advance(Duration::from_secs(30));
    driver.offer(vec![evaluation("a", &driver).unwrap()]).unwrap().remove(0).unwrap();
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.plan().round_id.number, RoundNumber(2));
    let left: Vec<_> = driver.context().blobs.updates(&round_id).unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, ["a", "b"].map(site));
}

#[test]
fn a_candidate_that_finds_the_disk_full_is_computed_once_there_is_room() {
    let (_world, mut undisturbed) = collecting(task());
    SITES.iter().for_each(|name| deliver(&mut undisturbed, name));
    undisturbed.advance().unwrap();
    let (world, mut driver) = collecting(task());
    SITES.iter().for_each(|name| deliver(&mut driver, name));
    world.disk.set_capacity(Some(world.disk.used()));
    let refused = driver.advance().unwrap_err();
    assert_eq!((shared::Explain::code(&refused), driver.snapshot().state.phase()), ("disk-full", "collected"));
    world.disk.set_capacity(None);
    let mut driver = world.driver();
    driver.advance().unwrap();
    assert_eq!(candidate(&driver), candidate(&undisturbed));
}
