//! Five sites and a coordinator in one masked task, driven step by step or to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coordinator::core::{Core, Opening, Proof};
use coordinator::{Error, Outcome};
use participant::follow::{Action, due};
use participant::masking::{Asked, Sum};
use serde_json::{Value, json};
use shared::document::SignedDocument;
use shared::masking::{Agreement, Reveal};
use shared::participation::LatePolicy;
use shared::round::{AbortReason, RoundEvent};
use shared::task::Task;
use shared::update::CHUNK_BYTES;
use shared::{Clock, Digest, Explain, ParamVector, ParticipantId, RoundId, RoundNumber, TaskId};
use shared_crypto::document_digest;
use shared_wire::{Activity, Heartbeat, JoinRequest, MaskingStage, ProofRequest, RoundView, SealedShare};

use super::site::Site;
use crate::simulation::ground::Bed;
use crate::simulation::is_internal;

pub(super) const SITES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// How often the coordinator looks at the time.
const TICK: Duration = Duration::from_millis(250);
/// Ticks after which a task must have ended.
pub(super) const PATIENCE: u32 = 2_000;
/// Seven features and a bias.
pub(super) const PARAMS: usize = 8;

/// Everything.
pub(super) struct Federation {
    pub(super) bed: Bed,
    pub(super) core: Core,
    pub(super) sites: BTreeMap<ParticipantId, Site>,
    pub(super) task: Task,
    pub(super) task_digest: Digest,
    /// Who is gone.
    pub(super) gone: BTreeSet<ParticipantId>,
    /// Digest of each document that the coordinator was seen to have signed, by round and stage.
    pub(super) words: BTreeMap<(RoundNumber, &'static str), BTreeSet<Digest>>,
}

pub(super) fn site(name: &str) -> ParticipantId {
    ParticipantId::new(name).unwrap()
}

pub(super) fn task_id() -> TaskId {
    TaskId::new("t").unwrap()
}

/// The code of what is refused.
pub(super) fn code<T>(result: Result<T, Error>) -> &'static str {
    result.err().expect("a refusal").code()
}

fn task(assurance: &Value) -> Task {
    // Proofs take coarser grids.
    let value_bits = if assurance["kind"] == "norm_proofs" { 16 } else { 20 };
    serde_json::from_value(json!({
        "task_id": "t", "title": "a masked task", "cohort": SITES, "quorum": 4, "rounds": 1, "seed": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "feature_view": {"name": "view", "version": 1, "digest": "0".repeat(64)},
        "model": {"inputs": PARAMS - 1, "hidden": []},
        "recipe": {"local_steps": 1, "sampling_rate": 0.5, "learning_rate": 0.1, "momentum": 0.0, "clip_norm": 1.0,
                   "noise_multiplier": null},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 3.0, "delta": 1e-5}, "evaluation_rho": 0.1},
        "secure_aggregation": {"clip_norm": 10.0, "value_bits": value_bits, "assurance": assurance},
        "deadlines": {"join_ms": 10_000, "collect_ms": 30_000, "evaluate_ms": 10_000, "unmask_ms": 10_000},
        "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0}
    }))
    .unwrap()
}

impl Federation {
    /// A task whose first round is announced.
    pub(super) fn new() -> Self {
        Self::with(&json!({"kind": "none"}))
    }

    /// As [`Self::new`], of a task that asks this of updates that nobody sees.
    pub(super) fn with(assurance: &Value) -> Self {
        let bed = Bed::new();
        let mut core = bed.open().unwrap();
        let one = |(number, name): (u16, &str)| {
            let update = ParamVector::new(vec![f32::from(number) / 4.0; PARAMS]).unwrap();
            (site(name), Site::new(name, update))
        };
        let sites: BTreeMap<_, _> = (1..).zip(SITES).map(one).collect();
        for one in sites.values() {
            core.vouch(&one.id, one.identity.public(), one.keys().agreement).unwrap();
        }
        let document = core.create_task(task(assurance), &ParamVector::zeros(PARAMS)).unwrap();
        let task = Bed::operator_key().public().open(&document).unwrap();
        let (gone, words, task_digest) = (BTreeSet::new(), BTreeMap::new(), document_digest(&document));
        Self { bed, core, sites, task, task_digest, gone, words }
    }

    /// As [`Self::new`], up to a phase which everybody of `SITES` but `gone` has reached.
    pub(super) fn at(phase: &str, gone: &[&str]) -> Self {
        let mut federation = Self::new();
        federation.go_to(phase, gone);
        federation
    }

    /// Goes on to a phase which everybody of `SITES` but `gone` reaches.
    pub(super) fn go_to(&mut self, phase: &str, gone: &[&str]) {
        while self.phase() != phase {
            self.step();
            // Who drops out has joined.
            if self.phase() == "collecting" {
                self.gone = gone.iter().copied().map(site).collect();
            }
        }
    }

    pub(super) fn phase(&self) -> &'static str {
        self.core.state(&task_id()).unwrap().phase()
    }

    pub(super) fn round_id(&self) -> RoundId {
        self.core.state(&task_id()).unwrap().plan().round_id.clone()
    }

    pub(super) fn view(&self, name: &str) -> RoundView {
        self.core.view(&task_id(), &site(name)).unwrap()
    }

    /// Every site that is there does what is due, then time passes.
    pub(super) fn step(&mut self) {
        for name in self.present() {
            // A refusal is about the phase, which is over for this site.
            if let Err(error) = self.act(name) {
                assert!(!is_internal(&error), "{error}");
            }
        }
        self.pass(1);
    }

    /// Who is there.
    pub(super) fn present(&self) -> Vec<&'static str> {
        SITES.into_iter().filter(|name| !self.gone.contains(&site(name))).collect()
    }

    /// Lets ticks pass. Who is there is heard of.
    pub(super) fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.try_pass().unwrap();
        }
    }

    pub(super) fn try_pass(&mut self) -> Result<(), Error> {
        self.bed.clock.advance(TICK);
        let heartbeat = Heartbeat { sent_at: self.bed.clock.now(), activity: Activity::Idle, percent: 0 };
        for id in self.sites.keys().filter(|id| !self.gone.contains(*id)) {
            self.core.heartbeat(id, &heartbeat);
        }
        self.core.tick()
    }

    /// Runs to the task's end.
    pub(super) fn finish(&mut self) -> Outcome {
        for _ in 0..PATIENCE {
            self.step();
            if let Some(outcome) = self.core.outcome(&task_id()).unwrap() {
                return outcome;
            }
        }
        panic!("the task does not end: {:?}", self.core.state(&task_id()));
    }

    /// A site looks, decides by the production function, and acts.
    pub(super) fn act(&mut self, name: &str) -> Result<(), Error> {
        let view = self.core.view(&task_id(), &site(name))?;
        match due(&view, LatePolicy::Drop, &self.sites[&site(name)].held) {
            Action::Wait => Ok(()),
            Action::Join => self.join(name),
            Action::Fetch(digest) => {
                let bytes = self.core.params(digest)?;
                assert_eq!(shared_crypto::bulk_digest(&bytes), digest);
                self.one(name).held.params.push(digest);
                Ok(())
            }
            Action::Train => self.train(name, &view),
            Action::Deliver(_) => self.deliver(name),
            Action::Drop(_) => {
                self.one(name).held.prepared = None;
                Ok(())
            }
            Action::Open => {
                let document = self.opened(name)?;
                self.core.open_update(&[(site(name), document)])?.remove(0)
            }
            Action::Prove => {
                let request = self.proof(name)?;
                self.core.prove_update(&[(site(name), request)])?.remove(0)
            }
            Action::Agree => {
                let document = self.agreement(name)?;
                self.core.agree(&[(site(name), document)])?.remove(0)
            }
            Action::Reveal => {
                let document = self.reveal(name)?;
                self.core.reveal(&[(site(name), document)])?.remove(0)
            }
            Action::Verify(candidate) => self.verify(name, &view, candidate),
            Action::Evaluate(candidate) => {
                let evaluation = self.sites[&site(name)].evaluation(&view.round_id, candidate);
                self.core.evaluate(&[(site(name), evaluation)])?.remove(0)?;
                self.one(name).held.evaluated = Some(view.round_id.number);
                Ok(())
            }
        }
    }

    pub(super) fn one(&mut self, name: &str) -> &mut Site {
        self.sites.get_mut(&site(name)).unwrap()
    }

    /// What a site joins with.
    pub(super) fn join_request(&self, name: &str) -> JoinRequest {
        let one = &self.sites[&site(name)];
        one.member(&self.task, self.task_digest).join(&one.kept, &self.round_id()).unwrap()
    }

    fn join(&mut self, name: &str) -> Result<(), Error> {
        let request = self.join_request(name);
        self.core.join(&[(site(name), request)])?.remove(0)?;
        let number = self.round_id().number;
        self.one(name).held.joined = Some(number);
        Ok(())
    }

    fn train(&mut self, name: &str, view: &RoundView) -> Result<(), Error> {
        let plan = self.documents(name, MaskingStage::Plan)?;
        let masked = self.sites[&site(name)].masked((&self.task, self.task_digest), view, &plan);
        let task_digest = self.task_digest;
        self.one(name).prepare(task_digest, view, masked);
        Ok(())
    }

    /// Sends the prepared update of a site.
    pub(super) fn deliver(&mut self, name: &str) -> Result<(), Error> {
        let (open, payload) = self.sites[&site(name)].prepared.clone().unwrap();
        if let Opening::Upload(mut upload) = self.core.open_upload(&site(name), &open)? {
            let rest = usize::try_from(upload.durable()).unwrap();
            for (offset, chunk) in (upload.durable()..).step_by(CHUNK_BYTES).zip(payload[rest..].chunks(CHUNK_BYTES)) {
                self.core.take_chunk(&mut upload, offset, chunk)?;
            }
            self.core.finish(vec![upload])?.remove(0)?;
        }
        let number = self.round_id().number;
        let one = self.one(name);
        (one.prepared, one.held.prepared, one.held.delivered) = (None, None, Some(number));
        Ok(())
    }

    /// Why the first round that was aborted ended.
    pub(super) fn abort_reason(&self) -> Option<AbortReason> {
        self.bed.events().into_iter().find_map(|event| match event {
            RoundEvent::Aborted { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// What opens a site's update.
    pub(super) fn opened(&mut self, name: &str) -> Result<SignedDocument, Error> {
        let documents = self.with_plan(name, MaskingStage::Draw)?;
        let view = self.view(name);
        let one = &self.sites[&site(name)];
        let (member, own) = (one.member(&self.task, self.task_digest), one.header.as_ref().unwrap());
        Ok(member.open_once(&one.kept, &view.round_id, view.checkpoint, own, &documents).unwrap())
    }

    /// What a site proves of its update.
    pub(super) fn proof(&mut self, name: &str) -> Result<ProofRequest, Error> {
        let documents = self.with_plan(name, MaskingStage::Challenge)?;
        let (round_id, checkpoint) = (self.round_id(), self.view(name).checkpoint);
        let one = &self.sites[&site(name)];
        let member = one.member(&self.task, self.task_digest);
        let (plan, question) = member.challenged(&one.kept, &round_id, checkpoint, &documents).unwrap();
        let direction = question.said.direction.map(|digest| self.core.params(digest)).transpose()?.unwrap_or_default();
        let (own, payload) = (one.header.as_ref().unwrap(), one.payload.as_slice());
        let asked = Asked { own, payload, direction: &direction };
        Ok(member.prove_once(&one.kept, &plan, &question, &asked).unwrap())
    }

    /// The documents of a stage, and those that the plan is checked with.
    fn with_plan(&mut self, name: &str, stage: MaskingStage) -> Result<Vec<SignedDocument>, Error> {
        let mut documents = self.documents(name, stage)?;
        documents.extend(self.documents(name, MaskingStage::Plan)?);
        Ok(documents)
    }

    /// What a site agrees to.
    pub(super) fn agreement(&mut self, name: &str) -> Result<SignedDocument, Error> {
        let documents = self.with_plan(name, MaskingStage::Survivors)?;
        let view = self.view(name);
        let one = &self.sites[&site(name)];
        let (member, own) = (one.member(&self.task, self.task_digest), one.header.as_ref().unwrap());
        Ok(member.agree_once(&one.kept, &view.round_id, view.checkpoint, own, &documents).unwrap())
    }

    /// What a site reveals.
    pub(super) fn reveal(&mut self, name: &str) -> Result<SignedDocument, Error> {
        let sealed = self.core.sealed_shares(&site(name), &task_id())?;
        self.reveal_of(name, &sealed)
    }

    /// What a site reveals of what it was handed.
    pub(super) fn reveal_of(&mut self, name: &str, sealed: &[SealedShare]) -> Result<SignedDocument, Error> {
        let agreements = self.documents(name, MaskingStage::Agreements)?;
        let one = &self.sites[&site(name)];
        let member = one.member(&self.task, self.task_digest);
        Ok(member.reveal_once(&one.kept, &self.round_id(), &agreements, sealed).unwrap())
    }

    /// A site's reveal, changed and signed again.
    pub(super) fn lie(&mut self, name: &str, change: impl FnOnce(&mut Reveal)) -> SignedDocument {
        let honest = self.reveal(name).unwrap();
        let one = &self.sites[&site(name)];
        let mut reveal: Reveal = one.identity.public().open(&honest).unwrap();
        change(&mut reveal);
        one.identity.sign(&reveal).unwrap()
    }

    /// An agreement to other survivors.
    pub(super) fn other_agreement(&self, name: &str) -> SignedDocument {
        let (round_id, survivors) = (self.round_id(), Digest([9; 32]));
        self.sites[&site(name)].identity.sign(&Agreement { round_id, participant_id: site(name), survivors }).unwrap()
    }

    fn verify(&mut self, name: &str, view: &RoundView, candidate: Digest) -> Result<(), Error> {
        let documents = self.documents(name, MaskingStage::Sum)?;
        let one = &self.sites[&site(name)];
        let (member, kept) = (one.member(&self.task, self.task_digest), one.kept.joined(&view.round_id).unwrap());
        let (agreed, by) = (kept.agreed.unwrap(), kept.agreed_by);
        let survivors = document_digest(&agreed.survivors);
        let announced = member.check_announced(&agreed.plan, (survivors, &by), &documents).unwrap();
        let words = self.core.params(announced.said.sum)?;
        let checkpoint = ParamVector::from_le_bytes(&self.core.params(view.checkpoint)?, PARAMS).unwrap();
        member.check_sum(&announced, &Sum { words: &words, checkpoint: &checkpoint, candidate }).unwrap();
        self.one(name).held.verified = Some(view.round_id.number);
        Ok(())
    }

    /// The documents of a stage; what the coordinator signed of them is noted.
    pub(super) fn documents(&mut self, name: &str, stage: MaskingStage) -> Result<Vec<SignedDocument>, Error> {
        let round_id = self.round_id();
        let documents = self.core.masking_documents(&site(name), &round_id, stage)?;
        let stage = match stage {
            MaskingStage::Plan => "plan",
            MaskingStage::Draw => "draw",
            MaskingStage::Challenge => "challenge",
            MaskingStage::Survivors => "survivors",
            MaskingStage::Sum => "sum",
            MaskingStage::Agreements | MaskingStage::Unspecified => return Ok(documents),
        };
        self.words.entry((round_id.number, stage)).or_default().insert(document_digest(&documents[0]));
        Ok(documents)
    }

    /// The candidate of the first round.
    pub(super) fn candidate(&self) -> ParamVector {
        let record = self.core.record(&first()).unwrap().expect("a committed round");
        ParamVector::from_le_bytes(&self.core.params(record.candidate).unwrap(), PARAMS).unwrap()
    }

    pub(super) fn proofs(&self) -> Vec<Proof> {
        self.core.proofs(&first()).unwrap()
    }
}

/// The first round.
pub(super) fn first() -> RoundId {
    RoundId { task_id: task_id(), number: RoundNumber::FIRST }
}
