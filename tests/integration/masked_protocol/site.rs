//! A site of a masked task: the production steps over what it keeps, and an update that is always the same.

use std::sync::Arc;

use participant::follow::Held;
use participant::masking::{Kept, MaskedUpdate, Member};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::masking::{Element, RosterKeys};
use shared::store::{Batch, Store};
use shared::task::Task;
use shared::update::{Evaluation, UpdateHeader};
use shared::{Digest, ParamVector, ParticipantId, RoundId, RoundNumber};
use shared_crypto::masking::AgreementKey;
use shared_crypto::{ChunkDigests, SealKey, SigningKey};
use shared_store::MemoryStore;
use shared_wire::{Bytes, RoundView, UpdateOpen};

use crate::simulation::ground::Bed;

/// A site.
pub(super) struct Site {
    pub(super) id: ParticipantId,
    pub(super) identity: SigningKey,
    pub(super) agreement: AgreementKey,
    /// What `kept` is kept in.
    store: Arc<MemoryStore>,
    pub(super) kept: Kept,
    pub(super) update: ParamVector,
    /// What it holds, as the decision function sees it.
    pub(super) held: Held,
    /// Its masked update, until there is a receipt.
    pub(super) prepared: Option<(UpdateOpen, Vec<u8>)>,
    /// The words of its last masked update.
    pub(super) payload: Vec<u8>,
    /// The signed header of its last update.
    pub(super) header: Option<SignedDocument>,
    /// The rounds that it trained in: each was paid for.
    pub(super) debits: Vec<RoundNumber>,
}

impl Site {
    pub(super) fn new(name: &str, update: ParamVector) -> Self {
        let seal = Arc::new(SealKey::generate().unwrap());
        let store = Arc::new(MemoryStore::default());
        Self {
            id: ParticipantId::new(name).unwrap(),
            identity: SigningKey::generate().unwrap(),
            agreement: AgreementKey::generate().unwrap(),
            kept: Kept::new(Arc::<MemoryStore>::clone(&store), seal),
            store,
            payload: Vec::new(),
            update,
            held: Held { masked: true, ..Held::default() },
            prepared: None,
            header: None,
            debits: Vec::new(),
        }
    }

    pub(super) fn keys(&self) -> RosterKeys {
        let identity = Element::from(*self.identity.public().as_bytes());
        RosterKeys { identity, agreement: self.agreement.public().into() }
    }

    pub(super) fn member<'a>(&'a self, task: &'a Task, task_digest: Digest) -> Member<'a> {
        Member {
            task,
            task_digest,
            participant_id: &self.id,
            identity: &self.identity,
            agreement: &self.agreement,
            coordinator: Bed::coordinator_key().public(),
        }
    }

    /// Masks the site's update for a round, as its plan was shown.
    pub(super) fn masked(
        &self,
        (task, task_digest): (&Task, Digest),
        view: &RoundView,
        plan: &[SignedDocument],
    ) -> MaskedUpdate {
        let member = self.member(task, task_digest);
        let (plan, key) = member.planned(&self.kept, &view.round_id, view.checkpoint, plan).unwrap();
        member.mask(&plan, &key, &self.update, &mut ChaCha20Rng::from_seed([3; 32])).unwrap()
    }

    /// Prepares a masked update to be sent; its round key is used up with it.
    pub(super) fn prepare(&mut self, task_digest: Digest, view: &RoundView, masked: MaskedUpdate) {
        let MaskedUpdate { payload, said, dealing, secrets } = masked;
        let (used_up, kept) = self.kept.used_up(&view.round_id, Some(&secrets)).unwrap();
        self.store.apply(Batch::new().put(used_up, kept)).unwrap();
        self.payload.clone_from(&payload);
        let digests = ChunkDigests::of(&payload);
        let header = UpdateHeader {
            round_id: view.round_id.clone(),
            participant_id: self.id.clone(),
            task_digest,
            checkpoint: view.checkpoint,
            encoding: Encoding::F32,
            byte_count: digests.byte_count(),
            payload: digests.payload(),
            local_steps: 1,
            masked: Some(said),
        };
        let header = self.identity.sign(&header).unwrap();
        self.header = Some(header.clone());
        let open = UpdateOpen { header, chunk_digests: digests.as_slice().to_vec(), dealing: Bytes::from(dealing) };
        self.prepared = Some((open, payload));
        self.held.prepared = Some(view.round_id.number);
        self.debits.push(view.round_id.number);
    }

    /// Has the site send what `change` makes of the words of its prepared update, signed and committed to as before.
    pub(super) fn change_words(&mut self, change: impl FnOnce(&mut [u32])) {
        let (open, payload) = self.prepared.as_mut().unwrap();
        let mut words: Vec<u32> = payload.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        change(&mut words);
        *payload = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let digests = ChunkDigests::of(payload);
        let header: UpdateHeader = self.identity.public().open(&open.header).unwrap();
        let header = self.identity.sign(&UpdateHeader { payload: digests.payload(), ..header }).unwrap();
        (open.header, open.chunk_digests) = (header.clone(), digests.as_slice().to_vec());
        self.payload.clone_from(payload);
        self.header = Some(header);
    }

    pub(super) fn evaluation(&self, round_id: &RoundId, candidate: Digest) -> SignedDocument {
        let evaluation = Evaluation {
            round_id: round_id.clone(),
            participant_id: self.id.clone(),
            candidate,
            true_positives: 9,
            false_negatives: 1,
            false_positives: 1,
            true_negatives: 99,
        };
        self.identity.sign(&evaluation).unwrap()
    }
}
