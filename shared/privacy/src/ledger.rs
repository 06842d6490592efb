//! The arithmetic of a site's privacy ledger: a budget, the debits so far, and whether one more fits.
//!
//! Debits of all data sets and units are composed as if each record were in all of them, so that overlap cannot hide a
//! cost. A debit of unknown cost spends everything.
//! Nothing is kept, signed or released here, and nothing is ever given back: the participant makes a debit durable, then
//! appends it, then draws the noise.

use serde::{Deserialize, Serialize};
use shared::document::Document;
use shared::privacy::{Guarantee, Mechanism, PrivacyUnit};
use shared::{Digest, Timestamp};

use crate::PrivacyError;
use crate::accountant::Composition;

/// The most debits that [`Ledger::forecast`] counts to.
pub const MAX_FORECAST: u64 = 1 << 20;

/// One cost, as the site signs it into its ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debit {
    /// The data set whose records were used.
    pub data_set: String,
    /// What the guarantee protects.
    pub unit: PrivacyUnit,
    /// What was done with the records; `None` stands for debits that are lost, of which nobody knows the cost any more:
    /// it spends whatever budget there is.
    pub mechanism: Option<Mechanism>,
    /// What for, in words.
    pub purpose: String,
    /// When the debit was made, before any noise was drawn.
    pub at: Timestamp,
    /// The debit's number in its ledger, from 1. Only a debit of unknown cost may leave numbers out: those of the debits
    /// that it stands for.
    pub sequence: u64,
    /// Digest of the signed debit before it; `None` for the first that is kept.
    pub previous: Option<Digest>,
}

impl Document for Debit {
    const DOMAIN: &'static str = "privacy-debit";
}

/// A budget and what was spent of it.
#[derive(Debug, Clone)]
pub struct Ledger {
    budget: Guarantee,
    spending: Composition,
    /// Whether something was spent of which nobody knows how much.
    is_unknown: bool,
    next_sequence: u64,
}

impl Ledger {
    /// A ledger with nothing spent.
    pub fn new(budget: Guarantee) -> Self {
        Self { budget, spending: Composition::default(), is_unknown: false, next_sequence: 1 }
    }

    /// A ledger as it was after `debits`. What was spent is taken in even where it exceeds `budget`, so that a lowered
    /// budget refuses from then on.
    ///
    /// # Errors
    /// As [`Ledger::debit`].
    pub fn replay<'a>(budget: Guarantee, debits: impl IntoIterator<Item = &'a Debit>) -> Result<Self, PrivacyError> {
        let mut ledger = Self::new(budget);
        for debit in debits {
            ledger.debit(debit)?;
        }
        Ok(ledger)
    }

    /// What may be spent.
    pub fn budget(&self) -> Guarantee {
        self.budget
    }

    /// Reads ε at a smaller δ from now on, and never at a larger one again: what is spent grows by it.
    pub fn lower_delta(&mut self, delta: f64) {
        self.budget.delta = self.budget.delta.min(delta);
    }

    /// The sequence number that the next debit must have.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// What is spent: ε at the budget's δ; infinite after a debit of unknown cost.
    ///
    /// # Errors
    /// The budget's δ is not in (0, 1).
    pub fn spent(&self) -> Result<Guarantee, PrivacyError> {
        self.reading(&self.spending)
    }

    /// What would be spent after `cost`. Changes nothing, whatever the answer.
    ///
    /// # Errors
    /// [`PrivacyError::BudgetExceeded`] where that is more than the budget, or `cost` makes no sense.
    pub fn admit(&self, cost: &Mechanism) -> Result<Guarantee, PrivacyError> {
        let would_be = self.after(std::slice::from_ref(cost), 1)?;
        if self.is_within_budget(would_be) {
            return Ok(would_be);
        }
        Err(PrivacyError::BudgetExceeded { spent: self.spent()?, would_be, budget: self.budget })
    }

    /// Appends a debit that is durable. Ask [`Ledger::admit`] first: what was spent is a fact, and is not refused here.
    ///
    /// # Errors
    /// The debit's sequence number is not the next one, or its mechanism makes no sense; nothing changes then.
    pub fn debit(&mut self, debit: &Debit) -> Result<(), PrivacyError> {
        let expected = self.next_sequence;
        let follows = debit.sequence == expected || (debit.mechanism.is_none() && debit.sequence > expected);
        let next = debit.sequence.checked_add(1).filter(|_| follows);
        let next = next.ok_or(PrivacyError::OutOfSequence { expected, found: debit.sequence })?;
        match &debit.mechanism {
            Some(mechanism) => self.spending.add(mechanism, 1)?,
            None => self.is_unknown = true,
        }
        self.next_sequence = next;
        Ok(())
    }

    /// How many more debits of `cost` fit, counted to at most [`MAX_FORECAST`].
    ///
    /// # Errors
    /// `cost` makes no sense.
    pub fn forecast(&self, cost: &Mechanism) -> Result<u64, PrivacyError> {
        let fits = |times| self.after(std::slice::from_ref(cost), times).map(|spent| self.is_within_budget(spent));
        let (mut fitting, mut exceeding) = (0, 1);
        while fits(exceeding)? {
            if exceeding == MAX_FORECAST {
                return Ok(MAX_FORECAST);
            }
            (fitting, exceeding) = (exceeding, exceeding * 2);
        }
        while exceeding - fitting > 1 {
            let middle = fitting.midpoint(exceeding);
            if fits(middle)? { fitting = middle } else { exceeding = middle }
        }
        Ok(fitting)
    }

    /// What would be spent after all of `costs`, `times` times. Changes nothing.
    ///
    /// # Errors
    /// A cost makes no sense.
    pub fn after(&self, costs: &[Mechanism], times: u64) -> Result<Guarantee, PrivacyError> {
        let mut spending = self.spending.clone();
        costs.iter().try_for_each(|cost| spending.add(cost, times))?;
        self.reading(&spending)
    }

    fn reading(&self, spending: &Composition) -> Result<Guarantee, PrivacyError> {
        let delta = self.budget.delta;
        let known = spending.epsilon(delta)?;
        Ok(Guarantee { epsilon: if self.is_unknown { f64::INFINITY } else { known }, delta })
    }

    /// False also where either is not a number.
    fn is_within_budget(&self, spent: Guarantee) -> bool {
        spent.epsilon <= self.budget.epsilon
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::canonical;

    const BUDGET: Guarantee = Guarantee { epsilon: 2.0, delta: 1e-6 };
    const TRAINING: Mechanism =
        Mechanism::SubsampledGaussian { noise_multiplier: 4.0, sampling_rate: 0.05, steps: 200 };
    const COUNTS: Mechanism = Mechanism::ZeroConcentrated { rho: 0.001 };

    fn debit(sequence: u64, mechanism: Mechanism) -> Debit {
        let (data_set, purpose) = ("events".to_owned(), "round 1".to_owned());
        let (unit, at, mechanism) = (PrivacyUnit::Record, Timestamp::EPOCH, Some(mechanism));
        Debit { data_set, unit, mechanism, purpose, at, sequence, previous: None }
    }

    fn repeated(count: u64) -> Vec<Debit> {
        (1..=count).map(|sequence| debit(sequence, TRAINING)).collect()
    }

    #[test]
    fn a_forecast_is_exactly_what_is_then_admitted() {
        let mut ledger = Ledger::replay(BUDGET, &[debit(1, COUNTS)]).unwrap();
        let forecast = ledger.forecast(&TRAINING).unwrap();
        assert!((2..50).contains(&forecast), "{forecast}");
        for sequence in 2..forecast + 2 {
            let promised = ledger.admit(&TRAINING).unwrap();
            ledger.debit(&debit(sequence, TRAINING)).unwrap();
            assert_eq!(ledger.spent().unwrap(), promised);
        }
        assert!(matches!(ledger.admit(&TRAINING), Err(PrivacyError::BudgetExceeded { .. })));
        assert_eq!(ledger.forecast(&TRAINING).unwrap(), 0);
    }

    #[test]
    fn a_refusal_changes_nothing_and_names_spent_and_would_be() {
        let ledger = Ledger::replay(BUDGET, &repeated(2)).unwrap();
        let before = ledger.spent().unwrap();
        let greedy = Mechanism::ZeroConcentrated { rho: 5.0 };
        let Err(PrivacyError::BudgetExceeded { spent, would_be, budget }) = ledger.admit(&greedy) else { panic!() };
        assert_eq!((spent, budget), (before, BUDGET));
        assert!(would_be.epsilon > BUDGET.epsilon);
        assert_eq!(ledger.spent().unwrap(), before);
        assert!(ledger.admit(&COUNTS).is_ok());
    }

    #[test]
    fn p1_a_spent_budget_stays_spent_after_a_restart_and_under_a_lowered_budget() {
        let mut ledger = Ledger::new(BUDGET);
        let fitting = ledger.forecast(&TRAINING).unwrap();
        for debit in &repeated(fitting) {
            ledger.debit(debit).unwrap();
        }
        let restarted = Ledger::replay(BUDGET, &repeated(fitting)).unwrap();
        assert_eq!(restarted.spent().unwrap(), ledger.spent().unwrap());
        assert!(restarted.admit(&TRAINING).is_err());
        let lowered = Ledger::replay(Guarantee { epsilon: 0.5, ..BUDGET }, &repeated(fitting)).unwrap();
        assert!(lowered.admit(&COUNTS).is_err());
        assert_eq!(lowered.forecast(&COUNTS).unwrap(), 0);
    }

    #[test]
    fn a_gap_and_a_repeated_debit_are_refused() {
        let mut ledger = Ledger::replay(BUDGET, &repeated(2)).unwrap();
        for sequence in [0, 2, 4, u64::MAX] {
            let refused = ledger.debit(&debit(sequence, TRAINING));
            assert_eq!(refused, Err(PrivacyError::OutOfSequence { expected: 3, found: sequence }));
        }
        assert_eq!(ledger.debit(&debit(3, TRAINING)), Ok(()));
    }

    #[test]
    fn a_debit_of_unknown_cost_may_stand_for_several_and_leaves_nothing_to_spend() {
        let lost = |sequence| Debit { mechanism: None, ..debit(sequence, COUNTS) };
        let mut ledger = Ledger::replay(BUDGET, &repeated(2)).unwrap();
        assert!(ledger.debit(&lost(2)).is_err() && ledger.debit(&lost(u64::MAX)).is_err());
        ledger.debit(&lost(7)).unwrap();
        assert_eq!((ledger.next_sequence(), ledger.spent().unwrap().epsilon), (8, f64::INFINITY));
        assert!(matches!(ledger.admit(&COUNTS), Err(PrivacyError::BudgetExceeded { .. })));
        assert_eq!(ledger.forecast(&COUNTS), Ok(0));
        ledger.debit(&debit(8, COUNTS)).unwrap();
    }

    #[test]
    fn a_cost_that_makes_no_sense_is_neither_admitted_nor_debited() {
        let mut ledger = Ledger::new(BUDGET);
        for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let senseless = Mechanism::ZeroConcentrated { rho };
            assert!(matches!(ledger.admit(&senseless), Err(PrivacyError::Mechanism { .. })));
            assert!(ledger.debit(&debit(1, senseless)).is_err());
        }
        assert_eq!((ledger.next_sequence(), ledger.spent().unwrap().epsilon), (1, 0.0));
    }

    #[test]
    fn a_budget_that_is_no_number_admits_nothing() {
        let ledger = Ledger::new(Guarantee { epsilon: f64::NAN, delta: 1e-6 });
        assert!(matches!(ledger.admit(&COUNTS), Err(PrivacyError::BudgetExceeded { .. })));
        assert!(Ledger::new(Guarantee { epsilon: 1.0, delta: 0.0 }).admit(&COUNTS).is_err());
    }

    #[test]
    fn a_debit_reads_back_from_its_canonical_bytes() {
        let debit = debit(1, TRAINING);
        assert_eq!(canonical::decode::<Debit>(&canonical::encode(&debit).unwrap()).unwrap(), debit);
    }
}
