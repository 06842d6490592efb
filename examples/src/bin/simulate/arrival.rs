//! When virtual participants deliver: some are slow by nature, all have better and worse days, some drop out.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::time::Duration;

/// A typical delay from joining to delivering, in virtual seconds.
const TYPICAL_SECONDS: f64 = 20.0;
/// Spread of the participants' own speeds, and of each one's days: standard deviations of the delay's logarithm.
const BETWEEN: f64 = 0.6;
const WITHIN: f64 = 0.3;

/// How participants behave; the same seed gives the same behaviour.
pub(crate) struct Behaviour {
    seed: u64,
    dropout: f64,
}

impl Behaviour {
    pub(crate) fn new(seed: u64, dropout: f64) -> Self {
        Self { seed, dropout }
    }

    /// How long `participant` takes in `round`; `None` where it drops out.
    pub(crate) fn delay(&self, participant: usize, round: u32) -> Option<Duration> {
        let mut nature = self.stream(participant, 0);
        let mut day = self.stream(participant, u64::from(round));
        if uniform(&mut day) < self.dropout {
            return None;
        }
        let exponent = BETWEEN * normal(&mut nature) + WITHIN * normal(&mut day);
        Some(Duration::from_secs_f64(TYPICAL_SECONDS * exponent.exp()))
    }

    fn stream(&self, participant: usize, round: u64) -> ChaCha12Rng {
        let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::try_from(participant).unwrap_or(u64::MAX) << 32 | round);
        rng
    }
}

/// A number in [0, 1).
fn uniform(rng: &mut ChaCha12Rng) -> f64 {
    f64::from(rng.next_u32()) * 2f64.powi(-32)
}

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut ChaCha12Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_day_and_the_share_of_dropouts_holds() {
        let (one, other) = (Behaviour::new(1, 0.25), Behaviour::new(1, 0.25));
        assert_eq!(one.delay(3, 2), other.delay(3, 2));
        let delivered = (0..4000).filter(|participant| one.delay(*participant, 1).is_some()).count();
        assert!((2880..3120).contains(&delivered), "{delivered}");
    }
}
