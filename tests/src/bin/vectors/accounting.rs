//! ε of Poisson-sampled DP-SGD against brackets of independent accountants. An ε below a proven lower bound is a miss
//! however near it is: it would promise what does not hold.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use shared::privacy::Mechanism;
use shared_ops::cli::Failure;
use shared_privacy::accountant;

use crate::Verdict;
use crate::table::{Row, Table};

/// How much larger than the reference's upper bound ε may be, relative and absolute.
const RELATIVE_SLACK: f64 = 0.002;
const ABSOLUTE_SLACK: f64 = 0.001;

/// How one ε compares.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    id: String,
    sigma: f64,
    q: f64,
    steps: u32,
    delta: f64,
    epsilon: f64,
    /// The greatest proven lower bound; absent where the table has none.
    lower: Option<f64>,
    /// What ε may be at most.
    limit: f64,
}

impl Check {
    fn is_unsound(&self) -> bool {
        !self.lower.is_none_or(|lower| self.epsilon >= lower)
    }
}

impl Verdict for Check {
    fn matches(&self) -> bool {
        !self.is_unsound() && self.epsilon <= self.limit
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, sigma, q, steps, delta, epsilon, lower, limit } = self;
        let verdict = if self.matches() { "ok  " } else { "MISS" };
        write!(f, "{verdict} {id} (σ = {sigma}, q = {q}, {steps} steps, δ = {delta:e}): ε = {epsilon:.6}")?;
        lower.iter().try_for_each(|lower| write!(f, ", at least {lower:.6}"))?;
        write!(f, ", at most {limit:.6}")?;
        if self.is_unsound() { write!(f, ": BELOW A PROVEN LOWER BOUND") } else { Ok(()) }
    }
}

/// Checks every line of `file`.
pub(crate) fn checks(file: &Path) -> Result<Vec<Check>, Failure> {
    Table::read(file)?.each(check)
}

fn check(row: &Row<'_>) -> Result<Check, Failure> {
    let (sigma, q, delta) = (row.number("sigma")?, row.number("q")?, row.number("delta")?);
    let steps = steps(row)?;
    covered(row, q)?;
    let training = Mechanism::SubsampledGaussian { noise_multiplier: sigma, sampling_rate: q, steps };
    let epsilon = accountant::epsilon(&[training], delta).map_err(|error| row.malformed("sigma, q, delta", &error))?;
    let proven = [row.optional("eps_prv_lower")?, row.optional("eps_analytic_gaussian")?];
    Ok(Check {
        id: row.text("id").unwrap_or_default().to_owned(),
        sigma,
        q,
        steps,
        delta,
        epsilon,
        lower: proven.into_iter().flatten().reduce(f64::max),
        limit: row.number("eps_pld_upper")? * (1.0 + RELATIVE_SLACK) + ABSOLUTE_SLACK,
    })
}

#[expect(clippy::as_conversions, reason = "checked to be a whole number in range")]
fn steps(row: &Row<'_>) -> Result<u32, Failure> {
    let is_count = |steps: f64| steps.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&steps);
    Ok(row.number_where("steps", "a whole number from 1 to 4294967295", is_count)? as u32)
}

/// Refuses rows of another relation of neighbours or another kind of sample: their ε is another number.
fn covered(row: &Row<'_>, q: f64) -> Result<(), Failure> {
    if let Some(other) = row.text("neighboring").filter(|name| *name != "add_or_remove_one") {
        return Err(row.malformed("neighboring", &format!("`{other}`, and only `add_or_remove_one` is accounted")));
    }
    match row.text("sampling") {
        None | Some("poisson") => Ok(()),
        Some("full_batch") if q >= 1.0 => Ok(()),
        Some(other) => Err(row.malformed("sampling", &format!("`{other}`, and only `poisson` samples are accounted"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use shared_ops::cli::Failure;

    use super::*;

    fn checked(text: &str) -> Result<Vec<Check>, Failure> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        checks(file.path())
    }

    #[test]
    fn columns_are_found_by_name_and_a_bound_that_does_not_hold_is_a_miss() {
        let header = "eps_prv_lower,delta,steps,eps_pld_upper,q,sigma";
        for (lower, upper, matches) in
            [("1.826", "1.828", true), ("nan", "1.828", true), ("1.83", "1.828", false), ("1.826", "1.82", false)]
        {
            let rows = checked(&format!("{header}\n{lower},1e-5,1000,{upper},0.01,1.0\n")).unwrap();
            assert_eq!(rows.iter().map(Verdict::matches).collect::<Vec<_>>(), [matches], "{}", rows[0]);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_named_by_line_and_column() {
        let header = "sigma,q,steps,delta,eps_pld_upper,eps_prv_lower,sampling,neighboring\n";
        for (row, column) in [
            ("one,0.01,10,1e-5,1,0.9,poisson,add_or_remove_one", "sigma"),
            ("1,0.01,10.5,1e-5,1,0.9,poisson,add_or_remove_one", "steps"),
            ("1,0.01,10,1e-5,,0.9,poisson,add_or_remove_one", "eps_pld_upper"),
            ("1,0.01,10,1e-5,inf,0.9,poisson,add_or_remove_one", "eps_pld_upper"),
            ("1,1.5,10,1e-5,1,0.9,poisson,add_or_remove_one", "sigma, q, delta"),
            ("1,0.01,10,1e-5,1,0.9,shuffle,add_or_remove_one", "sampling"),
            ("1,0.01,10,1e-5,1,0.9,full_batch,add_or_remove_one", "sampling"),
            ("1,0.01,10,1e-5,1,0.9,poisson,replace_one", "neighboring"),
        ] {
            let error = checked(&format!("{header}{row}\n")).unwrap_err().to_string();
            assert!(error.contains(&format!("line 2, column `{column}`")), "{row}: {error}");
        }
        assert!(checked("sigma,q\n1\n").unwrap_err().to_string().contains("fields"));
        assert!(checked("").unwrap().is_empty(), "no line is no match either");
    }
}
