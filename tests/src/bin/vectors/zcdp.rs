//! ε of ρ-zCDP releases against opendp's conversion.

use std::path::Path;

use shared::privacy::Mechanism;
use shared_ops::cli::Failure;
use shared_privacy::accountant;

use crate::table::{Likeness, Table};

const TOLERANCE: f64 = 1e-5;

/// Checks every line of `file`.
pub(crate) fn checks(file: &Path) -> Result<Vec<Likeness>, Failure> {
    Table::read(file)?.each(|row| {
        let rho = row.number("rho_opendp")?;
        let (delta, expected) = (row.number("delta")?, row.number("eps_opendp")?);
        let found = accountant::epsilon(&[Mechanism::ZeroConcentrated { rho }], delta)
            .map_err(|error| row.malformed("rho_opendp", &error))?;
        Ok(Likeness::new(format!("ρ = {rho}, δ = {delta:e}"), expected, found, TOLERANCE))
    })
}
