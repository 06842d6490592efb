//! Participants who break the protocol of a masked round: the proof is kept, whole enough for anybody to check it, and
//! they may do no more than watch.

use serde_json::{Value, json};
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::masking::Element;
use shared::masking::label::{Dealt, sealed_share};
use shared::store::Batch;
use shared::task::Task;
use shared::update::{Join, UpdateHeader};
use shared::{ParticipantId, RoundId};
use shared_crypto::masking::{AgreementPublic, Circle, RoundKey, SealedDealing};

use super::words::{dealing, document};
use crate::Error;
use crate::context::Context;
use crate::durable::{self, Evidence, Misconduct};
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

/// A secret that some holders' shares do not fit, with what they revealed.
pub(super) struct Dispute<'a> {
    pub(super) round_id: &'a RoundId,
    pub(super) circle: &'a Circle,
    pub(super) dealer: &'a ParticipantId,
    pub(super) dealt: Dealt,
    pub(super) found: &'a Dealer,
    /// Whose share does not fit, or who was handed nothing that opens.
    pub(super) holders: Vec<&'a ParticipantId>,
}

impl Dispute<'_> {
    /// Judges by the secret, which is known: a dealing that does not follow from it convicts the dealer; else those whose
    /// shares do not fit it are wrong.
    pub(super) fn settle(&self, context: &Context, task: &Task, secret: &RoundKey) -> Result<(), Error> {
        if self.dealing_of(task, secret)? != self.found.dealing {
            let proof = json!({"secret": Element::from(*secret.to_scalar().to_bytes())});
            return self.convict(context, self.dealer, "dealt a secret in shares that do not make it", proof);
        }
        self.holders.iter().try_for_each(|holder| {
            let reveal = document(context, self.round_id, Evidence::Reveal, holder)?;
            self.convict(context, holder, "revealed a wrong share", json!({"reveal": reveal}))
        })
    }

    /// Judges by numbers, where the secret cannot be put together: as many holders as can never all be wrong say that
    /// they have no share of it.
    pub(super) fn outvote(&self, context: &Context) -> Result<(), Error> {
        let spare = self.circle.holder_count().saturating_sub(self.circle.threshold());
        if self.holders.len() <= spare {
            return Ok(());
        }
        let reveal = |holder: &&ParticipantId| document(context, self.round_id, Evidence::Reveal, holder);
        let reveals: Vec<SignedDocument> = self.holders.iter().map(reveal).collect::<Result<_, _>>()?;
        let what = "dealt a secret in shares that nobody can put together";
        self.convict(context, self.dealer, what, json!({"reveals": reveals}))
    }

    /// The dealing that follows from the secret.
    fn dealing_of(&self, task: &Task, secret: &RoundKey) -> Result<SealedDealing, Error> {
        let Self { round_id, circle, dealer, dealt, .. } = self;
        let roster = &task.secure_aggregation.as_ref().ok_or(IntakeError::NotMasked)?.roster;
        let holder = |holder| -> Result<_, Error> {
            let keys = roster.get(holder).ok_or(IntakeError::NotMasked)?;
            Ok((AgreementPublic::try_from(&keys.agreement)?, sealed_share(round_id, *dealt, dealer, holder)))
        };
        let holders: Vec<_> = circle.holders(dealer).map(holder).collect::<Result<_, _>>()?;
        Ok(SealedDealing::deal(secret, circle.threshold(), &holders)?)
    }

    fn convict(&self, context: &Context, who: &ParticipantId, what: &str, mut proof: Value) -> Result<(), Error> {
        if let Value::Object(fields) = &mut proof {
            fields.insert("dealer".to_owned(), json!(self.found.signed));
            fields.insert("dealing".to_owned(), json!(hex(&self.found.dealing)));
        }
        convict(context, self.round_id, who, what, proof)
    }
}

fn hex(dealing: &SealedDealing) -> String {
    dealing.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps the proof and quarantines who it is about; the first proof stands.
pub(super) fn convict(
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
        let misconduct = Misconduct { what: what.to_owned(), proof };
        let (entry, record) = context.journal.entry(AuditKind::Round, now, &content)?;
        context.store.apply(Batch::new().put(key, durable::encode(&misconduct)?).put(entry, record))?;
        context.journal.drain_or_defer();
        metrics::counter!("ringfence_misconduct_total").increment(1);
        tracing::warn!(%participant_id, %round_id, what, "a participant broke the protocol");
    }
    context.registry.quarantine(participant_id, format!("{what} in round {round_id}"), now)
}
