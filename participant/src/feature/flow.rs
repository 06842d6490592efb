//! Rates: how much of something happened lately, by exponentially fading counts with four half-lives.
//!
//! A fading count needs one number where a sliding window needs a queue, and forgets smoothly instead of at an edge.

use super::scale::{DAY, HOUR, MINUTE};

/// How fast a count fades.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    Minute,
    TenMinutes,
    Hour,
    Day,
}

const HALF_LIVES: [i64; 4] = [MINUTE, 10 * MINUTE, HOUR, DAY];

/// Fading counts of `N` quantities, all as of one instant.
pub(super) struct Flow<const N: usize> {
    at: i64,
    amounts: [[f32; 4]; N],
}

impl<const N: usize> Default for Flow<N> {
    fn default() -> Self {
        Self { at: 0, amounts: [[0.0; 4]; N] }
    }
}

impl<const N: usize> Flow<N> {
    /// Fades all counts to `at`; an earlier instant changes nothing.
    pub(super) fn advance(&mut self, at: i64) {
        let elapsed = at.saturating_sub(self.at);
        if elapsed <= 0 {
            return;
        }
        self.at = at;
        let kept = HALF_LIVES.map(|half_life| half_power(elapsed, half_life));
        for windows in &mut self.amounts {
            for (amount, kept) in windows.iter_mut().zip(kept) {
                *amount *= kept;
            }
        }
    }

    /// Adds to a quantity in all windows.
    pub(super) fn add(&mut self, quantity: usize, by: f32) {
        for amount in self.amounts.get_mut(quantity).into_iter().flatten() {
            *amount += by;
        }
    }

    /// A quantity as of the last instant.
    pub(super) fn get(&self, quantity: usize, window: Window) -> f32 {
        let [minute, ten_minutes, hour, day] = self.amounts.get(quantity).copied().unwrap_or_default();
        match window {
            Window::Minute => minute,
            Window::TenMinutes => ten_minutes,
            Window::Hour => hour,
            Window::Day => day,
        }
    }
}

/// 2^(−elapsed / half-life).
#[expect(clippy::as_conversions, reason = "no lossless conversion exists; rates are logarithmic and tolerate it")]
fn half_power(elapsed: i64, half_life: i64) -> f32 {
    libm::exp2f(-(elapsed as f32) / half_life as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_halves_in_its_half_life_and_never_grows_by_going_back() {
        let mut flow = Flow::<1>::default();
        flow.advance(HOUR);
        flow.add(0, 8.0);
        flow.advance(2 * HOUR);
        assert_eq!(flow.get(0, Window::Hour), 4.0);
        assert!(flow.get(0, Window::Minute) < 1e-6 && flow.get(0, Window::Day) > 7.7);
        flow.advance(0);
        assert_eq!(flow.get(0, Window::Hour), 4.0);
    }
}
