//! The promises of Ringfence by name, with a counter each in `/metrics`
//! (`ringfence_invariant_violations_total{invariant="…"}`) that must stay 0.
//!
//! A breach is counted where code can still meet one at run time. Today those are `r1_update_durable`,
//! `r2_aggregate_exact`, `r4_round_signed` and `r5_memory_bounded`; the others are kept by types, transitions and
//! transactions that refuse, and by tests, so that their counters have nothing to count.

/// A promise that code may count a violation of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// R1: an acknowledged update is durable and counted once.
    UpdateDurable,
    /// R2: the aggregate is exactly the sum of the accepted updates.
    AggregateExact,
    /// R3: with secure aggregation on, no update is seen in the clear.
    UpdateMasked,
    /// R4: everything that decides a round is signed by who decided it.
    RoundSigned,
    /// R5: memory grows with the model, not with the number of participants.
    MemoryBounded,
    /// P1: a debit is durable before noise is drawn.
    DebitBeforeNoise,
    /// P2: ε is never under-reported.
    EpsilonSound,
    /// P4: raw identifiers exist only in the lake.
    IdentifiersTokenised,
    /// A1: no action without a decision; errors make the answer stricter.
    DecisionBeforeAction,
    /// A2: policies serve only signed, newer than those before, and with the certificate that proves them.
    BundleProven,
    /// A3: decide and reserve are one transaction.
    DecideAndReserve,
    /// A4: every automated action is a lease that lapses to rollback.
    LeaseLapses,
    /// A5: an intent is durable before an actuator is touched.
    IntentBeforeEffect,
    /// A6: features online equal features from the lake, bit for bit.
    FeaturesReplay,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::UpdateDurable,
        Self::AggregateExact,
        Self::UpdateMasked,
        Self::RoundSigned,
        Self::MemoryBounded,
        Self::DebitBeforeNoise,
        Self::EpsilonSound,
        Self::IdentifiersTokenised,
        Self::DecisionBeforeAction,
        Self::BundleProven,
        Self::DecideAndReserve,
        Self::LeaseLapses,
        Self::IntentBeforeEffect,
        Self::FeaturesReplay,
    ];

    /// The label in `/metrics`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpdateDurable => "r1_update_durable",
            Self::AggregateExact => "r2_aggregate_exact",
            Self::UpdateMasked => "r3_update_masked",
            Self::RoundSigned => "r4_round_signed",
            Self::MemoryBounded => "r5_memory_bounded",
            Self::DebitBeforeNoise => "p1_debit_before_noise",
            Self::EpsilonSound => "p2_epsilon_sound",
            Self::IdentifiersTokenised => "p4_identifiers_tokenised",
            Self::DecisionBeforeAction => "a1_decision_before_action",
            Self::BundleProven => "a2_bundle_proven",
            Self::DecideAndReserve => "a3_decide_and_reserve",
            Self::LeaseLapses => "a4_lease_lapses",
            Self::IntentBeforeEffect => "a5_intent_before_effect",
            Self::FeaturesReplay => "a6_features_replay",
        }
    }
}
