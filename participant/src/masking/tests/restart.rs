//! A site that is started again after each step of a masked round goes on with the very same documents, and nothing is
//! masked twice with one key.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::masking::{Agreement, Assurance, Draw, MaskingPlan, RosterKeys, Survivors, threshold};
use shared::update::{Join, UpdateHeader};
use shared_crypto::masking::SealedDealing;
use shared_crypto::{bulk_digest, digest_of};
use shared_wire::{Bytes, JoinRequest, SealedShare, UpdateOpen};

use super::*;
use crate::testing::{Lone, params, participant_id, records, task};
use crate::update::{Assignment, Masking, Updates};

const OTHERS: [&str; 4] = ["b", "c", "d", "e"];

/// Another site, which joined with `offer` and delivered what `own` deals the secret of.
struct Other {
    id: ParticipantId,
    identity: SigningKey,
    agreement: AgreementKey,
    join: Option<SignedDocument>,
    header: Option<SignedDocument>,
    dealing: Vec<u8>,
}

impl Other {
    fn new(name: &str) -> Self {
        let (identity, agreement) = (SigningKey::generate().unwrap(), AgreementKey::generate().unwrap());
        Self { id: site(name), identity, agreement, join: None, header: None, dealing: Vec::new() }
    }
}

/// A coordinator and the other four sites of a task, all of whom keep to the protocol.
pub(super) struct Rest {
    coordinator: SigningKey,
    others: Vec<Other>,
    pub(super) task: Task,
    task_digest: Digest,
}

fn element(identity: &SigningKey) -> Element {
    Element::from(*identity.public().as_bytes())
}

impl Rest {
    fn of(lone: &Lone) -> Self {
        let (assurance, roster) = (Assurance::None, std::collections::BTreeMap::new());
        let terms = SecureAggregation { clip_norm: 10.0, value_bits: 20, assurance, roster };
        Self::in_task(lone, Task { quorum: 4, secure_aggregation: Some(terms), ..task() })
    }

    /// The others in a masked task, whose cohort they make up with the site.
    pub(super) fn in_task(lone: &Lone, mut task: Task) -> Self {
        let others: Vec<Other> = OTHERS.iter().map(|name| Other::new(name)).collect();
        let keys = |identity: &SigningKey, agreement: &AgreementKey| RosterKeys {
            identity: element(identity),
            agreement: agreement.public().into(),
        };
        let roster = others.iter().map(|one| (one.id.clone(), keys(&one.identity, &one.agreement)));
        let own = (participant_id(), keys(&lone.site.identity, &lone.site.agreement));
        let roster: std::collections::BTreeMap<_, _> = roster.chain([own]).collect();
        task.cohort = roster.keys().cloned().collect();
        task.secure_aggregation.as_mut().unwrap().roster = roster;
        let (task_digest, coordinator) = (digest_of(&task).unwrap(), SigningKey::generate().unwrap());
        Self { coordinator, others, task, task_digest }
    }

    pub(super) fn lone<'a>(&'a self, lone: &'a Lone) -> Member<'a> {
        self.member(&lone.site.participant_id, &lone.site.identity, &lone.site.agreement)
    }

    fn member<'a>(
        &'a self,
        participant_id: &'a ParticipantId,
        identity: &'a SigningKey,
        agreement: &'a AgreementKey,
    ) -> Member<'a> {
        let (task, task_digest, coordinator) = (&self.task, self.task_digest, self.coordinator.public());
        Member { task, task_digest, participant_id, identity, agreement, coordinator }
    }

    /// The others join: the plan with everybody's join.
    pub(super) fn plan(&mut self, own: &JoinRequest) -> Vec<SignedDocument> {
        let mut joins = std::collections::BTreeMap::from([(participant_id(), own.join.clone())]);
        for index in 0..self.others.len() {
            let one = &self.others[index];
            let offer = self.member(&one.id, &one.identity, &one.agreement).offer(&round(1)).unwrap();
            let (participant_id, task_digest, masking) = (one.id.clone(), self.task_digest, Some(offer.said.clone()));
            let join = Join { round_id: round(1), participant_id, task_digest, masking };
            let join = one.identity.sign(&join).unwrap();
            joins.insert(one.id.clone(), join.clone());
            self.others[index].join = Some(join);
        }
        let joined = joins.iter().map(|(id, join)| (id.clone(), document_digest(join))).collect();
        let beacon = Some(digest(&BEACON));
        let (task_digest, checkpoint) = (self.task_digest, self.checkpoint());
        let plan = MaskingPlan { round_id: round(1), task_digest, checkpoint, joined, beacon };
        std::iter::once(self.coordinator.sign(&plan).unwrap()).chain(joins.into_values()).collect()
    }

    pub(super) fn checkpoint(&self) -> Digest {
        bulk_digest(&params(0.0).to_le_bytes())
    }

    pub(super) fn assignment(&self, (plan, key): (Plan, shared_crypto::masking::RoundKey)) -> Assignment {
        Assignment {
            round_id: round(1),
            task: Arc::new(self.task.clone()),
            task_digest: self.task_digest,
            checkpoint_digest: self.checkpoint(),
            checkpoint: Arc::new(params(0.0)),
            control: None,
            masking: Some(Masking { plan, key, coordinator: self.coordinator.public() }),
        }
    }

    /// The others deliver: the survivors, all of the cohort but `dropped`.
    fn survivors(&mut self, plan: &SignedDocument, own: &SignedDocument, dropped: &[&str]) -> SignedDocument {
        let mut delivered = std::collections::BTreeMap::from([(participant_id(), document_digest(own))]);
        for index in 0..self.others.len() {
            let one = &self.others[index];
            let secret = shared_crypto::masking::RoundKey::generate().unwrap();
            let member = self.member(&one.id, &one.identity, &one.agreement);
            let dealing = member.deal(&round(1), shared::masking::label::Dealt::SelfMask, &secret).unwrap();
            let header: UpdateHeader = shared::canonical::decode(own.body.as_bytes()).unwrap();
            let header = one.identity.sign(&UpdateHeader { participant_id: one.id.clone(), ..header }).unwrap();
            if !dropped.contains(&one.id.as_str()) {
                delivered.insert(one.id.clone(), document_digest(&header));
            }
            (self.others[index].header, self.others[index].dealing) = (Some(header), dealing);
        }
        let dropped: BTreeSet<ParticipantId> = dropped.iter().map(|name| site(name)).collect();
        let plan = document_digest(plan);
        self.coordinator.sign(&Survivors { round_id: round(1), plan, delivered, dropped }).unwrap()
    }

    /// What the others agree to.
    fn agreements(&self, survivors: &SignedDocument) -> Vec<SignedDocument> {
        let survivors = document_digest(survivors);
        let agreement = |one: &Other| Agreement { round_id: round(1), participant_id: one.id.clone(), survivors };
        self.others.iter().map(|one| one.identity.sign(&agreement(one)).unwrap()).collect()
    }

    /// What was sealed for the site, its own share included.
    fn sealed(&self, open: &UpdateOpen) -> Vec<SealedShare> {
        let circle = Circle::new(&self.task.cohort, &self.task_digest);
        let own = (participant_id(), open.dealing.to_vec());
        let dealings = self.others.iter().map(|one| (one.id.clone(), one.dealing.clone())).chain([own]);
        let share = |(dealer, dealing): (ParticipantId, Vec<u8>)| {
            let dealing = SealedDealing::parse(&dealing, 5, threshold(5)).unwrap();
            let number = circle.share_number(&dealer, &participant_id()).unwrap();
            SealedShare { sealed: dealing.sealed(number).unwrap(), dealer }
        };
        dealings.map(share).collect()
    }
}

pub(super) fn updates(lone: &Lone) -> Updates {
    Updates::new(Arc::clone(&lone.site))
}

fn load(lone: &Lone) -> (UpdateOpen, Bytes) {
    updates(lone).load(&round(1)).unwrap().unwrap()
}

#[test]
fn a_site_that_restarts_after_each_step_of_a_masked_round_says_the_very_same_again() {
    let lone = Lone::new();
    let mut rest = Rest::of(&lone);
    let join = rest.lone(&lone).join(&lone.site.masked, &round(1)).unwrap();
    let lone = lone.reopened();
    assert_eq!(rest.lone(&lone).join(&lone.site.masked, &round(1)).unwrap(), join);

    let plan = rest.plan(&join);
    let planned = |lone: &Lone| rest.lone(lone).planned(&lone.site.masked, &round(1), rest.checkpoint(), &plan);
    let assignment = rest.assignment(planned(&lone).unwrap());
    updates(&lone).prepare(&assignment, &records(), &mut |_| true).unwrap();
    let sent = load(&lone);
    let lone = lone.reopened();
    assert_eq!(load(&lone), sent);
    updates(&lone).prepare(&assignment, &records(), &mut |_| true).unwrap();
    assert_eq!((load(&lone), lone.site.ledger.debits().len()), (sent.clone(), 1));
    assert_eq!(code(planned(&lone)), "masking-secrets-gone", "nothing else is ever masked with this key");
    assert_eq!(rest.lone(&lone).join(&lone.site.masked, &round(1)).unwrap(), join, "the join outlives its secret");

    let own = sent.0.header.clone();
    let survivors = rest.survivors(&plan[0], &own, &[]);
    let shown = |survivors: &SignedDocument| std::iter::once(survivors.clone()).chain(plan.clone()).collect::<Vec<_>>();
    let agree = |rest: &Rest, lone: &Lone, survivors: &SignedDocument| {
        rest.lone(lone).agree_once(&lone.site.masked, &round(1), rest.checkpoint(), &own, &shown(survivors))
    };
    let agreement = agree(&rest, &lone, &survivors).unwrap();
    let lone = lone.reopened();
    assert_eq!(agree(&rest, &lone, &survivors).unwrap(), agreement);
    let agreements = rest.agreements(&survivors);
    let sealed = rest.sealed(&sent.0);

    let reveal = rest.lone(&lone).reveal_once(&lone.site.masked, &round(1), &agreements, &sealed).unwrap();
    let lone = lone.reopened();
    // Whatever it is handed now, it has said what it says of this round.
    assert_eq!(rest.lone(&lone).reveal_once(&lone.site.masked, &round(1), &[], &[]).unwrap(), reveal);
    let said: Reveal = lone.site.identity.public().open(&reveal).unwrap();
    assert_eq!((said.shares.len(), said.unopened.len()), (5, 0));
    let agreed_by = lone.site.masked.joined(&round(1)).unwrap().agreed_by;
    assert_eq!(agreed_by, OTHERS.iter().copied().map(site).collect());

    // Other survivors of the same round, properly signed: one agreement was given, and there is no second one.
    let other = rest.survivors(&plan[0], &own, &["e"]);
    assert_eq!(code(agree(&rest, &lone, &other)), "masking-twice");
    assert_eq!(rest.lone(&lone).reveal_once(&lone.site.masked, &round(1), &agreements, &sealed).unwrap(), reveal);
}

#[test]
fn a_site_that_dies_between_its_debit_and_its_masked_update_pays_again_and_sends_one() {
    let (lone, store) = Lone::new().on_failing_store();
    let mut rest = Rest::of(&lone);
    let join = rest.lone(&lone).join(&lone.site.masked, &round(1)).unwrap();
    let plan = rest.plan(&join);
    let planned = || rest.lone(&lone).planned(&lone.site.masked, &round(1), rest.checkpoint(), &plan).unwrap();
    let mut dies = |_: u32| {
        store.fail(true);
        true
    };
    let died = updates(&lone).prepare(&rest.assignment(planned()), &records(), &mut dies);
    assert_eq!(code(died), "store-engine");
    store.fail(false);
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None, "nothing of it can be sent");
    updates(&lone).prepare(&rest.assignment(planned()), &records(), &mut |_| true).unwrap();
    assert_eq!(lone.site.ledger.debits().len(), 2, "what may have been drawn was paid for");
    load(&lone);
}

#[test]
fn a_site_that_restarts_opens_its_update_once_and_never_after_it_agreed() {
    let lone = Lone::new();
    let mut rest = Rest::of(&lone);
    let sites = u32::try_from(OTHERS.len()).unwrap() + 1;
    rest.task.secure_aggregation.as_mut().unwrap().assurance = Assurance::Openings { sites };
    let join = rest.lone(&lone).join(&lone.site.masked, &round(1)).unwrap();
    let plan = rest.plan(&join);
    let planned = rest.lone(&lone).planned(&lone.site.masked, &round(1), rest.checkpoint(), &plan).unwrap();
    updates(&lone).prepare(&rest.assignment(planned), &records(), &mut |_| true).unwrap();
    let own = load(&lone).0.header;
    let shown = |document: SignedDocument| std::iter::once(document).chain(plan.clone()).collect::<Vec<_>>();
    let draw = Draw { round_id: round(1), plan: document_digest(&plan[0]), beacon: Digest(BEACON) };
    let draw = shown(rest.coordinator.sign(&draw).unwrap());
    let open = |rest: &Rest, lone: &Lone| {
        rest.lone(lone).open_once(&lone.site.masked, &round(1), rest.checkpoint(), &own, &draw)
    };
    let opened = open(&rest, &lone).unwrap();
    let lone = lone.reopened();
    assert_eq!(open(&rest, &lone).unwrap(), opened);
    let survivors = shown(rest.survivors(&plan[0], &own, &["e"]));
    rest.lone(&lone).agree_once(&lone.site.masked, &round(1), rest.checkpoint(), &own, &survivors).unwrap();
    let lone = lone.reopened();
    assert_eq!(code(open(&rest, &lone)), "masking-secrets-gone");
}
