//! The secrets that survivors revealed, put together from their shares: of who delivered the one that made its own mask,
//! of who dropped the one of its round key.

use std::collections::BTreeMap;

use shared::document::SignedDocument;
use shared::masking::label::Dealt;
use shared::masking::{Element, Reveal};
use shared::round::Collected;
use shared::task::Task;
use shared::{ParticipantId, canonical};
use shared_crypto::masking::{Circle, Interpolation, RoundKey, SecretScalar};

use super::MaskingError;
use super::misconduct::{Dealer, Dispute};
use crate::Error;
use crate::context::Context;
use crate::durable::{self, Evidence};

/// The secrets of a round.
pub(super) struct Secrets {
    /// What made the own mask of each who delivered.
    pub(super) self_masks: BTreeMap<ParticipantId, SecretScalar>,
    /// The round key of each who dropped.
    pub(super) round_keys: BTreeMap<ParticipantId, RoundKey>,
}

/// A share with who revealed it, and its number.
struct Revealed<'a> {
    holder: &'a ParticipantId,
    number: u32,
    share: SecretScalar,
}

/// Puts the secrets together. Others stand in for a share that does not fit, and whoever is to blame for it is convicted.
pub(super) fn secrets(context: &Context, task: &Task, round: &Collected) -> Result<Secrets, Error> {
    let reveals = reveals(context, round)?;
    let circle = Circle::new(&task.cohort, &round.plan.task_digest);
    let mut pool = Pool { context, task, circle, round, reveals, weights: BTreeMap::new() };
    let mut secrets = Secrets { self_masks: BTreeMap::new(), round_keys: BTreeMap::new() };
    for dealer in round.accepted.keys() {
        let secret = pool.secret(Dealt::SelfMask, dealer)?;
        secrets.self_masks.insert(dealer.clone(), secret.to_scalar());
    }
    for dealer in &round.dropped {
        secrets.round_keys.insert(dealer.clone(), pool.secret(Dealt::RoundKey, dealer)?);
    }
    Ok(secrets)
}

fn reveals(context: &Context, round: &Collected) -> Result<Vec<Reveal>, Error> {
    let read = |id| {
        let key = durable::evidence(&round.plan.round_id, Evidence::Reveal, id);
        let document: Option<SignedDocument> = durable::read(&*context.store, &key)?;
        Ok(document.map(|document| canonical::decode(document.body.as_bytes())).transpose()?)
    };
    round.accepted.keys().map(read).filter_map(Result::transpose).collect()
}

struct Pool<'a> {
    context: &'a Context,
    task: &'a Task,
    circle: Circle,
    round: &'a Collected,
    reveals: Vec<Reveal>,
    /// Weights by the numbers of the shares: most secrets are put together from the same holders' shares.
    weights: BTreeMap<Vec<u32>, Interpolation>,
}

impl Pool<'_> {
    fn secret(&mut self, dealt: Dealt, dealer: &ParticipantId) -> Result<RoundKey, Error> {
        let Self { context, task, circle, round, reveals, weights } = self;
        let round_id = &round.plan.round_id;
        let found = Dealer::of(context, circle, round_id, dealt, dealer)?;
        let threshold = circle.threshold();
        let shares = shares_of(circle, reveals, dealer);
        let secret = combined(weights, &shares, threshold, &found.secret)?;
        let unopened = reveals.iter().filter(|reveal| reveal.unopened.contains(dealer));
        let mut holders: Vec<&ParticipantId> = unopened.map(|reveal| &reveal.participant_id).collect();
        if let Some(secret) = secret.filter(|_| holders.is_empty()) {
            return Ok(secret);
        }
        let (good, wrong): (Vec<_>, Vec<_>) =
            shares.into_iter().partition(|held| found.dealing.commitments().verify(held.number, &held.share).is_ok());
        holders.extend(wrong.iter().map(|held| held.holder));
        let dispute = Dispute { round_id, circle, dealer, dealt, found: &found, holders };
        let Some(secret) = combined(weights, &good, threshold, &found.secret)? else {
            dispute.outvote(context)?;
            let missing = MaskingError::Shares { dealer: dealer.clone(), found: good.len(), needed: threshold };
            return Err(missing.into());
        };
        dispute.settle(context, task, &secret)?;
        Ok(secret)
    }
}

fn shares_of<'a>(circle: &Circle, reveals: &'a [Reveal], dealer: &ParticipantId) -> Vec<Revealed<'a>> {
    let held = |reveal: &'a Reveal| {
        let share = reveal.shares.get(dealer)?;
        let number = circle.share_number(dealer, &reveal.participant_id)?;
        // What is no scalar is no share; the site that revealed it is not heard.
        Some(Revealed { holder: &reveal.participant_id, number, share: SecretScalar::try_from(share).ok()? })
    };
    reveals.iter().filter_map(held).collect()
}

/// The secret that the first shares make, if it is the one whose public part is `public`.
fn combined(
    weights: &mut BTreeMap<Vec<u32>, Interpolation>,
    shares: &[Revealed<'_>],
    threshold: usize,
    public: &Element,
) -> Result<Option<RoundKey>, Error> {
    let Some(shares) = shares.get(..threshold) else { return Ok(None) };
    let numbers: Vec<u32> = shares.iter().map(|held| held.number).collect();
    if !weights.contains_key(&numbers) {
        weights.insert(numbers.clone(), Interpolation::at(&numbers, threshold)?);
    }
    let shares: Vec<SecretScalar> = shares.iter().map(|held| held.share.clone()).collect();
    let Some(weights) = weights.get(&numbers) else { return Ok(None) };
    let secret = RoundKey::from_scalar(weights.secret(&shares)?);
    Ok((Element::from(secret.public()) == *public).then_some(secret))
}
