//! The simulated federation: messages, faults and time, one thing after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use coordinator::Error;
use coordinator::core::Core;
use participant::follow::{Action, due};
use shared::document::SignedDocument;
use shared::release::RoundRecord;
use shared::task::Task;
use shared::{Clock, Digest, ParamVector, RoundId, RoundNumber, TaskId};
use shared_crypto::document_digest;
use shared_wire::{Activity, Heartbeat, RoundView};

use super::Op;
use super::arrival::is_internal;
use super::ground::{Bed, Break};
use super::oracle::Oracle;
use super::setting::{Setting, task};
use super::site::{Fate, Prepared, Site};

/// How often the coordinator looks at the time.
const TICK_MS: u32 = 250;
/// Steps after which a healed federation must have ended.
const PATIENCE: u32 = 4_000;

/// A message on its way.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Join(SignedDocument),
    Update(Box<Prepared>),
    Evaluation(SignedDocument),
}

/// Everything.
pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) bed: Bed,
    pub(super) core: Option<Core>,
    /// Whether a kill is to come at a later write.
    pub(super) doomed: bool,
    pub(super) sites: Vec<Site>,
    pub(super) task: Task,
    pub(super) task_digest: Digest,
    pub(super) held_up: Vec<(usize, Message)>,
    pub(super) oracle: Oracle,
    pub(super) coin: u64,
}

impl World {
    pub(super) fn new(setting: Setting, seed: u64) -> Self {
        let bed = Bed::new();
        let mut core = bed.open().unwrap();
        let sites: Vec<Site> = (0..setting.sites).map(Site::new).collect();
        for site in &sites {
            core.vouch(&site.id, site.identity.public(), [7; 32].into()).unwrap();
        }
        let task = task(&setting);
        let document = core.create_task(task.clone(), &ParamVector::zeros(setting.len())).unwrap();
        Self {
            setting,
            bed,
            core: Some(core),
            doomed: false,
            sites,
            task,
            task_digest: document_digest(&document),
            held_up: Vec::new(),
            oracle: Oracle::default(),
            coin: seed,
        }
    }

    pub(super) fn happen(&mut self, op: Op) {
        match op {
            Op::Act(site, fate) => self.act(site, fate),
            Op::Pass(millis) => self.pass(millis),
            Op::Jump(seconds) => self.jump(seconds),
            Op::Kill(Break::Now) => self.crash(),
            Op::Kill(break_) => {
                self.bed.arm(break_);
                self.doomed = true;
            }
            Op::KillSite(site) => self.sites[site].kill(),
            Op::Link(site, up) => self.sites[site].connected = up,
            Op::Deliver(index) if index < self.held_up.len() => {
                let (site, message) = self.held_up.remove(index);
                self.arrive(site, &message, Fate::Arrives);
            }
            Op::Deliver(_) => {}
            Op::Full(true) => self.bed.disk.set_capacity(Some(self.bed.disk.used())),
            Op::Full(false) => self.bed.disk.set_capacity(None),
            Op::Equivocate(site) => self.equivocate(site),
            Op::Fold => self.ask(Core::fold),
            Op::Pause(paused) => self.ask(|core| {
                let order = if paused { Core::pause } else { Core::resume };
                ignore_refusal(order(core, &task_id()))
            }),
        }
    }

    /// Asks the coordinator something whose failure is a crash; it is started again at once.
    fn ask(&mut self, question: impl FnOnce(&mut Core) -> Result<(), Error>) {
        self.try_ask(question);
    }

    /// As [`Self::ask`], with the answer.
    pub(super) fn try_ask<T>(&mut self, question: impl FnOnce(&mut Core) -> Result<T, Error>) -> Option<T> {
        let core = self.core.as_mut()?;
        match question(core) {
            Ok(answer) => Some(answer),
            Err(_) => {
                self.crash();
                None
            }
        }
    }

    /// The process dies and is started again; where the disk is full it may not come up before there is room.
    pub(super) fn crash(&mut self) {
        (self.core, self.doomed) = (None, false);
        let mut coin = self.coin;
        self.bed.crash(&mut || flip(&mut coin));
        self.coin = coin;
        self.core = self.bed.open().ok();
    }

    fn pass(&mut self, millis: u32) {
        let mut left = millis;
        while left > 0 {
            let step = left.min(TICK_MS);
            left -= step;
            self.bed.clock.advance(Duration::from_millis(u64::from(step)));
            self.beat();
            self.ask(Core::tick);
        }
    }

    /// Connected sites are heard of.
    fn beat(&mut self) {
        let heartbeat = Heartbeat { sent_at: self.bed.clock.now(), activity: Activity::Idle, percent: 0 };
        let connected: Vec<_> = self.sites.iter().filter(|site| site.connected).map(|site| site.id.clone()).collect();
        if let Some(core) = &mut self.core {
            connected.iter().for_each(|id| core.heartbeat(id, &heartbeat));
        }
    }

    fn jump(&mut self, seconds: i32) {
        let now = self.bed.clock.now().as_micros();
        self.bed.clock.set(shared::Timestamp::from_micros(now + i64::from(seconds) * 1_000_000));
        self.ask(Core::tick);
    }

    /// A site looks, decides by the production function, and acts.
    fn act(&mut self, site: usize, fate: Fate) {
        if !self.sites[site].connected {
            return;
        }
        let id = self.sites[site].id.clone();
        let Some(view) = self.try_ask(|core| core.view(&task_id(), &id)) else { return };
        match due(&view, self.setting.late, &self.sites[site].held) {
            Action::Wait => {}
            Action::Open | Action::Prove | Action::Agree | Action::Reveal | Action::Verify(_) => {
                panic!("these rounds are not masked")
            }
            Action::Join => {
                let join = self.sites[site].join(&view, self.task_digest);
                self.send(site, Message::Join(join), fate);
            }
            Action::Fetch(digest) => self.fetch(site, digest),
            Action::Train => self.train(site, &view),
            Action::Deliver(_) => {
                let prepared = self.sites[site].prepared.clone().unwrap();
                self.send(site, Message::Update(Box::new(prepared)), fate);
            }
            Action::Drop(_) => self.sites[site].drop_update(),
            Action::Evaluate(candidate) => {
                let evaluation = self.sites[site].evaluation(&view, candidate);
                self.send(site, Message::Evaluation(evaluation), fate);
            }
        }
    }

    fn fetch(&mut self, site: usize, digest: Digest) {
        if let Some(bytes) = self.try_ask(|core| core.params(digest)) {
            assert_eq!(shared_crypto::bulk_digest(&bytes), digest, "parameters are what their name says");
            self.sites[site].held.params.push(digest);
        }
    }

    fn train(&mut self, site: usize, view: &RoundView) {
        let place = self.oracle.next_place();
        if place < self.setting.len() {
            self.sites[site].train(view, self.task_digest, self.setting.len(), place);
            let payload = self.sites[site].prepared.as_ref().unwrap().digests.payload();
            self.oracle.made(payload, place);
        }
    }

    fn send(&mut self, site: usize, message: Message, fate: Fate) {
        match fate {
            Fate::Lost => {}
            Fate::HeldUp => self.held_up.push((site, message)),
            Fate::Twice => {
                self.arrive(site, &message, Fate::AnswerLost);
                self.arrive(site, &message, Fate::Arrives);
            }
            _ => self.arrive(site, &message, fate),
        }
    }

    /// No more faults: everything is mended, and the task must come to its end.
    pub(super) fn heal_and_finish(&mut self) {
        self.bed.disk.set_capacity(None);
        // A kill that was to come at some later write comes now, so that none is left.
        if self.core.is_none() || self.doomed {
            self.crash();
        }
        assert!(self.core.is_some(), "the coordinator starts once there is room");
        self.sites.iter_mut().for_each(|site| site.connected = true);
        self.ask(|core| ignore_refusal(core.resume(&task_id())));
        for _ in 0..PATIENCE {
            for site in 0..self.sites.len() {
                self.act(site, Fate::Arrives);
            }
            self.pass(TICK_MS);
            if self.try_ask(|core| core.outcome(&task_id())).flatten().is_some() {
                return;
            }
            if self.honest() < usize::try_from(self.setting.quorum).unwrap() {
                return;
            }
        }
        let state = self.core.as_ref().unwrap().state(&task_id());
        panic!("the healed task does not end: {state:?}");
    }

    fn honest(&self) -> usize {
        self.sites.len() - self.oracle.equivocators.len()
    }

    /// Judges every round that was committed, and every receipt that was given.
    pub(super) fn judge(&mut self) {
        let core = self.core.as_mut().unwrap();
        core.verify_log().unwrap();
        let present = core.state(&task_id()).unwrap();
        let last = present.plan().round_id.number.0 - u32::from(!present.is_closed());
        let (mut records, mut without_result) = (Vec::<RoundRecord>::new(), BTreeSet::new());
        for number in (1..=last).map(RoundNumber) {
            let round_id = RoundId { task_id: task_id(), number };
            match core.record(&round_id).unwrap() {
                Some(record) => records.push(record),
                None => {
                    without_result.insert(number);
                }
            }
        }
        self.oracle.check_all(&records, &without_result, usize::try_from(self.setting.quorum).unwrap());
        let len = self.task.model.param_count();
        for record in &records {
            let params =
                |digest| core.params(digest).ok().map(|bytes| ParamVector::from_le_bytes(&bytes, len).unwrap());
            if let (Some(checkpoint), Some(candidate)) = (params(record.checkpoint), params(record.candidate)) {
                self.oracle.check(record, &checkpoint, &candidate);
            }
        }
        let links = records.windows(2).all(|pair| pair[0].candidate == pair[1].checkpoint);
        assert!(links, "each round starts from what the one before ended with");
    }

    pub(super) fn toss(&mut self) -> bool {
        flip(&mut self.coin)
    }
}

pub(super) fn task_id() -> TaskId {
    TaskId::new("t").unwrap()
}

/// The next bit of a seeded sequence (SplitMix64; Steele et al. 2014).
fn flip(state: &mut u64) -> bool {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) & 1 == 1
}

/// A refusal that is about the task's state is no failure.
fn ignore_refusal(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if !is_internal(&error) => Ok(()),
        result => result,
    }
}
