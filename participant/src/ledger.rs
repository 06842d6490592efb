//! The site's privacy ledger: every debit is signed and durable before any noise is drawn (promise P1), and a ledger that
//! is not the newest is found out before anything is spent with it.
//!
//! The arithmetic is `shared-privacy`'s. This file keeps it: a [`chain`] of signed debits in the store, a [`counter`] that
//! may lie on another disk, an entry for each debit in the audit log ([`audited`]), all of them compared when the ledger
//! is opened. It never refunds.

mod adopt;
mod audited;
mod chain;
mod counter;
mod fault;
mod statement;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::audit::AuditKind;
use shared::privacy::{Guarantee, LedgerHead, Mechanism, PrivacyUnit};
use shared::store::{Batch, Key, Store};
use shared::{Clock, RoundId, TaskId, canonical};
use shared_crypto::SigningKey;
use shared_privacy::accountant::{MAX_DELTA, default_delta};
use shared_privacy::ledger::{Debit, Ledger};

pub use adopt::{MAX_ADOPTED, adopt};
pub use fault::LedgerFault;
pub use statement::{Part, Statement};

use self::chain::Chain;
use self::counter::Counter;
use crate::audit::SiteJournal;
use crate::config::Budget;
use crate::error::SiteError;

/// Which records debits are for: all that the site trains on and evaluates with.
const DATA_SET: &str = "telemetry";
const DELTA: &str = "privacy-ledger-delta";

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

/// Where a site's ledger is kept, and who signs it.
#[derive(Clone)]
pub struct Keeping {
    /// Holds the debits.
    pub store: Arc<dyn Store>,
    /// Signs them.
    pub identity: Arc<SigningKey>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// Has an entry for each.
    pub journal: SiteJournal,
    /// The file of the counter.
    pub counter_file: PathBuf,
}

impl Keeping {
    fn counter(&self) -> Counter {
        Counter::new(self.counter_file.clone(), Arc::clone(&self.identity))
    }

    fn chain(&self) -> Result<Chain, SiteError> {
        Chain::read(self.store.as_ref(), &self.identity.public())
    }

    /// Refuses a chain that is not the newest, as far as this machine knows; brings counter and log up to it.
    fn reconcile(&self, chain: &Chain) -> Result<(), SiteError> {
        let counter = self.counter();
        match counter.read()? {
            Some(known) => chain.check(known, "its counter")?,
            None if chain.debits.is_empty() => {}
            None => return Err(LedgerFault::CounterMissing(self.counter_file.clone()).into()),
        }
        audited::check(chain, self.store.as_ref(), &self.journal)?;
        counter.write(chain.head)
    }
}

/// A site's durable privacy ledger.
pub struct PrivacyLedger {
    keeping: Keeping,
    /// Whether the budget's δ follows the number of records.
    is_delta_derived: bool,
    state: Mutex<State>,
}

/// What the store holds, in memory.
struct State {
    ledger: Ledger,
    chain: Chain,
    /// Debits that are durable, but not in the audit log yet.
    unaudited: Vec<Debit>,
    /// Why nothing may be spent any more.
    disowned: Option<String>,
}

impl PrivacyLedger {
    /// Reads the ledger back, checking every signature, number and link, and that neither counter nor audit log know of
    /// a later one.
    pub fn open(keeping: Keeping, budget: &Budget) -> Result<Self, SiteError> {
        let chain = keeping.chain()?;
        let kept = kept_delta(keeping.store.as_ref())?;
        let is_delta_derived = budget.delta.is_none();
        let budget = Guarantee { epsilon: budget.epsilon, delta: budget.delta.unwrap_or(kept) };
        let ledger = Ledger::replay(budget, &chain.debits)?;
        keeping.reconcile(&chain)?;
        let state = Mutex::new(State { ledger, chain, unaudited: Vec::new(), disowned: None });
        Ok(Self { keeping, is_delta_derived, state })
    }

    /// Charges `cost`, durably, or refuses it and charges nothing. Noise may be drawn only after this returned `Ok`.
    pub fn debit(&self, cost: Mechanism, unit: PrivacyUnit, purpose: Purpose<'_>) -> Result<Debit, SiteError> {
        let mut state = self.lock();
        state.admit(&cost)?;
        let debit = Debit {
            sequence: state.ledger.next_sequence(),
            data_set: DATA_SET.to_owned(),
            unit,
            mechanism: Some(cost),
            purpose: purpose.to_string(),
            at: self.keeping.clock.now(),
            previous: state.chain.head.head,
        };
        state.append(&debit, &self.keeping)?;
        Ok(debit)
    }

    /// Refuses what [`PrivacyLedger::debit`] would refuse, and charges nothing.
    pub fn admit(&self, cost: &Mechanism) -> Result<Guarantee, SiteError> {
        self.lock().admit(cost)
    }

    /// What was spent so far, at the budget's δ.
    pub fn spent(&self) -> Result<Guarantee, SiteError> {
        Ok(self.lock().ledger.spent()?)
    }

    /// The lifetime budget.
    pub fn budget(&self) -> Guarantee {
        self.lock().ledger.budget()
    }

    /// How far the ledger goes.
    pub fn head(&self) -> LedgerHead {
        self.lock().chain.head
    }

    /// How many more debits of `cost` the budget holds.
    pub fn forecast(&self, cost: &Mechanism) -> Result<u64, SiteError> {
        Ok(self.lock().ledger.forecast(cost)?)
    }

    /// What would be spent after all of `costs`, at the budget's δ.
    pub fn after(&self, costs: &[Mechanism]) -> Result<Guarantee, SiteError> {
        Ok(self.lock().ledger.after(costs, 1)?)
    }

    /// What a task has cost so far, rounds that came to nothing included.
    pub fn costs_of(&self, task_id: &TaskId) -> Vec<Mechanism> {
        let is_for = |debit: &&Debit| {
            let round = debit.purpose.rsplit(' ').next().and_then(|round| round.rsplit_once('/'));
            round.is_some_and(|(task, _)| task == task_id.as_str())
        };
        self.lock().chain.debits.iter().filter(is_for).filter_map(|debit| debit.mechanism).collect()
    }

    /// All debits, oldest first.
    pub fn debits(&self) -> Vec<Debit> {
        self.lock().chain.debits.clone()
    }

    /// Budget, debits and what is spent, by data set and unit too.
    pub fn statement(&self) -> Result<Statement, SiteError> {
        self.lock().statement()
    }

    /// Where the configuration names no δ: makes it fit a data set of `records`. It only ever shrinks, and stays what it
    /// was where there were more records once, so that no change of their number weakens what was promised. Shows the
    /// ledger in the metrics.
    pub fn fit_delta(&self, records: u64) -> Result<(), SiteError> {
        let (mut state, fitting) = (self.lock(), default_delta(records));
        if self.is_delta_derived && fitting < state.ledger.budget().delta {
            let key = Key::new(DELTA, "least");
            self.keeping.store.apply(Batch::new().put(key, canonical::encode(&fitting)?))?;
            state.ledger.lower_delta(fitting);
        }
        state.show()
    }

    /// Spends nothing from now on: the coordinator has seen a later ledger, or another one.
    pub fn disown(&self, reason: String) {
        self.lock().disowned = Some(reason);
    }

    /// Reads everything anew: every signature, number and link, and each debit in the audit log, both ways.
    pub fn verify(&self) -> Result<LedgerHead, SiteError> {
        let state = self.lock();
        let chain = self.keeping.chain()?;
        Ledger::replay(state.ledger.budget(), &chain.debits)?;
        chain.check(state.chain.head, "the running participant")?;
        let counted = self.keeping.counter().read()?;
        let counted = counted.ok_or_else(|| LedgerFault::CounterMissing(self.keeping.counter_file.clone()))?;
        chain.check(counted, "its counter")?;
        audited::verify(&chain, &self.keeping.journal)?;
        Ok(chain.head)
    }

    /// The file of the counter.
    pub fn counter_file(&self) -> &Path {
        &self.keeping.counter_file
    }

    // A panic in another thread cannot leave the ledger half-changed: the store is written before the memory.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit(&self, cost: &Mechanism) -> Result<Guarantee, SiteError> {
        match &self.disowned {
            Some(reason) => Err(LedgerFault::Disowned(reason.clone()).into()),
            None => Ok(self.ledger.admit(cost)?),
        }
    }

    /// Store, counter, audit log, in this order: whichever of them a crash leaves behind is brought up when the ledger is
    /// opened, and none is ever ahead of the store. What fails on the way stays charged, and no noise is drawn for it.
    fn append(&mut self, debit: &Debit, keeping: &Keeping) -> Result<(), SiteError> {
        self.chain.append(debit.clone(), keeping.store.as_ref(), &keeping.identity)?;
        self.ledger.debit(debit)?;
        self.unaudited.push(debit.clone());
        keeping.counter().write(self.chain.head)?;
        keeping.journal.write_all(AuditKind::Debit, &self.unaudited)?;
        self.unaudited.clear();
        self.show()
    }
}

/// The least δ that the site's records ever asked for.
fn kept_delta(store: &dyn Store) -> Result<f64, SiteError> {
    let bytes = store.get(&Key::new(DELTA, "least"))?;
    Ok(bytes.map(|bytes| canonical::decode(&bytes)).transpose()?.unwrap_or(MAX_DELTA))
}

#[cfg(test)]
mod tests;
