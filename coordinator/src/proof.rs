//! What proves that participants broke the protocol of a round, as it is handed out: signed documents, whole enough for
//! anybody who has the task to judge by. It judges nobody itself.

use serde::Serialize;
use serde_json::{Value, json};
use shared::document::SignedDocument;
use shared::store::Store;
use shared::{ParticipantId, RoundId};
use utoipa::ToSchema;

use crate::Error;
use crate::durable::{self, Evidence, Misconduct};

/// What a participant may sign in a round.
const SIGNED: [Evidence; 4] = [Evidence::Join, Evidence::Update, Evidence::Agreement, Evidence::Reveal];

/// What proves that a participant broke the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Proof {
    /// Who.
    #[schema(value_type = String)]
    pub participant_id: ParticipantId,
    /// What it did.
    pub what: String,
    /// What shows it.
    #[schema(value_type = Object)]
    pub proof: Value,
}

/// Everything of this kind that is kept of a round.
pub(crate) fn of_round(store: &dyn Store, round_id: &RoundId) -> Result<Vec<Proof>, Error> {
    let mut proofs: Vec<Proof> = Vec::new();
    for (participant_id, Misconduct { what, proof }) in durable::misconducts(store, round_id)? {
        proofs.push(Proof { participant_id, what, proof });
    }
    for (participant_id, second) in durable::equivocations(store, round_id)? {
        let proof = json!({"second": second, "before": signed(store, round_id, &participant_id)?});
        let what = "contradicted what it had signed before".to_owned();
        proofs.push(Proof { participant_id, what, proof });
    }
    Ok(proofs)
}

/// What a participant signed in a round.
fn signed(store: &dyn Store, round_id: &RoundId, participant_id: &ParticipantId) -> Result<Vec<SignedDocument>, Error> {
    let read = |kind| durable::read(store, &durable::evidence(round_id, kind, participant_id)).transpose();
    SIGNED.into_iter().filter_map(read).collect()
}
