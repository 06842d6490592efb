//! Participants who break the protocol of a masked round: the proof is kept, whole enough for anybody to check it, and
//! they may do no more than watch.

use serde_json::{Value, json};
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::masking::label::{Dealt, sealed_share};
use shared::masking::{Complaint, Element, Reveal, SecureAggregation};
use shared::store::Batch;
use shared::task::Task;
use shared::update::{Join, UpdateHeader};
use shared::{ParticipantId, RoundId};
use shared_crypto::masking::{AgreementProof, AgreementPublic, Circle, SealedDealing, open_share};

use super::words::{dealing, document};
use crate::Error;
use crate::context::Context;
use crate::durable::{self, Evidence};
use crate::intake::IntakeError;

/// A secret that was dealt: what of it is public, and the signed document that names its dealing.
pub(super) struct Dealer {
    pub(super) secret: Element,
    pub(super) signed: SignedDocument,
    pub(super) dealing: SealedDealing,
}

impl Dealer {
    /// The secret that `dealer` dealt in a round: its own mask's where it delivered, its round key's where it dropped.
    pub(super) fn of(
        context: &Context,
        circle: &Circle,
        round_id: &RoundId,
        dealt: Dealt,
        dealer: &ParticipantId,
    ) -> Result<Self, Error> {
        let (signed_as, dealt_as) = match dealt {
            Dealt::RoundKey => (Evidence::Join, Evidence::JoinDealing),
            Dealt::SelfMask => (Evidence::Update, Evidence::UpdateDealing),
        };
        let signed = document(context, round_id, signed_as, dealer)?;
        let body = signed.body.as_bytes();
        let secret = match dealt {
            Dealt::RoundKey => shared::canonical::decode::<Join>(body)?.masking.map(|offer| offer.round_key),
            Dealt::SelfMask => shared::canonical::decode::<UpdateHeader>(body)?.masked.map(|masked| masked.self_mask),
        };
        let secret = secret.ok_or(IntakeError::NotMasked)?;
        Ok(Self { secret, signed, dealing: dealing(context, circle, round_id, dealt_as, dealer)? })
    }
}

/// Judges a complaint: a dealer that sealed no valid share is convicted, and a complaint without ground is refused.
pub(super) fn check_complaint(
    context: &Context,
    (task, circle): (&Task, &Circle),
    reveal: &Reveal,
    document: &SignedDocument,
    dealer: &ParticipantId,
    complaint: &Complaint,
) -> Result<(), Error> {
    let unfounded = || Error::from(IntakeError::Unfounded { dealer: dealer.clone() });
    let (holder, round_id) = (&reveal.participant_id, &reveal.round_id);
    let delivered = durable::evidence(round_id, Evidence::UpdateDealing, dealer);
    let dealt = if context.store.get(&delivered)?.is_some() { Dealt::SelfMask } else { Dealt::RoundKey };
    let found = Dealer::of(context, circle, round_id, dealt, dealer)?;
    let keys = task.secure_aggregation.as_ref().and_then(|terms: &SecureAggregation| terms.roster.get(holder));
    let holder_key = AgreementPublic::try_from(&keys.ok_or_else(unfounded)?.agreement)?;
    let proof = AgreementProof::try_from(complaint.proof.clone())?;
    let info = sealed_share(round_id, dealt, dealer, holder);
    let secret = proof.verify(&holder_key, found.dealing.key()).map_err(|_| unfounded())?;
    let number = circle.share_number(dealer, holder).ok_or_else(unfounded)?;
    let sealed = found.dealing.ciphertext(number).ok_or_else(unfounded)?;
    if open_share(&secret.seed(&info), sealed)
        .is_ok_and(|share| found.dealing.commitments().verify(number, &share).is_ok())
    {
        return Err(unfounded());
    }
    let proof =
        json!({"kind": "no-share", "dealer": found.signed, "dealing": hex(&found.dealing), "complaint": document});
    convict(context, round_id, dealer, "sealed no valid share for a neighbour", proof)
}

/// A revealed share that its dealer's commitments disprove.
pub(super) fn wrong_share(
    context: &Context,
    round_id: &RoundId,
    holder: &ParticipantId,
    found: &Dealer,
) -> Result<(), Error> {
    let reveal = document(context, round_id, Evidence::Reveal, holder)?;
    let proof =
        json!({"kind": "wrong-share", "dealer": found.signed, "dealing": hex(&found.dealing), "reveal": reveal});
    convict(context, round_id, holder, "revealed a wrong share", proof)
}

fn hex(dealing: &SealedDealing) -> String {
    dealing.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps the proof and quarantines who it is about; the first proof stands.
fn convict(
    context: &Context,
    round_id: &RoundId,
    participant_id: &ParticipantId,
    what: &str,
    proof: Value,
) -> Result<(), Error> {
    let (key, now) = (durable::misconduct(round_id, participant_id), context.clock.now());
    if context.store.get(&key)?.is_none() {
        let content =
            json!({"event": "misconduct", "round_id": round_id, "participant_id": participant_id, "what": what});
        let (entry, record) = context.journal.entry(AuditKind::Round, now, &content)?;
        context.store.apply(Batch::new().put(key, durable::encode(&proof)?).put(entry, record))?;
        context.journal.drain_or_defer();
        metrics::counter!("ringfence_misconduct_total").increment(1);
        tracing::warn!(%participant_id, %round_id, what, "a participant broke the protocol");
    }
    context.registry.quarantine(participant_id, format!("{what} in round {round_id}"), now)
}
