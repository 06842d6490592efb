//! From the closed set of updates to the signed record, and on to the next round or the release.

use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::invariant::Invariant;
use shared::release::RoundRecord;
use shared::round::{AbortReason, Aborted, Collected, Committed, Evaluated, RoundEvent};
use shared::store::Batch;
use shared::{Digest, Explain, Timestamp};
use shared_audit::transcript::updates_root;
use shared_crypto::document_digest;
use shared_ops::metrics::violation;

use super::Driver;
use crate::aggregate::{self, Made};
use crate::durable::{MaskingWord, ParamsRole};
use crate::release::{SignedRelease, publication, release, unmet};
use crate::task::{Outcome, Start};
use crate::{Error, durable};

impl Driver {
    pub(super) fn aggregate(&mut self, round: &Collected, now: Timestamp) -> Result<(), Error> {
        let Made { candidate, server_state, sum } =
            match aggregate::candidate(&self.context, &self.task.task, round, &self.sum) {
                Ok(made) => made,
                // A disk or store that fails may work again; then it is computed again.
                Err(error @ (Error::Store(_) | Error::Disk { .. })) => return Err(error),
                Err(error) => {
                    let reason = AbortReason::AggregateFailed { reason: format!("{} [{}]", error, error.code()) };
                    return self.record(&RoundEvent::Aborted { reason, at: now }, Batch::new());
                }
            };
        let user = &round.plan.round_id;
        let mut batch = Batch::new().put(durable::params_use(candidate.digest(), ParamsRole::Shared, user), "");
        if let Some(state) = &server_state {
            batch = batch.put(durable::params_use(state.digest(), self.task.state_role(), user), "");
        }
        if let Some((sum, word)) = &sum {
            batch = batch.put(durable::params_use(sum.digest(), ParamsRole::Shared, user), "");
            batch = batch.put(durable::masking_word(user, MaskingWord::Sum), durable::encode(word)?);
        }
        let server_state = server_state.as_ref().map(crate::blob::Params::digest);
        self.record(&RoundEvent::Aggregated { candidate: candidate.digest(), server_state, at: now }, batch)
    }

    pub(super) fn sign_record(&mut self, round: &Evaluated, now: Timestamp) -> Result<(), Error> {
        let record = self.context.signer.sign(&RoundRecord {
            round_id: round.plan.round_id.clone(),
            task_digest: round.plan.task_digest,
            checkpoint: round.plan.checkpoint,
            aggregation: self.task.task.aggregation.clone(),
            server_state_before: round.plan.server_state,
            accepted: round.accepted.clone(),
            updates_root: updates_root(&round.accepted)?,
            candidate: round.candidate,
            server_state: round.server_state,
            tally: round.tally,
            masked_sum: self.masked_sum(round)?,
            recomputed: None,
            committed_at: now,
        })?;
        let name = document_digest(&record);
        let (round_id, candidate) = (&round.plan.round_id, round.candidate);
        let content = serde_json::json!({
            "event": "committed", "round_id": round_id, "record": name, "candidate": candidate,
            "accepted": round.accepted.len(),
        });
        let batch = Batch::new().put(durable::record(round_id), durable::encode(&record)?);
        let batch = self.journaled(batch, AuditKind::Round, now, &content)?;
        self.record(&RoundEvent::Committed { record: name, at: now }, batch)?;
        self.context.journal.drain_or_defer();
        metrics::counter!("ringfence_rounds_total", "result" => "committed").increment(1);
        Ok(())
    }

    /// Digest of the coordinator's word on the sum that a masked round's candidate follows from.
    fn masked_sum(&self, round: &Evaluated) -> Result<Option<Digest>, Error> {
        let key = durable::masking_word(&round.plan.round_id, MaskingWord::Sum);
        let word: Option<SignedDocument> = durable::read(&*self.context.store, &key)?;
        Ok(word.as_ref().map(document_digest))
    }

    /// Goes on after a committed round; whether there was anything to do.
    pub(super) fn after_commit(&mut self, round: &Committed, now: Timestamp) -> Result<bool, Error> {
        if self.round.committed() >= self.task.task.rounds {
            return self.publish(round, now).map(|()| true);
        }
        if self.entry.paused {
            return Ok(false);
        }
        let start = Start { checkpoint: round.candidate, server_state: round.server_state };
        self.announce(start, 0, Batch::new(), now).map(|()| true)
    }

    /// Makes the last candidate a release, if it passes the gates.
    fn publish(&mut self, round: &Committed, now: Timestamp) -> Result<(), Error> {
        let document: SignedDocument = durable::read(&*self.context.store, &durable::record(&round.plan.round_id))?
            .ok_or_else(|| Error::UnknownRound(round.plan.round_id.clone()))?;
        let opened = self.context.signer.public().open(&document);
        let record: RoundRecord = opened.inspect_err(|_| violation(Invariant::RoundSigned))?;
        let reasons = unmet(&self.task.task.gates, &record.tally);
        if !reasons.is_empty() {
            return self.end(Outcome::Refused { reasons, at: now }, AuditKind::Release, Batch::new(), now);
        }
        let release = release(&self.task.task, &record, round.record, now);
        let signed = SignedRelease { release: self.context.signer.sign(&release)?, round_record: document };
        let batch = publication(&*self.context.store, &self.context.operator, &release, &signed, now)?;
        let batch = batch.put(durable::params_use(release.params, ParamsRole::Shared, &release.release_id), "");
        let content = serde_json::json!({
            "event": "released", "release_id": release.release_id, "release": document_digest(&signed.release),
            "params": release.params,
        });
        let batch = self.journaled(batch, AuditKind::Release, now, &content)?;
        let outcome = Outcome::Released { release_id: release.release_id, at: now };
        self.end(outcome, AuditKind::Task, batch, now)
    }

    /// Goes on after a round without a result; whether there was anything to do.
    pub(super) fn after_abort(&mut self, round: &Aborted, now: Timestamp) -> Result<bool, Error> {
        let aborted = self.round.entry.aborted_before.saturating_add(1);
        let is_last = aborted >= self.context.aborted_rounds;
        if self.entry.paused && !is_last {
            return Ok(false);
        }
        let content = serde_json::json!({"event": "aborted", "round_id": round.plan.round_id, "reason": round.reason});
        let batch = self.journaled(Batch::new(), AuditKind::Round, now, &content)?;
        if is_last {
            let reason = format!("{aborted} rounds in a row without a result; the last: {}", in_words(&round.reason));
            self.end(Outcome::Failed { reason, at: now }, AuditKind::Task, batch, now)?;
        } else {
            let start = Start { checkpoint: round.plan.checkpoint, server_state: round.plan.server_state };
            self.announce(start, aborted, batch, now)?;
        }
        metrics::counter!("ringfence_rounds_total", "result" => "aborted").increment(1);
        Ok(true)
    }
}

fn in_words(reason: &AbortReason) -> String {
    match reason {
        AbortReason::NoQuorum { present, needed } => format!("{present} came where {needed} were needed"),
        AbortReason::StaysMasked { present, needed } => {
            format!("{present} of the {needed} who were needed helped to unmask the sum")
        }
        AbortReason::NoRoot { root } => format!("`{root}`, by whose update the others are measured, did not open it"),
        AbortReason::AggregateFailed { reason } => reason.clone(),
        AbortReason::Operator => "the operator ended it".to_owned(),
    }
}
