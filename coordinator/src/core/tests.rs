//! The core as a simulation drives it: links that break, a machine that loses power, and the same candidate in the end.

use std::time::Duration;

use shared::encoding::Encoding;
use shared::task::ModelSpec;
use shared::time::ManualClock;
use shared::update::CHUNK_BYTES;
use shared::{RoundNumber, Timestamp};
use shared_crypto::ChunkDigests;
use shared_store::MemoryStore;
use shared_wire::{Activity, Bytes, UpdateOpen};

use super::*;
use crate::testing::{AGREEMENT, SITES, key, site, task};

/// Everything that survives a crash.
struct Beneath {
    store: Arc<MemoryStore>,
    disk: MemoryDisk,
    clock: Arc<ManualClock>,
}

impl Beneath {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_790_000_000_000_000)));
        Self { store: Arc::default(), disk: MemoryDisk::default(), clock }
    }

    fn open(&self) -> Core {
        let seeded = |seed| SigningKey::from_seed(&[seed; 32]);
        Core::open(Ground {
            store: self.store.clone(),
            disk: Arc::new(self.disk.clone()),
            clock: self.clock.clone(),
            operator: seeded(1),
            coordinator: seeded(2),
            log: seeded(3),
            limits: Limits::default(),
        })
        .unwrap()
    }

    /// A core with a round of a model of two chunks that collects.
    fn collecting(&self) -> Core {
        let mut core = self.open();
        for name in SITES {
            core.vouch(&site(name), key(name).public(), AGREEMENT).unwrap();
        }
        let model = ModelSpec { inputs: u32::try_from(CHUNK_BYTES / 4 + 9).unwrap(), hidden: vec![] };
        let task = Task { model, ..task() };
        core.create_task(task.clone(), &ParamVector::zeros(task.model.param_count())).unwrap();
        let joins = SITES.map(|name| {
            let RoundState::Announced(state) = &*core.state(&task.task_id).unwrap() else { panic!() };
            let (round_id, task_digest) = (state.plan.round_id.clone(), state.plan.task_digest);
            let join = Join { round_id, participant_id: site(name), task_digest, masking: None };
            (site(name), key(name).sign(&join).unwrap().into())
        });
        assert!(core.join(&joins).unwrap().iter().all(Result::is_ok));
        core.tick().unwrap();
        core
    }
}

fn payload(name: &str) -> Vec<u8> {
    let value = f32::from(name.as_bytes()[0]);
    std::iter::repeat_n(value, CHUNK_BYTES / 4 + 10).flat_map(f32::to_le_bytes).collect()
}

fn open(core: &mut Core, name: &str, payload: &[u8]) -> Result<Opening, Error> {
    let state = core.state(&task().task_id).unwrap();
    let header = UpdateHeader {
        round_id: state.plan().round_id.clone(),
        participant_id: site(name),
        task_digest: state.plan().task_digest,
        checkpoint: state.plan().checkpoint,
        encoding: Encoding::F32,
        byte_count: u64::try_from(payload.len()).unwrap(),
        payload: ChunkDigests::of(payload).payload(),
        local_steps: 1,
        masked: None,
    };
    let chunk_digests = ChunkDigests::of(payload).as_slice().to_vec();
    let header = key(name).sign(&header).unwrap();
    core.open_upload(&site(name), &UpdateOpen { header, chunk_digests, dealing: Bytes::new() })
}

/// Sends at most `chunks` chunks from where the coordinator wants them.
fn send(core: &mut Core, name: &str, chunks: usize) -> Upload {
    let payload = payload(name);
    let Opening::Upload(mut upload) = open(core, name, &payload).unwrap() else { panic!("{name} is known") };
    let mut offset = upload.durable();
    let rest = &payload[usize::try_from(offset).unwrap()..];
    for chunk in rest.chunks(CHUNK_BYTES).take(chunks) {
        core.take_chunk(&mut upload, offset, chunk).unwrap();
        offset += u64::try_from(chunk.len()).unwrap();
    }
    upload
}

fn candidate(core: &Core) -> Digest {
    let RoundState::Aggregated(state) = &*core.state(&task().task_id).unwrap() else { panic!() };
    state.candidate
}

#[test]
fn broken_links_and_lost_power_change_no_bit_of_the_candidate() {
    let calm = Beneath::new();
    let mut core = calm.collecting();
    let uploads = SITES.iter().map(|name| send(&mut core, name, 2)).collect();
    assert!(core.finish(uploads).unwrap().iter().all(Result::is_ok));
    core.tick().unwrap();

    let stormy = Beneath::new();
    let mut core = stormy.collecting();
    drop(send(&mut core, "a", 1));
    let a = send(&mut core, "a", 1);
    assert!(a.is_complete(), "it went on at the second chunk");
    let receipt = core.finish(vec![a]).unwrap().remove(0).unwrap();
    let b = send(&mut core, "b", 1);
    drop((core, b));
    stormy.disk.crash(&mut || false);
    let mut core = stormy.open();
    let Opening::Receipt(again) = open(&mut core, "a", &payload("a")).unwrap() else { panic!() };
    assert_eq!(again, receipt, "what was acknowledged is there");
    let uploads = ["c", "b"].iter().map(|name| send(&mut core, name, 2)).collect();
    assert!(core.finish(uploads).unwrap().iter().all(Result::is_ok));
    core.fold().unwrap();
    core.tick().unwrap();
    assert_eq!(
        candidate(&core),
        candidate(&{
            let mut calm = calm.open();
            calm.tick().unwrap();
            calm
        })
    );
}

#[test]
fn an_equivocator_is_quarantined_and_its_update_counts_no_more() {
    let beneath = Beneath::new();
    let mut core = beneath.collecting();
    let first = send(&mut core, "a", 2);
    core.finish(vec![first]).unwrap().remove(0).unwrap();
    assert_eq!(shared::Explain::code(&open(&mut core, "a", &payload("b")).err().unwrap()), "round-equivocation");
    assert_eq!(core.standing(&site("a")), Some(State::Quarantined));
    beneath.clock.advance(Duration::from_millis(500));
    core.tick().unwrap();
    let RoundState::Collecting(state) = &*core.state(&task().task_id).unwrap() else { panic!() };
    assert!(state.accepted.is_empty());
    assert_eq!(shared::Explain::code(&open(&mut core, "a", &payload("a")).err().unwrap()), "participant-quarantined");
}

#[test]
fn who_falls_silent_is_lost_in_seconds_of_the_clock() {
    let beneath = Beneath::new();
    let mut core = beneath.collecting();
    let beat = Heartbeat { sent_at: beneath.clock.now(), activity: Activity::Training, percent: 50 };
    SITES.iter().for_each(|name| core.heartbeat(&site(name), &beat));
    let uploads = ["a", "b"].iter().map(|name| send(&mut core, name, 2)).collect();
    core.finish(uploads).unwrap().into_iter().for_each(|receipt| drop(receipt.unwrap()));
    for _ in 0..6 {
        assert_eq!(core.state(&task().task_id).unwrap().phase(), "collecting");
        beneath.clock.advance(Duration::from_millis(500));
        core.tick().unwrap();
    }
    assert_eq!(core.state(&task().task_id).unwrap().plan().round_id.number, RoundNumber::FIRST);
    assert_eq!(core.state(&task().task_id).unwrap().phase(), "aggregated");
}
