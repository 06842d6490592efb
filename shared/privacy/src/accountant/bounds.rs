//! What each accountant proves of one history, side by side. Picks none of them but the least.

use serde::Serialize;

use super::{Composition, ROUNDING, check, rdp, zcdp};
use crate::PrivacyError;

/// Upper bounds on the ε of a history at one δ, each proven by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bounds {
    /// The least of the others: what is reported and debited.
    pub official: f64,
    /// By the privacy loss distribution, of the part with Gaussian sums, and zCDP for the rest; `None` where there is no
    /// such part, or its losses are too large to be worth a number.
    pub pld: Option<f64>,
    /// By Rényi differential privacy.
    pub rdp: f64,
    /// The order α that gives `rdp`.
    pub rdp_order: f64,
    /// By zero-concentrated differential privacy; `None` where a part is subsampled, of which it would know nothing.
    pub zcdp: Option<f64>,
}

impl Composition {
    /// The bounds at `delta`; all 0 for an empty history.
    ///
    /// # Errors
    /// `delta` is not in (0, 1).
    pub(crate) fn bounds(&self, delta: f64) -> Result<Bounds, PrivacyError> {
        check(delta > 0.0 && delta < 1.0, "delta", delta, "above 0 and below 1")?;
        if self.gaussians.is_empty() && self.rho == 0.0 {
            return Ok(Bounds { official: 0.0, pld: None, rdp: 0.0, rdp_order: f64::INFINITY, zcdp: Some(0.0) });
        }
        let renyi = rdp::best(|order| self.gaussian_divergence(order) + zcdp::divergence(self.rho, order), delta);
        let allowed = |epsilon: f64| epsilon * (1.0 + ROUNDING);
        let pld = (!self.gaussians.is_empty()).then(|| self.pld_epsilon(delta)).filter(|epsilon| epsilon.is_finite());
        let pld = pld.map(allowed);
        let zcdp = self.whole_rho().map(|rho| allowed(zcdp::epsilon(rho, delta)));
        let rdp = allowed(renyi.epsilon);
        let official = [pld, zcdp].into_iter().flatten().fold(rdp, f64::min);
        Ok(Bounds { official, pld, rdp, rdp_order: renyi.order, zcdp })
    }

    /// ρ of everything together, where nothing is subsampled: a Gaussian sum has ρ = 1/(2σ²).
    fn whole_rho(&self) -> Option<f64> {
        let of = |part: &super::Gaussian| {
            (part.sampling_rate >= 1.0).then(|| part.count() / (2.0 * part.noise_multiplier.powi(2)))
        };
        self.gaussians.iter().map(of).try_fold(self.rho, |sum, rho| Some(sum + rho?))
    }
}
