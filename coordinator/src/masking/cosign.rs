//! Cosignatures: each site's word that a release follows from rounds that it checked itself.

use serde_json::json;
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::masking::Cosignature;
use shared::release::Release;
use shared::store::Batch;
use shared_crypto::document_digest;

use crate::enrol::Participant;
use crate::intake::{OwnDocument, open, same};
use crate::release::find;
use crate::{Coordinator, Error, durable};

impl OwnDocument for Cosignature {
    fn participant_id(&self) -> &shared::ParticipantId {
        &self.participant_id
    }
}

/// Keeps a cosignature of a release; the first one of each participant stands. Blocks.
pub(crate) fn cosign(coordinator: &Coordinator, document: &SignedDocument, caller: &Participant) -> Result<(), Error> {
    let cosignature: Cosignature = open(document, caller)?;
    let store = &*coordinator.store;
    let found = find(store, cosignature.release_id.clone())?;
    same("release", &document_digest(&found.release), &cosignature.release)?;
    let release: Release = coordinator.coordinator_key().open(&found.release)?;
    let takes_part = coordinator.task(&release.round_id.task_id)?.task.task.cohort.contains(&caller.participant_id);
    if !takes_part {
        return Err(Error::UnknownRelease(Some(cosignature.release_id)));
    }
    let key = durable::cosignature(&cosignature.release_id, &caller.participant_id);
    if shared::store::Store::get(store, &key)?.is_some() {
        return Ok(());
    }
    let content = json!({
        "event": "cosigned", "release_id": cosignature.release_id, "participant_id": caller.participant_id,
    });
    let (entry, record) = coordinator.journal.entry(AuditKind::Release, coordinator.now(), &content)?;
    let batch = Batch::new().expect_absent(key.clone()).put(key, durable::encode(document)?).put(entry, record);
    shared::store::Store::apply(store, batch)?;
    coordinator.journal.drain_or_defer();
    Ok(())
}
