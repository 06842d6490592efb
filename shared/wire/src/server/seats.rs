//! Who has how many connections, and until when. A seat is given back when it is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::ParticipantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Certificate, Gate, Limits};

/// How long a connection without an admitted certificate may last: enough to enrol, or to hear why not.
const GUEST: Duration = Duration::from_secs(30);

/// The seats of one server.
pub(super) struct Seats {
    gate: Arc<dyn Gate>,
    members: Arc<Semaphore>,
    guests: Arc<Semaphore>,
    per_participant: usize,
    taken: Arc<Mutex<BTreeMap<ParticipantId, usize>>>,
}

/// One connection's seat.
pub(super) enum Seat {
    /// Of an admitted participant, as long as it is admitted.
    Member(Member),
    /// Of anybody else, for a short time.
    Guest {
        /// The seat itself.
        _permit: OwnedSemaphorePermit,
    },
}

/// A connection of an admitted participant.
pub(super) struct Member {
    gate: Arc<dyn Gate>,
    certificate: Vec<u8>,
    participant_id: ParticipantId,
    taken: Arc<Mutex<BTreeMap<ParticipantId, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new(gate: Arc<dyn Gate>, limits: &Limits) -> Self {
        let semaphore = |limit: usize| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Self {
            gate,
            members: semaphore(limits.connections),
            guests: semaphore(limits.guests),
            per_participant: limits.connections_per_participant,
            taken: Arc::default(),
        }
    }

    /// A seat for whoever shows `certificate`; `None` when all of its kind are taken.
    pub(super) fn take(&self, certificate: &Certificate) -> Option<Seat> {
        let member = certificate.as_deref().and_then(|der| Some((der.to_vec(), self.gate.admits(der)?)));
        match member {
            Some((der, participant_id)) => self.member(der, participant_id).map(Seat::Member),
            None => Some(Seat::Guest { _permit: Arc::clone(&self.guests).try_acquire_owned().ok()? }),
        }
    }

    fn member(&self, certificate: Vec<u8>, participant_id: ParticipantId) -> Option<Member> {
        let permit = Arc::clone(&self.members).try_acquire_owned().ok()?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.entry(participant_id.clone()).or_default();
        if *own >= self.per_participant {
            return None;
        }
        *own = own.saturating_add(1);
        let (gate, taken) = (Arc::clone(&self.gate), Arc::clone(&self.taken));
        Some(Member { gate, certificate, participant_id, taken, _permit: permit })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.participant_id) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.participant_id);
            }
        }
    }
}

impl Seat {
    /// Waits until the seat may be kept no longer.
    pub(super) async fn lost(&self) {
        match self {
            Self::Member(member) => member.shut_out().await,
            Self::Guest { .. } => tokio::time::sleep(GUEST).await,
        }
    }
}

impl Member {
    /// Waits until the gate admits the certificate no longer.
    async fn shut_out(&self) {
        let mut changes = self.gate.changes();
        // Asked again after subscribing: a change between taking the seat and now is not missed.
        while self.gate.admits(&self.certificate).is_some() {
            if changes.changed().await.is_err() {
                // The gate is gone, and the server with it.
                return;
            }
        }
    }
}
