//! The containment ledger: what is contained at this site, and decide-and-reserve as one transaction.
//!
//! What the policies' budgets are held against (healthy peers, containments in force, what is cut off by service and
//! site, what was granted within the hour) is computed here, never taken from whoever asks; the reservation is
//! written only if no other was written since. An asset belongs to one run at a time, because two runs that undo the
//! same setting in the wrong order would leave it changed for good. A lapsed lease keeps its place until its effect is
//! undone.

mod standing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::asset::Criticality;
use shared::decision::{ContainmentAction, Decision, DecisionRequest, Lease};
use shared::detection::Tier;
use shared::store::{Batch, Key, Store, StoreError};
use shared::{AssetId, Clock, Explain, RunId, Timestamp};

use self::standing::Standing;
use crate::decide::Engine;

/// How many reservations a site may hold.
pub const MAX_RESERVATIONS: usize = 10_000;
/// How often a decision is taken again because another process reserved meanwhile.
const MAX_ATTEMPTS: u32 = 32;

/// How many grants older than an hour one transaction clears away.
const MAX_CLEARED: usize = 64;

const RESERVATIONS: &str = "containment";
const GRANTS: &str = "containment-grants";
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
    /// How critical that is.
    pub criticality: Criticality,
    /// The asset's peers.
    pub peer_group: String,
    /// How many accounts or hosts it cuts off.
    pub blast_radius: i64,
    /// How long it holds, and for which run.
    pub lease: Lease,
}

/// People have stopped all automation at this site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillSwitch {
    /// Who did.
    pub by: String,
    /// When.
    pub at: Timestamp,
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
    /// What the policy set is asked; the ledger fills in what it knows better ([`Standing::fill`]).
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
        self.transact(|| {
            let standing = self.standing(claim)?;
            let verdict = self.decide(engine, claim, &standing);
            let held = self.store.get(&step_key(RESERVATIONS, &claim.run_id, claim.step))?.is_some();
            let writes = (verdict.lease.is_some() || held).then(|| writes(claim, &verdict, &standing));
            Ok((verdict, writes))
        })
    }

    /// Runs `attempt` until what it read is still so when its writes are applied; nothing is written when it has none.
    fn transact<T>(
        &self,
        attempt: impl Fn() -> Result<(T, Option<Batch>), ContainmentError>,
    ) -> Result<T, ContainmentError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..MAX_ATTEMPTS {
            let head = self.store.get(&head_key())?;
            let (outcome, writes) = attempt()?;
            let Some(writes) = writes else { return Ok(outcome) };
            match self.store.apply(moved(head, writes)) {
                Ok(()) => return Ok(outcome),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ContainmentError::Contended { attempts: MAX_ATTEMPTS })
    }

    /// How things stand for a claim.
    fn standing(&self, claim: &Claim) -> Result<Standing, ContainmentError> {
        let now = self.clock.now();
        Ok(Standing::new(claim, now, self.reservations()?, self.grants()?, self.kill_switch()?.is_some()))
    }

    fn decide(&self, engine: &Engine, claim: &Claim, standing: &Standing) -> Verdict {
        let mut request = claim.request.clone();
        standing.fill(&mut request);
        let decision = engine.decide(&request);
        let held_by = standing.held_by().cloned();
        let suffices = decision.tier >= claim.required && held_by.is_none();
        let lease = suffices.then(|| self.lease(claim));
        Verdict { request, decision, lease, held_by }
    }

    fn lease(&self, claim: &Claim) -> Lease {
        let granted_at = self.clock.now();
        Lease { run_id: claim.run_id.clone(), granted_at, expires_at: granted_at.plus(claim.lease) }
    }

    /// Gives a step's place free; nothing happens when it has none.
    pub fn release(&self, run_id: &RunId, step: u32) -> Result<(), ContainmentError> {
        self.transact(|| {
            let key = step_key(RESERVATIONS, run_id, step);
            let held = self.store.get(&key)?.is_some();
            Ok(((), held.then(|| Batch::new().delete(key))))
        })
    }

    /// Stops all automation at this site, or lets it go on. What is in force stays until its lease lapses.
    ///
    /// A decision that is being taken meanwhile is taken again: none that is granted afterwards has not seen the switch.
    pub fn set_kill_switch(&self, by: Option<&str>) -> Result<(), ContainmentError> {
        let switch = by.map(|by| KillSwitch { by: by.to_owned(), at: self.clock.now() });
        self.transact(|| {
            let batch = match &switch {
                Some(switch) => Batch::new().put(kill_switch_key(), document(switch)),
                None => Batch::new().delete(kill_switch_key()),
            };
            Ok(((), Some(batch)))
        })
    }

    /// Who stopped all automation at this site; `None` while it may go on.
    pub fn kill_switch(&self) -> Result<Option<KillSwitch>, ContainmentError> {
        let value = self.store.get(&kill_switch_key())?;
        value.map(|value| serde_json::from_slice(&value).map_err(damaged)).transpose()
    }

    /// Everything in force.
    pub fn reservations(&self) -> Result<Vec<Reservation>, ContainmentError> {
        let entries = self.store.scan(RESERVATIONS, b"", MAX_RESERVATIONS)?;
        if entries.len() >= MAX_RESERVATIONS {
            return Err(ContainmentError::Full { limit: MAX_RESERVATIONS });
        }
        entries.into_iter().map(|(_, value)| serde_json::from_slice(&value).map_err(damaged)).collect()
    }

    /// When each step was granted, by its key, while that is remembered.
    fn grants(&self) -> Result<Vec<(Vec<u8>, Timestamp)>, ContainmentError> {
        let entries = self.store.scan(GRANTS, b"", MAX_RESERVATIONS)?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| Ok((key, serde_json::from_slice(&value).map_err(damaged)?));
        entries.into_iter().map(read).collect()
    }

    /// What is in force although its lease has lapsed by `now`: to be undone.
    pub fn expired(&self, now: Timestamp) -> Result<Vec<Reservation>, ContainmentError> {
        let mut reservations = self.reservations()?;
        reservations.retain(|held| held.lease.expires_at <= now);
        Ok(reservations)
    }
}

/// What a verdict writes: the step's place and the time it was granted, or nothing more of the step.
fn writes(claim: &Claim, verdict: &Verdict, standing: &Standing) -> Batch {
    let place = step_key(RESERVATIONS, &claim.run_id, claim.step);
    let batch = match &verdict.lease {
        Some(lease) => Batch::new()
            .put(place, document(&reservation(claim, lease)))
            .put(step_key(GRANTS, &claim.run_id, claim.step), document(&lease.granted_at)),
        None => Batch::new().delete(place),
    };
    let old = standing.forgotten().take(MAX_CLEARED);
    old.fold(batch, |batch, key| batch.delete(Key::new(GRANTS, key)))
}

fn reservation(claim: &Claim, lease: &Lease) -> Reservation {
    Reservation {
        step: claim.step,
        action: claim.request.action,
        asset_id: claim.request.asset.asset_id.clone(),
        criticality: claim.request.asset.criticality,
        peer_group: claim.peers.name.clone(),
        blast_radius: claim.request.context.blast_radius,
        lease: lease.clone(),
    }
}

fn document(value: &impl Serialize) -> Vec<u8> {
    serde_json::json!(value).to_string().into_bytes()
}

fn damaged(error: serde_json::Error) -> ContainmentError {
    ContainmentError::Damaged { reason: error.to_string() }
}

/// `writes` as a batch that applies only if the ledger still stands at `head`, and moves it on.
fn moved(head: Option<Vec<u8>>, writes: Batch) -> Batch {
    let next = head.as_deref().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes).wrapping_add(1);
    let batch = match head {
        Some(bytes) => writes.expect(head_key(), bytes),
        None => writes.expect_absent(head_key()),
    };
    batch.put(head_key(), next.to_be_bytes())
}

fn head_key() -> Key {
    Key::new(HEAD, b"head")
}

fn kill_switch_key() -> Key {
    Key::new(HEAD, b"kill-switch")
}

fn step_key(tree: &'static str, run_id: &RunId, step: u32) -> Key {
    Key::new(tree, step_name(run_id, step))
}

fn step_name(run_id: &RunId, step: u32) -> String {
    format!("{run_id}/{step:04}")
}

#[cfg(test)]
mod tests;
