//! Rényi divergences against quadrature of many digits.

use std::path::Path;

use shared_ops::cli::Failure;
use shared_privacy::accountant::{NOISE_MULTIPLIERS, rdp};

use crate::table::{Likeness, Table};

const TOLERANCE: f64 = 1e-6;

/// Checks every line of `file`.
pub(crate) fn checks(file: &Path) -> Result<Vec<Likeness>, Failure> {
    Table::read(file)?.each(|row| {
        let sigma = row.number_where("sigma", "0.1 to 1e6", |sigma| NOISE_MULTIPLIERS.contains(&sigma))?;
        let q = row.number_where("q", "above 0 and at most 1", |q| q > 0.0 && q <= 1.0)?;
        let alpha = row.number_where("alpha", "1 to 1e6, 1 excluded", |alpha| alpha > 1.0 && alpha <= 1e6)?;
        let expected = row.number("rdp_quadrature")?;
        let what = format!("σ = {sigma}, q = {q}, α = {alpha}");
        Ok(Likeness::new(what, expected, rdp::subsampled_gaussian(sigma, q, alpha), TOLERANCE))
    })
}
