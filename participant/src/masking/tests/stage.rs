//! A masked round over memory: five sites that keep to the protocol, and a coordinator who is free to lie.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use shared::ParamVector;
use shared::encoding::Encoding;
use shared::masking::label::pair_mask;
use shared::masking::{BLINDING_WORDS, Element, MaskingPlan, Reveal, RosterKeys, Survivors, threshold};
use shared::update::{Join, UpdateHeader};
use shared_crypto::masking::{Interpolation, SealedDealing, SecretScalar, Seed};
use shared_crypto::{digest, document_digest};
use shared_wire::SealedShare;

use super::super::*;
use crate::testing::{round, task};

/// What the plan has the digest of.
pub(super) const BEACON: [u8; 32] = [9; 32];

pub(super) const SITES: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(super) fn site(name: &str) -> ParticipantId {
    ParticipantId::new(name).unwrap()
}

/// A site with all that it knows of the round.
pub(super) struct One {
    pub(super) id: ParticipantId,
    pub(super) identity: SigningKey,
    pub(super) agreement: AgreementKey,
    pub(super) offer: Offer,
    pub(super) join: SignedDocument,
    pub(super) update: ParamVector,
    pub(super) masked: Option<(MaskedUpdate, SignedDocument)>,
}

/// Five sites and a coordinator, who is free to lie.
pub(super) struct Stage {
    pub(super) task: Task,
    pub(super) task_digest: Digest,
    pub(super) coordinator: SigningKey,
    pub(super) sites: BTreeMap<ParticipantId, One>,
    pub(super) plan: SignedDocument,
}

fn keys(identity: &SigningKey, agreement: &AgreementKey) -> RosterKeys {
    RosterKeys { identity: Element::from(*identity.public().as_bytes()), agreement: agreement.public().into() }
}

fn masked_task() -> Task {
    let (assurance, roster) = (shared::masking::Assurance::None, BTreeMap::new());
    let terms = SecureAggregation { clip_norm: 10.0, value_bits: 20, assurance, roster };
    let (cohort, quorum) = (SITES.map(site).into(), 4);
    Task { cohort, quorum, secure_aggregation: Some(terms), ..task() }
}

fn member<'a>(task: &'a Task, task_digest: Digest, coordinator: &SigningKey, one: &'a One) -> Member<'a> {
    Member {
        task,
        task_digest,
        participant_id: &one.id,
        identity: &one.identity,
        agreement: &one.agreement,
        coordinator: coordinator.public(),
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::of(masked_task())
    }

    /// The sites in a masked task, which gets their keys.
    pub(super) fn of(mut task: Task) -> Self {
        let made = SITES.map(|name| (site(name), SigningKey::generate().unwrap(), AgreementKey::generate().unwrap()));
        let roster = made.iter().map(|(id, identity, agreement)| (id.clone(), keys(identity, agreement))).collect();
        task.secure_aggregation.as_mut().unwrap().roster = roster;
        task.validate().unwrap();
        let (task_digest, coordinator) = (digest(b"the task"), SigningKey::generate().unwrap());
        let mut sites = BTreeMap::new();
        for (number, (id, identity, agreement)) in (1_u8..).zip(made) {
            let values = vec![f32::from(number) / 10.0; task.model.param_count()];
            let update = ParamVector::new(values).unwrap();
            let unsaid = identity.sign(&join(&id, task_digest, None)).unwrap();
            let offer = Offer {
                key: shared_crypto::masking::RoundKey::generate().unwrap(),
                said: shared::masking::MaskingOffer { round_key: Element::from([0; 32]), dealing: task_digest },
                dealing: Vec::new(),
            };
            let mut one = One { id: id.clone(), identity, agreement, offer, join: unsaid, update, masked: None };
            one.offer = member(&task, task_digest, &coordinator, &one).offer(&round(1)).unwrap();
            one.join = one.identity.sign(&join(&id, task_digest, Some(one.offer.said.clone()))).unwrap();
            sites.insert(id, one);
        }
        let plan = coordinator.sign(&plan(task_digest, &sites)).unwrap();
        Self { task, task_digest, coordinator, sites, plan }
    }

    pub(super) fn member(&self, name: &str) -> Member<'_> {
        member(&self.task, self.task_digest, &self.coordinator, &self.sites[&site(name)])
    }

    /// The plan and everybody's join.
    pub(super) fn plan_documents(&self) -> Vec<SignedDocument> {
        std::iter::once(self.plan.clone()).chain(self.sites.values().map(|one| one.join.clone())).collect()
    }

    pub(super) fn check_plan(&self, name: &str, documents: &[SignedDocument]) -> Result<Plan, SiteError> {
        self.member(name).check_plan(&round(1), checkpoint(), &self.sites[&site(name)].join, documents)
    }

    /// Has `names` mask and deliver their updates.
    pub(super) fn deliver(&mut self, names: &[&str]) {
        self.deliver_with(names, |member, plan, one| {
            member.mask(plan, &one.offer.key, &one.update, &mut ChaCha20Rng::from_seed([3; 32])).unwrap()
        });
    }

    /// Has `names` deliver what `mask` makes.
    pub(super) fn deliver_with(&mut self, names: &[&str], mask: impl Fn(&Member<'_>, &Plan, &One) -> MaskedUpdate) {
        for name in names {
            let plan = self.check_plan(name, &self.plan_documents()).unwrap();
            let (member, one) = (self.member(name), &self.sites[&site(name)]);
            let masked = mask(&member, &plan, one);
            let header = one.identity.sign(&header(&one.id, self.task_digest, &masked)).unwrap();
            self.sites.get_mut(&site(name)).unwrap().masked = Some((masked, header));
        }
    }

    pub(super) fn header(&self, name: &str) -> &SignedDocument {
        &self.sites[&site(name)].masked.as_ref().unwrap().1
    }

    /// The set of survivors as it is.
    pub(super) fn survivors(&self) -> Survivors {
        let delivered = self.sites.values().filter(|one| one.masked.is_some());
        let digests = delivered.map(|one| (one.id.clone(), document_digest(self.header(one.id.as_str()))));
        let dropped = self.sites.values().filter(|one| one.masked.is_none()).map(|one| one.id.clone()).collect();
        let plan = document_digest(&self.plan);
        Survivors { round_id: round(1), plan, delivered: digests.collect(), dropped }
    }

    pub(super) fn plan_said(&self) -> MaskingPlan {
        self.coordinator.public().open(&self.plan).unwrap()
    }

    pub(super) fn check_survivors(&self, name: &str, survivors: &Survivors) -> Result<Survivors, SiteError> {
        let document = self.coordinator.sign(survivors).unwrap();
        let plan = self.plan_said();
        self.member(name).check_survivors((&plan, document_digest(&self.plan)), self.header(name), &document)
    }

    pub(super) fn agreements(&self, survivors: &Survivors, names: &[&str]) -> (Digest, Vec<SignedDocument>) {
        let document = self.coordinator.sign(survivors).unwrap();
        let agreements = names.iter().map(|name| self.member(name).agree(survivors, &document).unwrap()).collect();
        (document_digest(&document), agreements)
    }

    /// What was sealed for `name`, of each dealer.
    pub(super) fn sealed(&self, name: &str, survivors: &Survivors) -> Vec<SealedShare> {
        let circle = Circle::new(&self.task.cohort, &self.task_digest);
        let share = |one: &One| {
            let dealing = match survivors.delivered.contains_key(&one.id) {
                true => &one.masked.as_ref().unwrap().0.dealing,
                false => &one.offer.dealing,
            };
            let dealing = SealedDealing::parse(dealing, SITES.len(), threshold(SITES.len())).unwrap();
            let number = circle.share_number(&one.id, &site(name)).unwrap();
            SealedShare { dealer: one.id.clone(), sealed: dealing.sealed(number).unwrap() }
        };
        self.sites.values().map(share).collect()
    }

    pub(super) fn reveal(&self, name: &str, survivors: &Survivors, agreed: &[&str]) -> Result<Reveal, SiteError> {
        let (digest, agreements) = self.agreements(survivors, agreed);
        let revealed = self.member(name).reveal((survivors, digest), &agreements, &self.sealed(name, survivors))?;
        Ok(self.sites[&site(name)].identity.public().open(&revealed.said)?)
    }

    /// The sum of the delivered updates' words, unmasked as the coordinator does it.
    pub(super) fn unmasked(&self, reveals: &[Reveal], survivors: &Survivors) -> Vec<u32> {
        let circle = Circle::new(&self.task.cohort, &self.task_digest);
        let secret = |dealer: &ParticipantId| {
            let numbers = reveals.iter().map(|reveal| circle.share_number(dealer, &reveal.participant_id).unwrap());
            let numbers: Vec<u32> = numbers.collect();
            let shares = reveals.iter().map(|reveal| SecretScalar::try_from(&reveal.shares[dealer]).unwrap());
            let shares: Vec<SecretScalar> = shares.collect();
            Interpolation::at(&numbers, threshold(SITES.len())).unwrap().secret(&shares).unwrap()
        };
        let (plan, plan_digest) = (self.plan_said(), document_digest(&self.plan));
        let mut words = vec![0_u32; self.task.update_len() + BLINDING_WORDS];
        for id in survivors.delivered.keys() {
            let payload = &self.sites[id].masked.as_ref().unwrap().0.payload;
            let read = payload.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
            words.iter_mut().zip(read).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
            let own = shared::masking::label::self_mask(&plan, plan_digest, id);
            Seed::of_scalar(&secret(id), &own).sub_mask(0, &mut words);
            for dropped in &survivors.dropped {
                let key = shared_crypto::masking::RoundKey::from_scalar(secret(dropped));
                let seed =
                    key.pair_seed(&self.sites[id].offer.key.public(), &pair_mask(&plan, plan_digest, id, dropped));
                if id < dropped { seed.sub_mask(0, &mut words) } else { seed.add_mask(0, &mut words) }
            }
        }
        words
    }
}

pub(super) fn checkpoint() -> Digest {
    digest(b"the model")
}

pub(super) fn join(id: &ParticipantId, task_digest: Digest, masking: Option<shared::masking::MaskingOffer>) -> Join {
    Join { round_id: round(1), participant_id: id.clone(), task_digest, masking }
}

fn plan(task_digest: Digest, sites: &BTreeMap<ParticipantId, One>) -> MaskingPlan {
    let joined = sites.values().map(|one| (one.id.clone(), document_digest(&one.join))).collect();
    MaskingPlan { round_id: round(1), task_digest, checkpoint: checkpoint(), joined, beacon: Some(digest(&BEACON)) }
}

pub(super) fn header(id: &ParticipantId, task_digest: Digest, masked: &MaskedUpdate) -> UpdateHeader {
    UpdateHeader {
        round_id: round(1),
        participant_id: id.clone(),
        task_digest,
        checkpoint: checkpoint(),
        encoding: Encoding::F32,
        byte_count: u64::try_from(masked.payload.len()).unwrap(),
        payload: digest(&masked.payload),
        local_steps: 1,
        masked: Some(masked.said.clone()),
    }
}
