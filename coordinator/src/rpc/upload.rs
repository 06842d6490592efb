//! Receives one update, part by part, at the sender's pace but not forever, and answers when it is durable.
//!
//! A sender has one upload at a time: whoever dawdles keeps its own place busy and nobody else's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::ParticipantId;
use shared::document::SignedDocument;
use shared::update::UpdateHeader;
use shared_wire::server::{Certificate, UpdateParts};
use shared_wire::{Status, UpdatePart};
use tokio::sync::OwnedSemaphorePermit;

use super::Rpc;
use crate::Error;
use crate::coordinator::Running;
use crate::durable::{self, Evidence};
use crate::intake::{self, Incoming, IntakeError};

/// Who is sending an update just now.
#[derive(Clone, Default)]
pub(super) struct Senders(Arc<Mutex<BTreeSet<ParticipantId>>>);

/// A place among those who may send; given back when dropped.
struct Place {
    senders: Senders,
    participant_id: ParticipantId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.senders.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.participant_id);
    }
}

impl Senders {
    fn enter(&self, participant_id: ParticipantId, permit: OwnedSemaphorePermit) -> Result<Place, Error> {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !senders.insert(participant_id.clone()) {
            return Err(Error::Busy { what: "uploads of one participant", limit: 1 });
        }
        Ok(Place { senders: self.clone(), participant_id, _permit: permit })
    }
}

/// Takes an update and gives the receipt for it: the same one, however often the same update comes.
pub(super) async fn receive(
    rpc: &Rpc,
    certificate: &Certificate,
    mut parts: UpdateParts,
) -> Result<SignedDocument, Status> {
    let caller = rpc.caller(certificate)?;
    let idle = rpc.coordinator.limits.upload_idle();
    let _place = rpc.senders.enter(caller.participant_id.clone(), permit(rpc, idle).await?)?;
    let Some(UpdatePart::Header(document)) = next(&mut parts, idle).await? else {
        return Err(Error::from(IntakeError::Header).into());
    };
    let header: UpdateHeader = intake::open(&document, &caller)?;
    let running = rpc.task(&caller, &header.round_id.task_id)?;
    if let Some(receipt) = known(rpc, &running, &header).await? {
        drain(&mut parts, idle, running.task.task.model.param_count()).await?;
        return Ok(receipt);
    }
    let incoming = collect(rpc, &running, document, &header, &mut parts).await?;
    rpc.caller(certificate)?;
    Ok(settle(rpc, &running, incoming, header).await?)
}

async fn permit(rpc: &Rpc, patience: Duration) -> Result<OwnedSemaphorePermit, Error> {
    let limit = rpc.coordinator.limits.uploads.get();
    let permit = tokio::time::timeout(patience, Arc::clone(&rpc.uploads).acquire_owned()).await;
    permit.ok().and_then(Result::ok).ok_or(Error::Busy { what: "uploads", limit })
}

/// Takes the parameters in, as long as the round takes them.
async fn collect(
    rpc: &Rpc,
    running: &Running,
    document: SignedDocument,
    header: &UpdateHeader,
    parts: &mut UpdateParts,
) -> Result<Incoming, Status> {
    let idle = rpc.coordinator.limits.upload_idle();
    let (task, now) = (&running.task, rpc.coordinator.now());
    let mut incoming = Incoming::open(document, header.clone(), task, &running.handle.snapshot(), now)?;
    while let Some(part) = next(parts, idle).await? {
        let UpdatePart::Chunk { offset, data } = part else { return Err(Error::from(IntakeError::Header).into()) };
        incoming.push(offset, &data).map_err(Error::from)?;
        incoming.still_fits(&running.handle.snapshot())?;
    }
    Ok(incoming)
}

/// Offers the whole update to the round, and reads back the receipt that is durable then.
async fn settle(
    rpc: &Rpc,
    running: &Running,
    incoming: Incoming,
    header: UpdateHeader,
) -> Result<SignedDocument, Error> {
    let finished =
        rpc.coordinator.blocking(move |coordinator| incoming.finish(&coordinator.keys.coordinator, coordinator.now()));
    running.handle.offer(finished.await?).await?;
    metrics::counter!("ringfence_updates_total").increment(1);
    let key = durable::evidence(&header.round_id, Evidence::Receipt, &header.participant_id);
    let receipt = rpc.coordinator.blocking(move |coordinator| durable::read(&*coordinator.store, &key)).await?;
    receipt.ok_or(Error::UnknownRound(header.round_id))
}

async fn known(rpc: &Rpc, running: &Running, header: &UpdateHeader) -> Result<Option<SignedDocument>, Error> {
    let (header, snapshot) = (header.clone(), running.handle.snapshot());
    rpc.coordinator.blocking(move |coordinator| intake::known(&*coordinator.store, &header, &snapshot)).await
}

async fn next(parts: &mut UpdateParts, idle: Duration) -> Result<Option<UpdatePart>, Status> {
    let slow = |_| Error::from(IntakeError::TooSlow);
    tokio::time::timeout(idle, parts.next()).await.map_err(slow)?
}

/// Reads to the end of an update that is known already, but no further than the model is long.
async fn drain(parts: &mut UpdateParts, idle: Duration, params: usize) -> Result<(), Status> {
    let mut rest = params.saturating_mul(size_of::<f32>());
    while let Some(part) = next(parts, idle).await? {
        let UpdatePart::Chunk { data, .. } = part else { return Ok(()) };
        match rest.checked_sub(data.len().max(1)) {
            Some(less) => rest = less,
            None => return Ok(()),
        }
    }
    Ok(())
}
