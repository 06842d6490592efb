//! The candidate of a round, computed from exactly the updates in the store. It changes nothing, so that a crash in the
//! middle only means computing it again.

use shared::aggregate::{self, FedAvg};
use shared::invariant::Invariant;
use shared::round::Collected;
use shared::store::Store;
use shared::task::{AggregationRule, Task};
use shared::{Digest, ParamVector, ParticipantId};
use shared_crypto::digest;
use shared_ops::metrics::violation;

use crate::{Error, durable};

/// Every participant of a task counts alike.
const WEIGHT: u32 = 1;

/// The checkpoint plus the aggregate of the accepted changes.
pub(crate) fn candidate(store: &dyn Store, task: &Task, round: &Collected) -> Result<ParamVector, Error> {
    let len = task.model.param_count();
    let checkpoint = params(store, round.plan.checkpoint, len)?;
    let change = match task.aggregation {
        AggregationRule::FedAvg => mean(store, round, len)?,
        rule => {
            let updates = round.accepted.iter().map(|accepted| Ok((WEIGHT, update(store, round, accepted, len)?)));
            aggregate::aggregate(rule, &updates.collect::<Result<Vec<_>, Error>>()?)?
        }
    };
    Ok(checkpoint.plus(&change)?)
}

/// One update in memory at a time, however many there are.
fn mean(store: &dyn Store, round: &Collected, len: usize) -> Result<ParamVector, Error> {
    let mut sum = FedAvg::new(len);
    for accepted in &round.accepted {
        sum.add(WEIGHT, &update(store, round, accepted, len)?)?;
    }
    Ok(sum.finish()?)
}

/// An accepted update. That it is there and unchanged is promise R1.
fn update(
    store: &dyn Store,
    round: &Collected,
    (participant_id, accepted): (&ParticipantId, &Digest),
    len: usize,
) -> Result<ParamVector, Error> {
    let key = durable::payload(&round.plan.round_id, participant_id);
    let bytes = store.get(&key)?.filter(|bytes| digest(bytes) == *accepted).ok_or_else(|| {
        violation(Invariant::UpdateDurable);
        Error::Damaged { tree: key.tree, reason: format!("the accepted update of `{participant_id}` is not there") }
    })?;
    Ok(ParamVector::from_le_bytes(&bytes, len)?)
}

/// A checkpoint or candidate.
pub(crate) fn params(store: &dyn Store, name: Digest, len: usize) -> Result<ParamVector, Error> {
    let bytes = store.get(&durable::params(name))?.ok_or(Error::UnknownParams(name))?;
    Ok(ParamVector::from_le_bytes(&bytes, len)?)
}
