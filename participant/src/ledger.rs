//! The site's privacy ledger: every debit is signed and durable before any noise is drawn (promise P1).
//!
//! The arithmetic is `shared-privacy`'s. This file keeps it: one signed document per debit, numbered without gaps, and
//! checked whenever the ledger is opened. It never refunds.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::document::SignedDocument;
use shared::privacy::{Guarantee, Mechanism, PrivacyUnit};
use shared::store::{Batch, Key, Store};
use shared::{Clock, RoundId, TaskId, canonical};
use shared_crypto::{PublicKey, SigningKey};
use shared_privacy::accountant;
use shared_privacy::ledger::{Debit, Ledger};

use crate::error::SiteError;

const TREE: &str = "privacy-ledger";
/// The most debits that are read back at once; far above what any budget allows.
const MAX_DEBITS: usize = 1_000_000;

/// What a debit is for. Its words stand in the signed debit, and name the round at their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// The noised update of a round.
    Training(&'a RoundId),
    /// The noised hold-out counts of a round.
    Evaluation(&'a RoundId),
}

impl fmt::Display for Purpose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Training(round_id) => write!(f, "training round {round_id}"),
            Self::Evaluation(round_id) => write!(f, "evaluation of round {round_id}"),
        }
    }
}

/// A site's durable privacy ledger.
pub struct PrivacyLedger {
    store: Arc<dyn Store>,
    identity: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
}

impl PrivacyLedger {
    /// Reads the ledger back, checking every signature and the numbering.
    pub fn open(
        store: Arc<dyn Store>,
        identity: Arc<SigningKey>,
        clock: Arc<dyn Clock>,
        budget: Guarantee,
    ) -> Result<Self, SiteError> {
        let debits = read(store.as_ref(), &identity.public())?;
        let ledger = Ledger::replay(budget, &debits)?;
        Ok(Self { store, identity, clock, ledger: Mutex::new(ledger) })
    }

    /// Charges `cost`, durably, or refuses it and charges nothing. Noise may be drawn only after this returned `Ok`.
    pub fn debit(&self, cost: Mechanism, purpose: Purpose<'_>) -> Result<Debit, SiteError> {
        let mut ledger = self.lock();
        let spent = ledger.admit(&cost)?;
        let debit = Debit {
            sequence: ledger.next_sequence(),
            data_set: "telemetry".to_owned(),
            unit: PrivacyUnit::Record,
            mechanism: cost,
            purpose: purpose.to_string(),
            at: self.clock.now(),
        };
        let signed = canonical::encode(&self.identity.sign(&debit)?)?;
        let key = Key::new(TREE, debit.sequence.to_be_bytes());
        self.store.apply(Batch::new().expect_absent(key.clone()).put(key, signed))?;
        ledger.debit(&debit)?;
        metrics::gauge!("ringfence_privacy_epsilon_spent").set(spent.epsilon);
        Ok(debit)
    }

    /// Refuses what [`PrivacyLedger::debit`] would refuse, and charges nothing.
    pub fn admit(&self, cost: &Mechanism) -> Result<Guarantee, SiteError> {
        Ok(self.lock().admit(cost)?)
    }

    /// What was spent so far, at the budget's δ.
    pub fn spent(&self) -> Result<Guarantee, SiteError> {
        Ok(self.lock().spent()?)
    }

    /// The lifetime budget.
    pub fn budget(&self) -> Guarantee {
        self.lock().budget()
    }

    /// How many more debits of `cost` the budget holds.
    pub fn forecast(&self, cost: &Mechanism) -> Result<u64, SiteError> {
        Ok(self.lock().forecast(cost)?)
    }

    /// What would be spent after all of `costs`, at the budget's δ.
    pub fn after(&self, costs: &[Mechanism]) -> Result<Guarantee, SiteError> {
        let mut history: Vec<Mechanism> = self.debits()?.into_iter().map(|debit| debit.mechanism).collect();
        history.extend_from_slice(costs);
        let delta = self.budget().delta;
        Ok(Guarantee { epsilon: accountant::epsilon(&history, delta)?, delta })
    }

    /// What a task has cost so far, rounds that came to nothing included.
    pub fn costs_of(&self, task_id: &TaskId) -> Result<Vec<Mechanism>, SiteError> {
        let is_for = |debit: &Debit| {
            let round = debit.purpose.rsplit(' ').next().and_then(|round| round.rsplit_once('/'));
            round.is_some_and(|(task, _)| task == task_id.as_str())
        };
        Ok(self.debits()?.into_iter().filter(is_for).map(|debit| debit.mechanism).collect())
    }

    /// All debits, oldest first.
    pub fn debits(&self) -> Result<Vec<Debit>, SiteError> {
        read(self.store.as_ref(), &self.identity.public())
    }

    // A panic in another thread cannot leave the ledger half-changed: the store is written before the memory.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(store: &dyn Store, key: &PublicKey) -> Result<Vec<Debit>, SiteError> {
    let entries = store.scan(TREE, &[], MAX_DEBITS)?;
    let open = |(_, bytes): (Vec<u8>, Vec<u8>)| {
        let signed: SignedDocument = canonical::decode(&bytes)?;
        Ok(key.open::<Debit>(&signed)?)
    };
    entries.into_iter().map(open).collect()
}

#[cfg(test)]
mod tests;
