//! A participant that signs two different updates for one round: both headers are kept, and it may do no more than watch.

use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::round::IllegalTransition;
use shared::store::Batch;
use shared::update::UpdateHeader;

use crate::context::Context;
use crate::{Error, durable};

/// Acts on what came of an update: if it was equivocation, makes that durable, with its evidence, and quarantines the
/// sender. The first header is kept already, as that of the update that was accepted.
pub(crate) fn convict<T>(
    context: &Context,
    document: &SignedDocument,
    header: &UpdateHeader,
    result: Result<T, Error>,
) -> Result<T, Error> {
    if let Err(Error::Round(IllegalTransition::Equivocation { participant_id, first, second })) = &result {
        let key = durable::equivocation(&header.round_id, participant_id);
        let now = context.clock.now();
        if context.store.get(&key)?.is_none() {
            let content = serde_json::json!({
                "event": "equivocation", "round_id": header.round_id, "participant_id": participant_id,
                "first": first, "second": second,
            });
            let (entry, record) = context.journal.entry(AuditKind::Round, now, &content)?;
            context.store.apply(Batch::new().put(key, durable::encode(document)?).put(entry, record))?;
            context.journal.drain_or_defer();
            metrics::counter!("ringfence_equivocations_total").increment(1);
            tracing::warn!(%participant_id, round_id = %header.round_id, %first, %second, "a participant equivocated");
        }
        let reason = format!("signed two different updates for round {}", header.round_id);
        context.registry.quarantine(participant_id, reason, now)?;
    }
    result
}
