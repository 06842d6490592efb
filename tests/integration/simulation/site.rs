//! A simulated site: the production decision function, over a memory of which only the durable part survives a kill.

use participant::follow::Held;
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::update::{Evaluation, Join, UpdateHeader, UpdateReceipt};
use shared::{Digest, ParamVector, ParticipantId, RoundId, RoundNumber};
use shared_crypto::{ChunkDigests, SigningKey};
use shared_wire::RoundView;

use super::ground::Bed;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives, and so does the answer.
    Arrives,
    /// It never arrives.
    Lost,
    /// It arrives, but its answer does not.
    AnswerLost,
    /// It arrives twice.
    Twice,
    /// A bit of it is flipped on the way.
    Corrupted,
    /// It stays on the way until it is delivered, perhaps much later and after others.
    HeldUp,
    /// Of an update, so many chunks arrive, then the link breaks; any other message arrives.
    BreaksAfter(u8),
}

/// An update that is durable at its site.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) round: RoundNumber,
    pub(super) header: SignedDocument,
    pub(super) digests: ChunkDigests,
    pub(super) bytes: Vec<u8>,
}

/// A site.
pub(super) struct Site {
    pub(super) id: ParticipantId,
    pub(super) identity: SigningKey,
    /// What it holds, as the decision function sees it.
    pub(super) held: Held,
    pub(super) prepared: Option<Prepared>,
    pub(super) connected: bool,
    /// How often it trained; noise was paid for each time.
    pub(super) trained: u32,
}

impl Site {
    pub(super) fn new(number: usize) -> Self {
        Self {
            id: ParticipantId::new(format!("site-{number}")).unwrap(),
            identity: SigningKey::from_seed(&[10 + u8::try_from(number).unwrap(); 32]),
            held: Held::default(),
            prepared: None,
            connected: true,
            trained: 0,
        }
    }

    /// Loses what is not durable: fetched parameters, what the coordinator last confirmed, and whom it gave up on.
    pub(super) fn kill(&mut self) {
        self.held.params.clear();
        self.held.joined = None;
        self.held.sits_out = None;
    }

    pub(super) fn join(&self, view: &RoundView, task_digest: Digest) -> SignedDocument {
        let join =
            Join { round_id: view.round_id.clone(), participant_id: self.id.clone(), task_digest, masking: None };
        self.identity.sign(&join).unwrap()
    }

    /// Trains: an update with a 1 at `place` is durable from here on.
    pub(super) fn train(&mut self, view: &RoundView, task_digest: Digest, len: usize, place: usize) {
        let prepared = self.update(&view.round_id, view.checkpoint, task_digest, len, place);
        self.held.prepared = Some(prepared.round);
        self.prepared = Some(prepared);
        self.trained += 1;
    }

    pub(super) fn update(
        &self,
        round_id: &RoundId,
        checkpoint: Digest,
        task_digest: Digest,
        len: usize,
        place: usize,
    ) -> Prepared {
        let mut values = vec![0.0; len];
        values[place] = 1.0;
        let bytes = Encoding::F32.encode(&ParamVector::new(values).unwrap(), &mut |_| ());
        let digests = ChunkDigests::of(&bytes);
        let header = UpdateHeader {
            round_id: round_id.clone(),
            participant_id: self.id.clone(),
            task_digest,
            checkpoint,
            encoding: Encoding::F32,
            byte_count: u64::try_from(bytes.len()).unwrap(),
            payload: digests.payload(),
            local_steps: 1,
            masked: None,
        };
        Prepared { round: round_id.number, header: self.identity.sign(&header).unwrap(), digests, bytes }
    }

    /// The receipt came: the update need not be kept any more.
    pub(super) fn delivered(&mut self, receipt: &SignedDocument) {
        let receipt: UpdateReceipt = Bed::coordinator_key().public().open(receipt).unwrap();
        let Some(prepared) = self.prepared.take_if(|prepared| prepared.digests.payload() == receipt.payload) else {
            return;
        };
        assert!(receipt.round_id.number >= prepared.round, "an update cannot count before it was trained");
        self.held.prepared = None;
        self.held.delivered = Some(receipt.round_id.number);
    }

    pub(super) fn drop_update(&mut self) {
        self.prepared = None;
        self.held.prepared = None;
    }

    pub(super) fn evaluation(&self, view: &RoundView, candidate: Digest) -> SignedDocument {
        let evaluation = Evaluation {
            round_id: view.round_id.clone(),
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
