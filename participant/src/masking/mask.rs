//! An update put on the task's grid, committed to, and masked: with a secret of the site's own and with one for each
//! neighbour who joined.

use rand_chacha::rand_core::Rng;
use shared::ParamVector;
use shared::masking::label::{Dealt, pair_mask, self_mask};
use shared::masking::{Element, MaskedPart, SecureAggregation};
use shared_crypto::digest;
use shared_crypto::masking::{CommitmentKey, CommittedVector, RoundKey, SecretScalar, Seed, add_masks};

use super::{Member, Plan};
use crate::error::SiteError;

/// A masked update, ready to be signed and sent.
pub struct MaskedUpdate {
    /// The masked words, little-endian u32.
    pub payload: Vec<u8>,
    /// What the header says of it.
    pub said: MaskedPart,
    /// The dealing of the secret of the site's own mask.
    pub dealing: Vec<u8>,
    /// The secrets that all its masks are made of.
    pub secrets: Secrets,
}

/// All that the masks on an update are made of: whoever knows it sees the update.
#[derive(Clone)]
pub struct Secrets {
    /// The key that the site joined with.
    pub round_key: SecretScalar,
    /// The secret of its own mask.
    pub self_mask: SecretScalar,
}

impl Member<'_> {
    /// Masks `update`, which is private already, for a plan that was checked. `key` is the one that this site joined
    /// with; `rounding` gives uniform bits.
    pub fn mask(
        &self,
        plan: &Plan,
        key: &RoundKey,
        update: &ParamVector,
        rounding: &mut impl Rng,
    ) -> Result<MaskedUpdate, SiteError> {
        self.mask_values(plan, key, on_grid(self.terms()?, update, rounding))
    }

    /// Masks an update that is on the grid already, with as much noise as the task asks for.
    pub fn mask_values(&self, plan: &Plan, key: &RoundKey, values: Vec<i32>) -> Result<MaskedUpdate, SiteError> {
        let committing = CommitmentKey::shared(values.len(), self.terms()?.layout());
        let committed = CommittedVector::new(values, committing.rows())?;
        let commitments = committing.commit(&committed.values, &committed.blindings)?;
        let own = RoundKey::generate()?;
        let mut words = committed.to_words();
        let secrets = Secrets { round_key: key.to_scalar(), self_mask: own.to_scalar() };
        let (plus, minus) = self.seeds(plan, &secrets);
        add_masks(&plus, &minus, 0, &mut words);
        let dealing = self.deal(&plan.said.round_id, Dealt::SelfMask, &own)?;
        let said = MaskedPart {
            plan: plan.digest,
            commitments: commitments.into_iter().map(Element::from).collect(),
            self_mask: Element::from(own.public()),
            dealing: digest(&dealing),
        };
        let payload = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Ok(MaskedUpdate { payload, said, dealing, secrets })
    }

    /// What this site committed to, behind the masks that were put on it.
    pub(super) fn unmask(&self, plan: &Plan, secrets: &Secrets, payload: &[u8]) -> Result<CommittedVector, SiteError> {
        let mut words: Vec<u32> = payload.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let (plus, minus) = self.seeds(plan, secrets);
        add_masks(&minus, &plus, 0, &mut words);
        let len = self.task.update_len();
        Ok(CommittedVector::from_words(&words, len, self.terms()?.layout().rows(len))?)
    }

    /// The seeds of what is added and of what is taken away: of two neighbours the one whose name is less adds the mask
    /// that both know.
    fn seeds(&self, plan: &Plan, secrets: &Secrets) -> (Vec<Seed>, Vec<Seed>) {
        let me = self.participant_id;
        let key = RoundKey::from_scalar(secrets.round_key.clone());
        let mut plus = vec![Seed::of_scalar(&secrets.self_mask, &self_mask(&plan.said, plan.digest, me))];
        let mut minus = Vec::new();
        let peers: Vec<_> = plan.peers.iter().filter(|(peer, _)| *peer != me).collect();
        let pairs = key.agree_all(peers.iter().map(|(_, public)| *public));
        for ((peer, _), pair) in peers.into_iter().zip(pairs) {
            let seed = pair.seed(&pair_mask(&plan.said, plan.digest, me, peer));
            if me < peer { plus.push(seed) } else { minus.push(seed) }
        }
        (plus, minus)
    }
}

/// The update clipped to the task's norm and rounded to its grid without bias.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "bounded by the grid's limit on both sides, which an i32 holds"
)]
fn on_grid(terms: &SecureAggregation, update: &ParamVector, rounding: &mut impl Rng) -> Vec<i32> {
    let norm = update.l2_norm();
    let scale = if norm > terms.clip_norm { terms.clip_norm / norm } else { 1.0 } / terms.step();
    let limit = f64::from(terms.limit());
    let round = |value: &f32| {
        let scaled = f64::from(*value) * scale;
        let floor = scaled.floor();
        let up = f64::from(rounding.next_u32()) < (scaled - floor) * f64::from(u32::MAX);
        (floor + f64::from(u8::from(up))).clamp(-limit, limit) as i32
    };
    update.as_slice().iter().map(round).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use shared::masking::Assurance;

    use super::*;

    fn terms() -> SecureAggregation {
        SecureAggregation { clip_norm: 1.0, value_bits: 8, assurance: Assurance::None, roster: BTreeMap::new() }
    }

    #[test]
    fn an_update_is_clipped_and_rounded_without_bias() {
        let mut rounding = ChaCha20Rng::from_seed([1; 32]);
        let long = ParamVector::new(vec![30.0, 40.0]).unwrap();
        let on = on_grid(&terms(), &long, &mut rounding);
        assert!((76..=77).contains(&on[0]) && (102..=103).contains(&on[1]), "{on:?}");
        // 0.3 of a step: three of ten round up.
        let small = ParamVector::new(vec![0.3 / 128.0; 10_000]).unwrap();
        let terms = SecureAggregation { clip_norm: 1.0, ..terms() };
        let ups: i32 = on_grid(&terms, &small, &mut rounding).iter().sum();
        assert!((2_800..3_200).contains(&ups), "{ups}");
        assert_eq!(on_grid(&terms, &ParamVector::new(vec![-1.0]).unwrap(), &mut rounding), vec![-128]);
    }
}
