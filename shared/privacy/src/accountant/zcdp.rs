//! ρ-zero-concentrated differential privacy (Bun and Steinke 2016): Rényi divergence at most ρα at every order α.
//!
//! Knows no subsampling: that would be lost on it. Use [`super::pld`] for training.

use super::rdp;

/// The greatest Rényi divergence of order `order` that ρ-zCDP allows.
pub fn divergence(rho: f64, order: f64) -> f64 {
    rho * order
}

/// The ε at `delta` of a ρ-zCDP release; `rho` above 0, `delta` in (0, 1). The best order by Proposition 12 of Canonne,
/// Kamath and Steinke (2020), which is tighter than Bun and Steinke's ρ + 2√(ρ ln(1/δ)).
pub fn epsilon(rho: f64, delta: f64) -> f64 {
    rdp::best(|order| divergence(rho, order), delta).epsilon
}
