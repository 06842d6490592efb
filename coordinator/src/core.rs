//! The coordinator without sockets, threads or waiting: what joining, uploading, evaluating and the passing of time do.
//!
//! The gRPC service and the actors call the same functions as this does; it adds nothing to them, and exists so that a
//! simulation can drive the production code under a clock, a store and a disk of its own. To crash, drop the [`Core`] and
//! its [`Upload`]s (and let the disk crash); to restart, [`Core::open`] on what is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::document::SignedDocument;
use shared::masking::{Agreement, Element, NormClaim, OpenedUpdate, Reveal};
use shared::release::RoundRecord;
use shared::round::RoundState;
use shared::store::Store;
use shared::task::Task;
use shared::update::{Evaluation, Join, UpdateHeader};
use shared::{Clock, Digest, ParamVector, ParticipantId, RoundId, TaskId};
use shared_crypto::{PublicKey, SigningKey};
use shared_wire::{Heartbeat, JoinRequest, MaskingStage, ProofRequest, RoundView, SealedShare, UpdateOpen};

pub use crate::blob::memory::MemoryDisk;
pub use crate::blob::{Disk, DiskFile};
use crate::config::{Enrolment, Limits};
use crate::context::{Context, Signers};
use crate::enrol::Participant;
pub use crate::enrol::State;
use crate::intake::{self, Opened};
pub use crate::presence::{Presence, Seen};
pub use crate::proof::Proof;
use crate::round::actor::Order;
use crate::round::driver::{Driver, Proposal};
use crate::task::Outcome;
use crate::{Error, durable, masking, proof};

/// What a coordinator stands on.
#[derive(Clone)]
pub struct Ground {
    /// Events, documents and receipts.
    pub store: Arc<dyn Store>,
    /// Parameters and updates.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Signs tasks.
    pub operator: SigningKey,
    /// Signs receipts, records and releases.
    pub coordinator: SigningKey,
    /// Signs the audit log's checkpoints.
    pub log: SigningKey,
    /// What is refused for being too much.
    pub limits: Limits,
}

/// A coordinator that one caller drives.
pub struct Core {
    context: Arc<Context>,
    drivers: BTreeMap<TaskId, Driver>,
}

/// An update on its way in. Dropped, it is what a broken link leaves: what was taken stays in its file.
pub struct Upload(Box<intake::Upload>);

/// What came of opening an update.
pub enum Opening {
    /// It was accepted before; this is the receipt.
    Receipt(SignedDocument),
    /// It may be sent from [`Upload::durable`] on.
    Upload(Upload),
}

impl Upload {
    /// Everything before this byte is on disk.
    pub fn durable(&self) -> u64 {
        self.0.durable()
    }

    /// Whether all of it has come.
    pub fn is_complete(&self) -> bool {
        self.0.is_complete()
    }
}

impl Core {
    /// Takes up what the store and the disk hold.
    pub fn open(ground: Ground) -> Result<Self, Error> {
        let Ground { store, disk, clock, operator, coordinator, log, limits } = ground;
        let signers = Signers { operator, coordinator, log };
        let context = Context::open(store, disk, clock, signers, Enrolment::default(), &limits)?;
        let mut drivers = BTreeMap::new();
        for task_id in durable::task_ids(&*context.store)? {
            drivers.insert(task_id.clone(), Driver::open(Arc::clone(&context), &task_id)?);
        }
        Ok(Self { context, drivers })
    }

    /// Takes a participant in without token and certificate.
    pub fn vouch(
        &mut self,
        participant_id: &ParticipantId,
        identity_key: PublicKey,
        agreement_key: Element,
    ) -> Result<(), Error> {
        self.context.registry.vouch(participant_id, identity_key, agreement_key, self.context.clock.now())
    }

    /// Where a participant stands.
    pub fn standing(&self, participant_id: &ParticipantId) -> Option<State> {
        self.context.registry.state(participant_id)
    }

    /// Signs and stores a task, and announces its first round.
    pub fn create_task(&mut self, task: Task, initial: &ParamVector) -> Result<SignedDocument, Error> {
        let task = self.context.create_task(task, initial)?;
        let task_id = task.task.task_id;
        self.drivers.insert(task_id.clone(), Driver::open(Arc::clone(&self.context), &task_id)?);
        Ok(task.document)
    }

    /// Takes the joins of `requests`, each from whom it names as sender, in one batch.
    pub fn join(&mut self, requests: &[(ParticipantId, JoinRequest)]) -> Result<Vec<Result<(), Error>>, Error> {
        self.offer_all(requests, |core, (sender, request)| {
            let sender = core.sender(sender)?;
            let join: Join = intake::open(&request.join, &sender)?;
            let driver = core.driver(&join.round_id.task_id)?;
            intake::join(&core.context, request, &join, driver.task(), &driver.snapshot())
        })
    }

    /// Opens an update, or gives the receipt of one that was accepted before.
    pub fn open_upload(&mut self, sender: &ParticipantId, open: &UpdateOpen) -> Result<Opening, Error> {
        let sender = self.sender(sender)?;
        let UpdateOpen { header: document, chunk_digests, dealing } = open.clone();
        let header: UpdateHeader = intake::open(&document, &sender)?;
        let driver = self.driver(&header.round_id.task_id)?;
        let place = self.context.senders.enter(&header.participant_id)?;
        let (signed, claimed, sum) = (document.clone(), header.clone(), driver.sum());
        let open = intake::Open { document: signed, header: claimed, chunk_digests, dealing, place, sum };
        let opened = intake::open_upload(&self.context, driver.task(), &driver.snapshot(), open);
        Ok(match intake::convict(&self.context, &document, &header.round_id, opened)? {
            Opened::Known(receipt) => Opening::Receipt(receipt),
            Opened::Upload(upload) => Opening::Upload(Upload(upload)),
        })
    }

    /// Takes the next chunk of an update.
    pub fn take_chunk(&mut self, upload: &mut Upload, offset: u64, data: &[u8]) -> Result<(), Error> {
        let Upload(upload) = upload;
        let header = upload.header();
        self.context.presence.progress(&header.participant_id, self.context.clock.now());
        upload.still_fits(&self.driver(&header.round_id.task_id)?.snapshot())?;
        upload.take(&self.context, offset, data)
    }

    /// Offers whole updates to their rounds, in one batch; the receipts are durable.
    pub fn finish(&mut self, uploads: Vec<Upload>) -> Result<Vec<Result<SignedDocument, Error>>, Error> {
        let sent: Vec<_> = uploads.iter().map(|Upload(upload)| upload.signed()).collect();
        let mut uploads: Vec<_> = uploads.into_iter().map(Some).collect();
        let offered = self.offer_each(&mut uploads, |core, upload| {
            let Upload(upload) = upload.take().ok_or(Error::Unavailable)?;
            let plan = Arc::clone(core.driver(&upload.header().round_id.task_id)?.snapshot().state.plan());
            upload.finish(&core.context, &plan)
        })?;
        let settled = offered.into_iter().zip(&sent).map(|(offered, (document, header))| {
            intake::convict(&self.context, document, &header.round_id, offered)?;
            intake::receipt(&self.context, header)
        });
        Ok(settled.collect())
    }

    /// Takes the evaluations of `documents`, each from whom it names as sender, in one batch.
    pub fn evaluate(&mut self, documents: &[(ParticipantId, SignedDocument)]) -> Result<Vec<Result<(), Error>>, Error> {
        self.offer_all(documents, |core, (sender, document)| {
            let sender = core.sender(sender)?;
            let evaluation: Evaluation = intake::open(document, &sender)?;
            let driver = core.driver(&evaluation.round_id.task_id)?;
            intake::evaluation(document, evaluation, &driver.snapshot(), core.context.clock.now())
        })
    }

    /// The documents of a masked round that a participant needs at a stage.
    pub fn masking_documents(
        &self,
        caller: &ParticipantId,
        round_id: &RoundId,
        stage: MaskingStage,
    ) -> Result<Vec<SignedDocument>, Error> {
        let task = &self.driver(&round_id.task_id)?.task().task;
        masking::documents(&self.context, task, caller, round_id, stage)
    }

    /// What was sealed for a participant in the present round of a task.
    pub fn sealed_shares(&self, caller: &ParticipantId, task_id: &TaskId) -> Result<Vec<SealedShare>, Error> {
        let driver = self.driver(task_id)?;
        masking::sealed_shares(&self.context, &driver.task().task, &driver.snapshot().state, caller)
    }

    /// Takes the opened updates of `documents`, each from whom it names as sender, in one batch.
    pub fn open_update(
        &mut self,
        documents: &[(ParticipantId, SignedDocument)],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.offer_all(documents, |core, (sender, document)| {
            let opened: OpenedUpdate = intake::open(document, &*core.sender(sender)?)?;
            let driver = core.driver(&opened.round_id.task_id)?;
            masking::opened(&core.context, &driver.task().task, document, &opened, &driver.snapshot())
        })
    }

    /// Takes proofs, each from whom it names as sender, in one batch.
    pub fn prove_update(
        &mut self,
        requests: &[(ParticipantId, ProofRequest)],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.offer_all(requests, |core, (sender, request)| {
            let said: NormClaim = intake::open(&request.said, &*core.sender(sender)?)?;
            let driver = core.driver(&said.round_id.task_id)?;
            masking::proven(&core.context, &driver.task().task, request, &said, &driver.snapshot())
        })
    }

    /// Takes the agreements of `documents`, each from whom it names as sender, in one batch.
    pub fn agree(&mut self, documents: &[(ParticipantId, SignedDocument)]) -> Result<Vec<Result<(), Error>>, Error> {
        self.offer_all(documents, |core, (sender, document)| {
            let agreement: Agreement = intake::open(document, &*core.sender(sender)?)?;
            let driver = core.driver(&agreement.round_id.task_id)?;
            masking::agreement(&core.context, &driver.task().task, document, &agreement, &driver.snapshot())
        })
    }

    /// Takes the reveals of `documents`, each from whom it names as sender, in one batch.
    pub fn reveal(&mut self, documents: &[(ParticipantId, SignedDocument)]) -> Result<Vec<Result<(), Error>>, Error> {
        self.offer_all(documents, |core, (sender, document)| {
            let reveal: Reveal = intake::open(document, &*core.sender(sender)?)?;
            let driver = core.driver(&reveal.round_id.task_id)?;
            masking::reveal(&core.context, &driver.task().task, document, &reveal, &driver.snapshot())
        })
    }

    /// A heartbeat came.
    pub fn heartbeat(&mut self, participant_id: &ParticipantId, heartbeat: &Heartbeat) {
        self.context.presence.heartbeat(participant_id, heartbeat, self.context.clock.now());
    }

    /// Does everything that is due now, for every task. To be called several times a second of the clock: a longer
    /// pause counts as a standstill of the coordinator, during which nobody is lost.
    pub fn tick(&mut self) -> Result<(), Error> {
        self.drivers.values_mut().try_for_each(Driver::advance)
    }

    /// Folds what was accepted into the running sums, as another thread does in production; it may come at any moment.
    pub fn fold(&mut self) -> Result<(), Error> {
        self.drivers.values_mut().filter_map(Driver::folding).try_for_each(|fold| fold())
    }

    /// Ends a task.
    pub fn cancel(&mut self, task_id: &TaskId) -> Result<(), Error> {
        self.order(task_id, Order::Cancel)
    }

    /// Lets no round of a task begin after the present one.
    pub fn pause(&mut self, task_id: &TaskId) -> Result<(), Error> {
        self.order(task_id, Order::Pause)
    }

    /// Lets rounds of a task begin again.
    pub fn resume(&mut self, task_id: &TaskId) -> Result<(), Error> {
        self.order(task_id, Order::Resume)
    }

    /// The present round of a task, as its events in the store leave it.
    pub fn state(&self, task_id: &TaskId) -> Result<Arc<RoundState>, Error> {
        Ok(self.driver(task_id)?.snapshot().state)
    }

    /// How a task ended; `None` while it runs.
    pub fn outcome(&self, task_id: &TaskId) -> Result<Option<Outcome>, Error> {
        Ok(self.driver(task_id)?.snapshot().outcome)
    }

    /// The present round as a participant sees it.
    pub fn view(&self, task_id: &TaskId, participant_id: &ParticipantId) -> Result<RoundView, Error> {
        Ok(self.driver(task_id)?.snapshot().view(participant_id, self.context.clock.now()))
    }

    /// The record of a committed round.
    pub fn record(&self, round_id: &RoundId) -> Result<Option<RoundRecord>, Error> {
        let document: Option<SignedDocument> = durable::read(&*self.context.store, &durable::record(round_id))?;
        Ok(document.map(|document| self.context.signer.public().open(&document)).transpose()?)
    }

    /// A checkpoint, a candidate, or what the server keeps.
    pub fn params(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let blob = self.context.blobs.params(digest)?;
        let mut bytes = vec![0; usize::try_from(blob.len()?).unwrap_or(usize::MAX)];
        blob.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// What proves that participants broke the protocol of a round.
    pub fn proofs(&self, round_id: &RoundId) -> Result<Vec<Proof>, Error> {
        proof::of_round(&*self.context.store, round_id)
    }

    /// Checks the whole audit log.
    pub fn verify_log(&self) -> Result<shared_audit::Verified, Error> {
        self.context.journal.verify()
    }

    fn sender(&self, participant_id: &ParticipantId) -> Result<Arc<Participant>, Error> {
        self.context.registry.contributor(participant_id)
    }

    fn driver(&self, task_id: &TaskId) -> Result<&Driver, Error> {
        self.drivers.get(task_id).ok_or_else(|| Error::UnknownTask(task_id.clone()))
    }

    fn driver_mut(&mut self, task_id: &TaskId) -> Result<&mut Driver, Error> {
        self.drivers.get_mut(task_id).ok_or_else(|| Error::UnknownTask(task_id.clone()))
    }

    fn order(&mut self, task_id: &TaskId, order: Order) -> Result<(), Error> {
        order.carry_out(self.driver_mut(task_id)?)
    }

    fn offer_all<T: Clone>(
        &mut self,
        items: &[T],
        propose: impl Fn(&Self, &T) -> Result<Proposal, Error>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.offer_each(&mut items.to_vec(), |core, item| propose(core, item))
    }

    /// Offers what `propose` makes of each item, one batch for each task. An error of the store or the disk is the
    /// whole call's: a coordinator that meets one has to be opened anew.
    fn offer_each<T>(
        &mut self,
        items: &mut [T],
        propose: impl Fn(&Self, &mut T) -> Result<Proposal, Error>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let mut answers: Vec<Result<(), Error>> = Vec::with_capacity(items.len());
        let mut offers: BTreeMap<TaskId, Vec<(usize, Proposal)>> = BTreeMap::new();
        for (index, item) in items.iter_mut().enumerate() {
            match propose(self, item) {
                Ok(proposal) => {
                    offers.entry(proposal.round_id.task_id.clone()).or_default().push((index, proposal));
                    answers.push(Ok(()));
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        for (task_id, offers) in offers {
            let (places, proposals): (Vec<usize>, Vec<Proposal>) = offers.into_iter().unzip();
            let results = self.driver_mut(&task_id)?.offer(proposals)?;
            for (place, result) in places.into_iter().zip(results) {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = result;
                }
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests;
