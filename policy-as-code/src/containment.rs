//! The containment ledger: what is contained at this site, and decide-and-reserve as one transaction.
//!
//! How many peers are healthy and how many containments are in force is computed here from the reservations, never taken
//! from whoever asks; the reservation is written only if no other was written since they were read. An asset belongs to
//! one run at a time, because two runs that undo the same setting in the wrong order would leave it changed for good. A
//! lapsed lease keeps its place until its effect is undone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::decision::{ContainmentAction, Decision, DecisionRequest, Lease};
use shared::detection::Tier;
use shared::store::{Batch, Key, Store, StoreError};
use shared::{AssetId, Clock, Explain, RunId, Timestamp};

use crate::decide::Engine;

/// How many reservations a site may hold.
pub const MAX_RESERVATIONS: usize = 10_000;
/// How often a decision is taken again because another process reserved meanwhile.
const MAX_ATTEMPTS: u32 = 32;

const RESERVATIONS: &str = "containment";
const HEAD: &str = "containment-head";

/// The assets that can stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerGroup {
    /// The group's name, such as the service they belong to.
    pub name: String,
    /// How many there are, the asset itself included.
    pub size: u32,
}

/// A place in the ledger: one action of one run in force on one asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The step of the run, from 1.
    pub step: u32,
    /// What is done.
    pub action: ContainmentAction,
    /// On what.
    pub asset_id: AssetId,
    /// The asset's peers.
    pub peer_group: String,
    /// How long it holds, and for which run.
    pub lease: Lease,
}

/// A wish to act.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run that wants to act.
    pub run_id: RunId,
    /// Its step, from 1.
    pub step: u32,
    /// The peers of the asset.
    pub peers: PeerGroup,
    /// How long the effect is to hold.
    pub lease: Duration,
    /// The narrowest tier that suffices to act.
    pub required: Tier,
    /// What the policy set is asked; `healthy_peers` and `active_containments` are filled in by the ledger.
    pub request: DecisionRequest,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The request as it was asked.
    pub request: DecisionRequest,
    /// The answer.
    pub decision: Decision,
    /// The reservation's lease; `None` when the decision does not suffice or the asset is held.
    pub lease: Option<Lease>,
    /// The other run that holds the asset.
    pub held_by: Option<RunId>,
}

/// Why the ledger did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ContainmentError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others reserved again and again while the decision was taken.
    #[error("the containment ledger changed {attempts} times during one decision")]
    Contended {
        /// How often the decision was taken.
        attempts: u32,
    },
    /// The ledger is full.
    #[error("the containment ledger holds its limit of {limit} reservations")]
    Full {
        /// How many it may hold.
        limit: usize,
    },
    /// A reservation in the store cannot be read.
    #[error("the containment ledger holds a reservation that cannot be read: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
}

impl Explain for ContainmentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Contended { .. } => "containment-contended",
            Self::Full { .. } => "containment-full",
            Self::Damaged { .. } => "containment-damaged",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Store(error) => error.hint(),
            Self::Contended { .. } => "nothing was reserved; ask again",
            Self::Full { .. } => "roll back runs that are no longer needed; nothing was reserved",
            Self::Damaged { .. } => "restore the store from a backup; nothing is reserved until then",
        }
    }
}

/// The ledger over a store.
pub struct ContainmentLedger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Decisions of this process take turns; those of others are found out by the head.
    turn: Mutex<()>,
}

impl ContainmentLedger {
    /// The ledger in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, turn: Mutex::new(()) }
    }

    /// Asks `engine` about the claim as things stand, and reserves if the answer suffices, in one transaction. A step's
    /// own earlier reservation is replaced, or given up when the answer no longer suffices.
    pub fn decide_and_reserve(&self, engine: &Engine, claim: &Claim) -> Result<Verdict, ContainmentError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..MAX_ATTEMPTS {
            let head = self.store.get(&head_key())?;
            let verdict = self.decide(engine, claim)?;
            if verdict.lease.is_none() && self.store.get(&reservation_key(&claim.run_id, claim.step))?.is_none() {
                return Ok(verdict);
            }
            match self.store.apply(transaction(claim, &verdict, head)) {
                Ok(()) => return Ok(verdict),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ContainmentError::Contended { attempts: MAX_ATTEMPTS })
    }

    fn decide(&self, engine: &Engine, claim: &Claim) -> Result<Verdict, ContainmentError> {
        let asset_id = &claim.request.asset.asset_id;
        let (own, others): (Vec<_>, Vec<_>) =
            self.reservations()?.into_iter().partition(|held| held.asset_id == *asset_id);
        let held_by = own.into_iter().map(|held| held.lease.run_id).find(|run_id| *run_id != claim.run_id);
        let mut request = claim.request.clone();
        request.context.active_containments = contained(&others, |_| true);
        let contained_peers = contained(&others, |held| held.peer_group == claim.peers.name);
        request.context.healthy_peers = (i64::from(claim.peers.size) - 1 - contained_peers).max(0);
        let decision = engine.decide(&request);
        let suffices = decision.tier >= claim.required && held_by.is_none();
        let lease = suffices.then(|| self.lease(claim));
        Ok(Verdict { request, decision, lease, held_by })
    }

    fn lease(&self, claim: &Claim) -> Lease {
        let granted_at = self.clock.now();
        Lease { run_id: claim.run_id.clone(), granted_at, expires_at: granted_at.plus(claim.lease) }
    }

    /// Gives a step's place free; nothing happens when it has none.
    pub fn release(&self, run_id: &RunId, step: u32) -> Result<(), ContainmentError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..MAX_ATTEMPTS {
            let head = self.store.get(&head_key())?;
            if self.store.get(&reservation_key(run_id, step))?.is_none() {
                return Ok(());
            }
            match self.store.apply(moved(head).delete(reservation_key(run_id, step))) {
                Ok(()) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ContainmentError::Contended { attempts: MAX_ATTEMPTS })
    }

    /// Everything in force.
    pub fn reservations(&self) -> Result<Vec<Reservation>, ContainmentError> {
        let entries = self.store.scan(RESERVATIONS, b"", MAX_RESERVATIONS)?;
        if entries.len() >= MAX_RESERVATIONS {
            return Err(ContainmentError::Full { limit: MAX_RESERVATIONS });
        }
        let read = |(_, value): (Vec<u8>, Vec<u8>)| {
            serde_json::from_slice(&value).map_err(|error| ContainmentError::Damaged { reason: error.to_string() })
        };
        entries.into_iter().map(read).collect()
    }

    /// What is in force although its lease has lapsed by `now`: to be undone.
    pub fn expired(&self, now: Timestamp) -> Result<Vec<Reservation>, ContainmentError> {
        let mut reservations = self.reservations()?;
        reservations.retain(|held| held.lease.expires_at <= now);
        Ok(reservations)
    }
}

/// How many assets `which` of the reservations hold.
fn contained(reservations: &[Reservation], which: impl Fn(&Reservation) -> bool) -> i64 {
    let assets: BTreeSet<&AssetId> =
        reservations.iter().filter(|held| which(held)).map(|held| &held.asset_id).collect();
    i64::try_from(assets.len()).unwrap_or(i64::MAX)
}

fn transaction(claim: &Claim, verdict: &Verdict, head: Option<Vec<u8>>) -> Batch {
    let key = reservation_key(&claim.run_id, claim.step);
    match &verdict.lease {
        Some(lease) => moved(head).put(key, reservation(claim, lease)),
        None => moved(head).delete(key),
    }
}

fn reservation(claim: &Claim, lease: &Lease) -> Vec<u8> {
    let reservation = Reservation {
        step: claim.step,
        action: claim.request.action,
        asset_id: claim.request.asset.asset_id.clone(),
        peer_group: claim.peers.name.clone(),
        lease: lease.clone(),
    };
    serde_json::json!(reservation).to_string().into_bytes()
}

/// A batch that applies only if the ledger still stands at `head`, and moves it on.
fn moved(head: Option<Vec<u8>>) -> Batch {
    let next = head.as_deref().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes).wrapping_add(1);
    let batch = match head {
        Some(bytes) => Batch::new().expect(head_key(), bytes),
        None => Batch::new().expect_absent(head_key()),
    };
    batch.put(head_key(), next.to_be_bytes())
}

fn head_key() -> Key {
    Key::new(HEAD, b"head")
}

fn reservation_key(run_id: &RunId, step: u32) -> Key {
    Key::new(RESERVATIONS, format!("{run_id}/{step:04}"))
}

#[cfg(test)]
mod tests;
