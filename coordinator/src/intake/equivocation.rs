//! A participant that signs two different documents where one is due: both are kept, and it may do no more than watch.

use shared::RoundId;
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::round::IllegalTransition;
use shared::store::Batch;

use crate::context::Context;
use crate::{Error, durable};

/// Acts on what came of a document: if it was equivocation, makes that durable, with its evidence, and quarantines the
/// sender. The first document is kept already, as the one that was accepted.
pub(crate) fn convict<T>(
    context: &Context,
    document: &SignedDocument,
    round_id: &RoundId,
    result: Result<T, Error>,
) -> Result<T, Error> {
    if let Err(Error::Round(IllegalTransition::Equivocation { participant_id, first, second })) = &result {
        let key = durable::equivocation(round_id, participant_id);
        let now = context.clock.now();
        if context.store.get(&key)?.is_none() {
            let content = serde_json::json!({
                "event": "equivocation", "round_id": round_id, "participant_id": participant_id,
                "first": first, "second": second,
            });
            let (entry, record) = context.journal.entry(AuditKind::Round, now, &content)?;
            context.store.apply(Batch::new().put(key, durable::encode(document)?).put(entry, record))?;
            context.journal.drain_or_defer();
            metrics::counter!("ringfence_equivocations_total").increment(1);
            tracing::warn!(%participant_id, %round_id, %first, %second, "a participant equivocated");
        }
        let reason = format!("contradicted in round {round_id} what it had signed in it");
        context.registry.quarantine(participant_id, reason, now)?;
    }
    result
}
