//! What can happen to a round: what is persisted of it, and replayed. Nothing here decides what follows from an event.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AbortReason, AcceptedUpdate};
use crate::update::Evaluation;
use crate::{Digest, ParticipantId, Timestamp};

/// What can happen to a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RoundEvent {
    /// A participant joined.
    Joined {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// No more joins.
    JoinClosed {
        /// When.
        at: Timestamp,
    },
    /// A participant whom the round waits for is not heard of any more; it may come back.
    Lost {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// A lost participant is heard of again.
    Returned {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// A participant was quarantined or revoked: its update does not count, now or later in this round.
    Excluded {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// An update is durable.
    UpdateAccepted {
        /// Whose.
        participant_id: ParticipantId,
        /// What counts of it.
        update: AcceptedUpdate,
        /// When.
        at: Timestamp,
    },
    /// No more updates.
    CollectionClosed {
        /// Who of a masked round is to open its update; nobody where the task does not ask for it.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        drawn: BTreeSet<ParticipantId>,
        /// When.
        at: Timestamp,
    },
    /// A drawn participant opened its update, and it is what it should be.
    Opened {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// No more openings.
    OpeningsClosed {
        /// When.
        at: Timestamp,
    },
    /// A participant's proof about its update came.
    Proven {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// No more proofs.
    ProofsClosed {
        /// Whose proof does not hold, or whose update does not point the root's way.
        weightless: BTreeSet<ParticipantId>,
        /// When.
        at: Timestamp,
    },
    /// A survivor agreed on who delivered.
    Agreed {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// Enough survivors agreed.
    AgreementClosed {
        /// When.
        at: Timestamp,
    },
    /// A survivor revealed its shares.
    Revealed {
        /// Who.
        participant_id: ParticipantId,
        /// When.
        at: Timestamp,
    },
    /// No more shares.
    RevealsClosed {
        /// When.
        at: Timestamp,
    },
    /// The candidate was computed from exactly the accepted updates.
    Aggregated {
        /// Digest of the candidate's parameters.
        candidate: Digest,
        /// Digest of what the server keeps for the next round, where the server's step keeps anything.
        server_state: Option<Digest>,
        /// When.
        at: Timestamp,
    },
    /// A participant evaluated the candidate.
    EvaluationAccepted {
        /// Its signed, noised counts.
        evaluation: Evaluation,
        /// When.
        at: Timestamp,
    },
    /// No more evaluations.
    EvaluationClosed {
        /// When.
        at: Timestamp,
    },
    /// The round's record is signed and durable.
    Committed {
        /// Digest of the signed record.
        record: Digest,
        /// When.
        at: Timestamp,
    },
    /// The round ends without a result.
    Aborted {
        /// Why.
        reason: AbortReason,
        /// When.
        at: Timestamp,
    },
}

impl RoundEvent {
    /// The event's name, as in APIs and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Joined { .. } => "joined",
            Self::JoinClosed { .. } => "join_closed",
            Self::Lost { .. } => "lost",
            Self::Returned { .. } => "returned",
            Self::Excluded { .. } => "excluded",
            Self::UpdateAccepted { .. } => "update_accepted",
            Self::CollectionClosed { .. } => "collection_closed",
            Self::Opened { .. } => "opened",
            Self::OpeningsClosed { .. } => "openings_closed",
            Self::Proven { .. } => "proven",
            Self::ProofsClosed { .. } => "proofs_closed",
            Self::Agreed { .. } => "agreed",
            Self::AgreementClosed { .. } => "agreement_closed",
            Self::Revealed { .. } => "revealed",
            Self::RevealsClosed { .. } => "reveals_closed",
            Self::Aggregated { .. } => "aggregated",
            Self::EvaluationAccepted { .. } => "evaluation_accepted",
            Self::EvaluationClosed { .. } => "evaluation_closed",
            Self::Committed { .. } => "committed",
            Self::Aborted { .. } => "aborted",
        }
    }
}
