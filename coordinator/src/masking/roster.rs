//! The roster of a masked task: the keys of its whole cohort, as they stand in the registry when the operator signs.

use shared::masking::{Element, RosterKeys};
use shared::task::{InvalidTask, Task};
use shared_crypto::PublicKey;

use crate::Error;
use crate::enrol::Registry;

/// Fills in the roster of a task whose updates are masked; all others are left as they are.
pub(crate) fn enlist(task: &mut Task, registry: &Registry) -> Result<(), Error> {
    let Some(terms) = &mut task.secure_aggregation else { return Ok(()) };
    terms.roster.clear();
    for participant_id in &task.cohort {
        let absent = |_| InvalidTask {
            field: "cohort",
            reason: format!("`{participant_id}` has not enrolled, so that nobody can seal to it"),
        };
        let member = registry.find(participant_id).map_err(absent)?;
        let keys = RosterKeys { identity: identity(member.identity_key), agreement: member.agreement_key };
        terms.roster.insert(participant_id.clone(), keys);
    }
    Ok(())
}

fn identity(key: PublicKey) -> Element {
    Element::from(*key.as_bytes())
}
