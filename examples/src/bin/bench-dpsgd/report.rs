//! The figures as a table.

use std::fmt;

use serde::Serialize;

use crate::opacus::Opacus;
use crate::shape::Row;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) batch: u16,
    pub(crate) rows: Vec<Row>,
    pub(crate) opacus: Opacus,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "batches of {}, one thread; medians\n", self.batch)?;
        let head = ["model", "params", "plain ms", "private ms", "clipping", "with noise", "examples/s"];
        let [model, rest @ ..] = head;
        write!(f, "{model:<18}")?;
        rest.iter().try_for_each(|name| write!(f, "{name:>12}"))?;
        writeln!(f)?;
        for row in &self.rows {
            let Row { model, params, plain_ms, private_ms, .. } = row;
            write!(f, "{model:<18}{params:>12}{plain_ms:>12.2}{private_ms:>12.2}")?;
            let Row { clipping_ratio, step_ratio, private_examples_per_s, .. } = row;
            writeln!(f, "{clipping_ratio:>11.2}x{step_ratio:>11.2}x{private_examples_per_s:>12.0}")?;
        }
        writeln!(
            f,
            "\nclipping: the clipped gradient over the ordinary one; with noise: the whole private step over the ordinary step"
        )?;
        self.beside_opacus(f)
    }
}

impl Report {
    fn beside_opacus(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (torch, version, steps) = match &self.opacus {
            Opacus::Skipped { reason } => return write!(f, "\nOpacus: skipped; {reason}"),
            Opacus::Measured { torch, opacus, rows } => (torch, opacus, rows),
        };
        writeln!(f, "\nOpacus {version} on torch {torch}, one thread; floating-point noise\n")?;
        write!(f, "{:<18}", "model")?;
        let head = ["plain ms", "ghost ms", "hooks ms", "examples/s", "ours over"];
        head.iter().try_for_each(|name| write!(f, "{name:>12}"))?;
        for row in &self.rows {
            let Some(steps) = steps.get(&row.model) else { continue };
            write!(f, "\n{:<18}", row.model)?;
            for ms in [steps.plain_ms, steps.ghost_ms, steps.hooks_ms] {
                write!(f, "{:>12}", ms.map_or_else(|| "cannot".to_owned(), |ms| format!("{ms:.2}")))?;
            }
            if let Some(theirs) = steps.examples_per_s(self.batch) {
                write!(f, "{theirs:>12.0}{:>11.2}x", row.private_examples_per_s / theirs)?;
            }
        }
        Ok(())
    }
}
