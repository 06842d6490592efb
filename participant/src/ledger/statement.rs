//! What the ledger says: budget, what is spent and left, by data set and unit too, for people and for `/metrics`.

use std::fmt;

use serde::Serialize;
use shared::privacy::{Guarantee, LedgerHead, Mechanism};
use shared_privacy::accountant;
use shared_privacy::ledger::Debit;
use utoipa::ToSchema;

use super::State;
use crate::error::SiteError;

/// The ledger as it is shown. Opening it has checked every signature, number and link.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Statement {
    /// What may be spent over the site's lifetime.
    #[schema(value_type = Object)]
    pub budget: Guarantee,
    /// What is spent by all debits together; ε is null after a debit of unknown cost.
    #[schema(value_type = Object)]
    pub spent: Guarantee,
    /// ε that is left.
    pub left: f64,
    /// The last debit, by number and digest.
    #[schema(value_type = Object)]
    pub head: LedgerHead,
    /// The debits by data set and unit.
    pub parts: Vec<Part>,
    /// Every debit, oldest first.
    #[schema(value_type = Vec<Object>)]
    pub debits: Vec<Debit>,
}

/// The debits of one data set and unit. Parts do not add up to the whole: ε composes better than that.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Part {
    /// Which records.
    pub data_set: String,
    /// What is protected: `record` or `entity`.
    pub unit: &'static str,
    /// How many debits.
    pub debits: u64,
    /// ε that they spend together, at the budget's δ; null after one of unknown cost.
    pub epsilon: f64,
}

impl State {
    pub(super) fn statement(&self) -> Result<Statement, SiteError> {
        let (budget, spent) = (self.ledger.budget(), self.ledger.spent()?);
        Ok(Statement {
            budget,
            spent,
            left: left(budget, spent),
            head: self.chain.head,
            parts: self.parts()?,
            debits: self.chain.debits.clone(),
        })
    }

    /// Sets the metrics.
    pub(super) fn show(&self) -> Result<(), SiteError> {
        let (budget, spent) = (self.ledger.budget(), self.ledger.spent()?);
        metrics::gauge!("ringfence_privacy_epsilon_budget").set(budget.epsilon);
        metrics::gauge!("ringfence_privacy_epsilon_spent").set(spent.epsilon);
        metrics::gauge!("ringfence_privacy_epsilon_left").set(left(budget, spent));
        metrics::gauge!("ringfence_privacy_delta").set(budget.delta);
        for Part { data_set, unit, debits, epsilon } in self.parts()? {
            let labels = [("data_set", data_set), ("unit", unit.to_owned())];
            metrics::counter!("ringfence_privacy_debits_total", &labels).absolute(debits);
            metrics::gauge!("ringfence_privacy_part_epsilon_spent", &labels).set(epsilon);
        }
        Ok(())
    }

    fn parts(&self) -> Result<Vec<Part>, SiteError> {
        let name = |debit: &Debit| (debit.data_set.clone(), debit.unit.name());
        let mut names: Vec<_> = self.chain.debits.iter().map(name).collect();
        names.sort();
        names.dedup();
        let part = |(data_set, unit)| {
            let own = self.chain.debits.iter().filter(|debit| debit.data_set == data_set && debit.unit.name() == unit);
            let costs: Vec<Option<Mechanism>> = own.map(|debit| debit.mechanism).collect();
            let debits = u64::try_from(costs.len()).unwrap_or(u64::MAX);
            let epsilon = match costs.into_iter().collect::<Option<Vec<_>>>() {
                Some(known) => accountant::epsilon(&known, self.ledger.budget().delta)?,
                None => f64::INFINITY,
            };
            Ok(Part { data_set, unit, debits, epsilon })
        };
        names.into_iter().map(part).collect()
    }
}

fn left(budget: Guarantee, spent: Guarantee) -> f64 {
    (budget.epsilon - spent.epsilon).max(0.0)
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for debit in &self.debits {
            writeln!(f, "{:>6}  {}  {:<6}  {}", debit.sequence, debit.at, debit.unit.name(), debit.purpose)?;
        }
        for part in &self.parts {
            let Part { data_set, unit, debits, epsilon } = part;
            writeln!(f, "{data_set} by {unit}: ε = {epsilon:.4} in {debits} debits")?;
        }
        let (spent, budget) = (self.spent, self.budget);
        write!(
            f,
            "spent ε = {:.4} of {:.4} at δ = {:e}, {:.4} left; {} debits, all signed",
            spent.epsilon,
            budget.epsilon,
            budget.delta,
            self.left,
            self.debits.len()
        )
    }
}
