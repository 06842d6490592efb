//! What each key is derived for: labels that name one use in one round, so that no key serves two.

use super::MaskingPlan;
use crate::{Digest, ParticipantId, RoundId};

/// Which secret is dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dealt {
    /// The secret part of a round key, revealed when its owner dropped.
    RoundKey,
    /// The secret of a site's own mask, revealed when it delivered.
    SelfMask,
}

/// For the mask between two sites in a round: session, round, plan, model and pair, in either order of the pair.
pub fn pair_mask(plan: &MaskingPlan, plan_digest: Digest, one: &ParticipantId, other: &ParticipantId) -> Vec<u8> {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    let MaskingPlan { round_id, task_digest, checkpoint, .. } = plan;
    format!("ringfence/v1/pair-mask\n{round_id}\n{task_digest}\n{plan_digest}\n{checkpoint}\n{low}\n{high}")
        .into_bytes()
}

/// For the mask that is a site's own.
pub fn self_mask(plan: &MaskingPlan, plan_digest: Digest, owner: &ParticipantId) -> Vec<u8> {
    let MaskingPlan { round_id, task_digest, checkpoint, .. } = plan;
    format!("ringfence/v1/self-mask\n{round_id}\n{task_digest}\n{plan_digest}\n{checkpoint}\n{owner}").into_bytes()
}

/// What a proof about an update is bound to.
pub fn norm_proof(round_id: &RoundId, prover: &ParticipantId, challenge: Digest) -> Vec<u8> {
    format!("ringfence/v1/norm-proof\n{round_id}\n{prover}\n{challenge}").into_bytes()
}

/// For the share of a secret that `dealer` seals for `holder`.
pub fn sealed_share(round_id: &RoundId, dealt: Dealt, dealer: &ParticipantId, holder: &ParticipantId) -> Vec<u8> {
    let dealt = match dealt {
        Dealt::RoundKey => "round-key",
        Dealt::SelfMask => "self-mask",
    };
    format!("ringfence/v1/sealed-share\n{round_id}\n{dealt}\n{dealer}\n{holder}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{RoundNumber, TaskId};

    fn site(name: &str) -> ParticipantId {
        ParticipantId::new(name).unwrap()
    }

    #[test]
    fn both_ends_name_a_pair_alike_and_nothing_else_does() {
        let round_id = RoundId { task_id: TaskId::new("t").unwrap(), number: RoundNumber(3) };
        let digest = |byte| Digest([byte; 32]);
        let plan = MaskingPlan {
            round_id: round_id.clone(),
            task_digest: digest(1),
            checkpoint: digest(2),
            joined: BTreeMap::new(),
            beacon: None,
        };
        let of = |plan: &MaskingPlan| pair_mask(plan, digest(9), &site("a"), &site("b"));
        assert_eq!(of(&plan), pair_mask(&plan, digest(9), &site("b"), &site("a")));
        let other_model = MaskingPlan { checkpoint: digest(3), ..plan.clone() };
        let next = MaskingPlan { round_id: RoundId { number: RoundNumber(4), ..round_id }, ..plan.clone() };
        for other in [of(&other_model), of(&next), pair_mask(&plan, digest(8), &site("a"), &site("b"))] {
            assert_ne!(of(&plan), other);
        }
        assert_ne!(self_mask(&plan, digest(9), &site("a")), self_mask(&plan, digest(9), &site("b")));
    }
}
