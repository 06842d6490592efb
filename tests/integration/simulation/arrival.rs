//! What arrives at the simulated coordinator, whole or not, and what its sender hears of it.

use coordinator::Error;
use coordinator::core::{Core, Opening, State};
use shared::document::SignedDocument;
use shared::round::RoundState;
use shared::update::{CHUNK_BYTES, UpdateReceipt};
use shared::{Explain, ParticipantId};
use shared_wire::{Bytes, JoinRequest, UpdateOpen};

use super::ground::Bed;
use super::site::{Fate, Prepared, Site};
use super::world::{Message, World, task_id};

/// Takes joins of a round that is not masked.
fn join(core: &mut Core, documents: &[(ParticipantId, SignedDocument)]) -> Result<Vec<Result<(), Error>>, Error> {
    let requests: Vec<(ParticipantId, JoinRequest)> =
        documents.iter().map(|(id, document)| (id.clone(), document.clone().into())).collect();
    core.join(&requests)
}

impl World {
    pub(super) fn arrive(&mut self, site: usize, message: &Message, fate: Fate) {
        match message {
            Message::Join(document) => self.arrive_document(site, document, fate, join),
            Message::Evaluation(document) => self.arrive_document(site, document, fate, Core::evaluate),
            Message::Update(prepared) => self.arrive_update(site, prepared, fate),
        }
    }

    fn arrive_document(
        &mut self,
        site: usize,
        document: &SignedDocument,
        fate: Fate,
        take: impl FnOnce(&mut Core, &[(ParticipantId, SignedDocument)]) -> Result<Vec<Result<(), Error>>, Error>,
    ) {
        let corrupted = fate == Fate::Corrupted;
        let document = if corrupted { flipped(document) } else { document.clone() };
        let from = self.sites[site].id.clone();
        let is_evaluation = document.body.contains("true_positives");
        let round =
            self.core.as_ref().and_then(|core| core.state(&task_id()).ok()).map(|state| state.plan().round_id.number);
        let Some(answers) = self.try_ask(|core| take(core, &[(from, document)])) else { return };
        assert!(!(corrupted && answers.iter().any(Result::is_ok)), "a corrupted document was taken");
        if matches!(fate, Fate::Arrives | Fate::BreaksAfter(_)) {
            match (&answers[0], is_evaluation) {
                (Ok(()), false) => self.sites[site].held.joined = round,
                (Ok(()), true) => self.sites[site].held.evaluated = round,
                (Err(error), _) => sit_out(&mut self.sites[site], error, self.core.as_ref()),
            }
        }
    }

    /// An update goes chunk by chunk, as far as its fate lets it.
    fn arrive_update(&mut self, site: usize, prepared: &Prepared, fate: Fate) {
        let (from, chunk_digests) = (self.sites[site].id.clone(), prepared.digests.as_slice().to_vec());
        let header =
            if fate == Fate::Corrupted && self.toss() { flipped(&prepared.header) } else { prepared.header.clone() };
        let open = UpdateOpen { header, chunk_digests, dealing: Bytes::new() };
        let opening = match self.core.as_mut().map(|core| core.open_upload(&from, &open)) {
            Some(Ok(opening)) => opening,
            Some(Err(error)) => return self.refused(site, fate, &error),
            None => return,
        };
        let receipt = match opening {
            Opening::Receipt(receipt) => receipt,
            Opening::Upload(mut upload) => {
                let start = usize::try_from(upload.durable()).unwrap();
                assert!(start <= prepared.bytes.len(), "it resumes beyond the end");
                let chunks = prepared.bytes[start..].chunks(CHUNK_BYTES).enumerate();
                for (number, chunk) in chunks {
                    if fate == Fate::BreaksAfter(u8::try_from(number).unwrap()) {
                        return;
                    }
                    let offset = u64::try_from(start + number * CHUNK_BYTES).unwrap();
                    let mut chunk = chunk.to_vec();
                    if fate == Fate::Corrupted {
                        chunk[0] ^= 1;
                    }
                    match self.core.as_mut().map(|core| core.take_chunk(&mut upload, offset, &chunk)) {
                        Some(Ok(())) => assert_ne!(fate, Fate::Corrupted, "a corrupted chunk was taken"),
                        Some(Err(error)) => return self.refused(site, fate, &error),
                        None => return,
                    }
                }
                let Some(answers) = self.try_ask(|core| core.finish(vec![upload])) else { return };
                match answers.into_iter().next().unwrap() {
                    Ok(receipt) => receipt,
                    Err(error) => return self.refused(site, fate, &error),
                }
            }
        };
        let read: UpdateReceipt = Bed::coordinator_key().public().open(&receipt).unwrap();
        self.oracle.receipt(&self.sites[site].id, read.payload, read.round_id.number);
        if fate != Fate::AnswerLost {
            self.sites[site].delivered(&receipt);
        }
    }

    /// The coordinator said no: to the site that is a reason to sit out; where its own ground failed it is a crash.
    fn refused(&mut self, site: usize, fate: Fate, error: &Error) {
        if is_internal(error) {
            return self.crash();
        }
        if !matches!(fate, Fate::Corrupted | Fate::AnswerLost) {
            sit_out(&mut self.sites[site], error, self.core.as_ref());
        }
    }

    /// Signs a second, different update for the round of the present one and sends it.
    pub(super) fn equivocate(&mut self, site: usize) {
        let Some(core) = &self.core else { return };
        let Ok(state) = core.state(&task_id()) else { return };
        let RoundState::Collecting(collecting) = &*state else { return };
        let plan = &collecting.plan;
        let id = self.sites[site].id.clone();
        let own = collecting.accepted.get(&id).filter(|update| update.trained_in == plan.round_id.number);
        let place = self.oracle.next_place();
        if own.is_none() || place >= self.setting.len() {
            return;
        }
        let (round_id, checkpoint) = (plan.round_id.clone(), plan.checkpoint);
        let second = self.sites[site].update(&round_id, checkpoint, self.task_digest, self.setting.len(), place);
        self.oracle.made(second.digests.payload(), place);
        self.oracle.equivocators.insert(id.clone());
        let (header, chunk_digests) = (second.header, second.digests.as_slice().to_vec());
        let open = UpdateOpen { header, chunk_digests, dealing: Bytes::new() };
        let opened = self.core.as_mut().map(|core| core.open_upload(&id, &open));
        match opened {
            Some(Ok(_)) => panic!("a second update was taken"),
            Some(Err(error)) if is_internal(&error) => self.crash(),
            Some(Err(error)) => {
                assert!(matches!(error.code(), "round-equivocation" | "participant-quarantined"), "{error}");
                let standing = self.core.as_ref().and_then(|core| core.standing(&id));
                assert_eq!(standing, Some(State::Quarantined), "who signs two updates is quarantined");
            }
            None => {}
        }
    }
}

/// The document with another signature.
fn flipped(document: &SignedDocument) -> SignedDocument {
    let last = if document.signature.ends_with('0') { '1' } else { '0' };
    let kept = &document.signature[..document.signature.len() - 1];
    SignedDocument { signature: format!("{kept}{last}"), ..document.clone() }
}

/// Whether the coordinator's own store or disk failed, as when it is killed.
pub(crate) fn is_internal(error: &Error) -> bool {
    matches!(error.code(), "store-engine" | "disk" | "disk-full" | "unavailable")
}

/// A refusal ends what the site can do in this phase.
fn sit_out(site: &mut Site, error: &Error, core: Option<&Core>) {
    let view = core.and_then(|core| core.view(&task_id(), &site.id).ok());
    if let Some(view) = view.filter(|_| !is_internal(error)) {
        site.held.sits_out = Some((view.round_id.number, view.phase));
    }
}
