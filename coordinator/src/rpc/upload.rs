//! Receives one update, chunk by chunk, at the sender's pace but not forever, and answers when it is durable.
//!
//! What can be refused is refused before the sender waits for a place. A sender whose next chunk does not come in time
//! loses its place and nothing else: it goes on later where it stopped. Bytes that trickle in do not count, only a whole
//! chunk does, so that nobody holds a place for less than a chunk (256 KiB, or what is left) in that time.

use std::sync::Arc;
use std::time::Duration;

use shared::document::SignedDocument;
use shared::update::UpdateHeader;
use shared_wire::server::{Certificate, Upload as Sender};
use shared_wire::{Piece, Status, UpdateOpen};

use super::Rpc;
use super::turns::Turn;
use crate::Error;
use crate::coordinator::Running;
use crate::intake::{self, IntakeError, Open, Opened, Upload};
use crate::round::Snapshot;

/// Takes an update and gives the receipt for it: the same one, however often the same update comes.
pub(super) async fn receive(
    rpc: &Rpc,
    certificate: &Certificate,
    open: UpdateOpen,
    mut sender: Sender,
) -> Result<SignedDocument, Status> {
    let caller = rpc.contributor(certificate)?;
    let header: UpdateHeader = intake::open(&open.header, &caller)?;
    let running = rpc.task(&caller, &header.round_id.task_id)?;
    let place = rpc.coordinator.context.senders.enter(&caller.participant_id).map_err(Error::from)?;
    let turn = wait(rpc, &running).await?;
    let UpdateOpen { header: document, chunk_digests, dealing } = open;
    let sum = Arc::clone(&running.handle.sum);
    let open = Open { document, header, chunk_digests, dealing, place, sum };
    let upload = match begin(rpc, &running, open).await? {
        Opened::Known(receipt) => return Ok(receipt),
        Opened::Upload(upload) => upload,
    };
    let upload = collect(rpc, &running, &turn, upload, &mut sender).await?;
    rpc.contributor(certificate)?;
    Ok(settle(rpc, &running, upload).await?)
}

/// Waits for a place among those who send, as long as nothing new happens to the round.
async fn wait(rpc: &Rpc, running: &Running) -> Result<Turn, Error> {
    let mut snapshots = running.handle.snapshots.clone();
    snapshots.mark_unchanged();
    tokio::select! {
        biased;
        turn = rpc.uploads.wait(|| rpc.coordinator.now()) => turn,
        _ = snapshots.changed() => {
            let snapshot = running.handle.snapshot();
            let phase = snapshot.state.phase().to_owned();
            Err(IntakeError::Stale { what: "phase", expected: phase, found: "collecting".to_owned() }.into())
        }
        () = rpc.coordinator.stop.cancelled() => Err(Error::Unavailable),
    }
}

async fn begin(rpc: &Rpc, running: &Running, open: Open) -> Result<Opened, Error> {
    let (task, snapshot) = (Arc::clone(&running.task), running.handle.snapshot());
    let begin = move |coordinator: &crate::Coordinator| {
        let (context, document, header) = (&*coordinator.context, open.document.clone(), open.header.clone());
        let opened = intake::open_upload(context, &task, &snapshot, open);
        intake::convict(context, &document, &header.round_id, opened)
    };
    rpc.coordinator.blocking(begin).await
}

/// Takes the chunks that are missing, as long as the round takes the update and the sender has its turn.
async fn collect(
    rpc: &Rpc,
    running: &Running,
    turn: &Turn,
    mut upload: Box<Upload>,
    sender: &mut Sender,
) -> Result<Box<Upload>, Status> {
    let idle = rpc.coordinator.limits.upload_idle();
    sender.durable(upload.durable());
    while !upload.is_complete() {
        let Some(Piece { offset, data }) = next(sender, idle).await? else { break };
        let snapshot = running.handle.snapshot();
        upload =
            rpc.coordinator.blocking(move |coordinator| take(coordinator, &snapshot, upload, offset, &data)).await?;
        sender.durable(upload.durable());
        if !upload.is_complete() && rpc.uploads.is_over(turn, rpc.coordinator.now()) {
            return Err(Error::from(IntakeError::TurnOver).into());
        }
    }
    Ok(upload)
}

fn take(
    coordinator: &crate::Coordinator,
    snapshot: &Snapshot,
    mut upload: Box<Upload>,
    offset: u64,
    data: &[u8],
) -> Result<Box<Upload>, Error> {
    coordinator.presence.progress(&upload.header().participant_id, coordinator.now());
    upload.still_fits(snapshot)?;
    upload.take(&coordinator.context, offset, data)?;
    Ok(upload)
}

async fn next(sender: &mut Sender, idle: Duration) -> Result<Option<Piece>, Status> {
    let slow = |_| Error::from(IntakeError::TooSlow);
    tokio::time::timeout(idle, sender.next()).await.map_err(slow)?
}

/// Offers the whole update to the round, and reads back the receipt that is durable then.
async fn settle(rpc: &Rpc, running: &Running, upload: Box<Upload>) -> Result<SignedDocument, Error> {
    let plan = Arc::clone(running.handle.snapshot().state.plan());
    let (document, header) = upload.signed();
    let proposal = rpc.coordinator.blocking(move |coordinator| upload.finish(&coordinator.context, &plan)).await?;
    let offered = running.handle.offer(proposal).await;
    let settle = move |coordinator: &crate::Coordinator| {
        intake::convict(&coordinator.context, &document, &header.round_id, offered)?;
        intake::receipt(&coordinator.context, &header)
    };
    let receipt = rpc.coordinator.blocking(settle).await?;
    metrics::counter!("ringfence_updates_total").increment(1);
    Ok(receipt)
}
