//! Who is sending an update just now: one at a time of each participant, from its first byte until it is decided on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::{Digest, ParticipantId, RoundId};

use super::IntakeError;

/// How many different updates a participant may begin in one round. An honest one begins one, and sends it until it has
/// a receipt; each leaves a file until the round is over.
const MAX_BEGUN: usize = 4;
/// For how many rounds it is remembered who began what.
const REMEMBERED: usize = 1000;

/// Who is sending.
#[derive(Debug, Clone, Default)]
pub(crate) struct Senders(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    sending: BTreeSet<ParticipantId>,
    begun: BTreeMap<RoundId, BTreeMap<ParticipantId, BTreeSet<Digest>>>,
}

/// A participant's place among those who send; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    senders: Senders,
    participant_id: ParticipantId,
}

impl Senders {
    /// Lets a participant begin to send, unless it sends already.
    pub(crate) fn enter(&self, participant_id: &ParticipantId) -> Result<Place, IntakeError> {
        if !self.table().sending.insert(participant_id.clone()) {
            return Err(IntakeError::Sending(participant_id.clone()));
        }
        Ok(Place { senders: self.clone(), participant_id: participant_id.clone() })
    }

    /// Remembers that a participant begins this update in a round, unless it began too many others.
    pub(super) fn begin(
        &self,
        round_id: &RoundId,
        participant_id: &ParticipantId,
        payload: Digest,
    ) -> Result<(), IntakeError> {
        let mut table = self.table();
        let begun = table.begun.entry(round_id.clone()).or_default().entry(participant_id.clone()).or_default();
        if !begun.contains(&payload) && begun.len() >= MAX_BEGUN {
            return Err(IntakeError::TooManyBegun(participant_id.clone()));
        }
        begun.insert(payload);
        Ok(())
    }

    /// Forgets what was begun in a task's rounds up to this one.
    pub(crate) fn forget(&self, round_id: &RoundId) {
        let mut table = self.table();
        table.begun.retain(|begun, _| begun.task_id != round_id.task_id || begun.number > round_id.number);
        while table.begun.len() > REMEMBERED {
            table.begun.pop_first();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.senders.table().sending.remove(&self.participant_id);
    }
}
