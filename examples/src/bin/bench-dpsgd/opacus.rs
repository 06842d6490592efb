//! The same shapes in Opacus, by a Python program that this one carries with it. It installs nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::shape::{HEADS, VOCABULARY, WIDTH_OF_TOKEN};

const PROGRAM: &str = include_str!("opacus.py");
const INSTALL: &str = "pip install opacus";

/// What Opacus took, or why it was not measured.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Opacus {
    Skipped { reason: String },
    Measured { torch: String, opacus: String, rows: BTreeMap<String, Steps> },
}

/// Median milliseconds of a step; `None` where Opacus cannot take it.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Steps {
    pub(crate) plain_ms: Option<f64>,
    pub(crate) ghost_ms: Option<f64>,
    pub(crate) hooks_ms: Option<f64>,
}

impl Steps {
    /// Private examples per second by the faster of the two ways.
    pub(crate) fn examples_per_s(&self, batch: u16) -> Option<f64> {
        let fastest = self.ghost_ms.into_iter().chain(self.hooks_ms).min_by(f64::total_cmp)?;
        Some(f64::from(batch) / fastest * 1e3)
    }
}

/// Runs the program in `python`.
pub(crate) fn measure(python: &Path, batch: u16, steps: u16) -> anyhow::Result<Opacus> {
    let settings = json!({
        "batch": batch, "steps": steps, "threads": 1,
        "vocabulary": VOCABULARY, "width": WIDTH_OF_TOKEN, "heads": HEADS,
    });
    let importable = Command::new(python).args(["-c", "import torch, opacus"]).output();
    if !importable.is_ok_and(|output| output.status.success()) {
        let reason = format!("`{}` cannot import torch and opacus; install them with `{INSTALL}`", python.display());
        return Ok(Opacus::Skipped { reason });
    }
    let output = Command::new(python).args(["-c", PROGRAM, &settings.to_string()]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "opacus failed: {}", error.lines().last().unwrap_or_default());
    serde_json::from_slice(&output.stdout).context("the program that runs opacus printed something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_interpreter_it_says_how_to_install_opacus() {
        let Opacus::Skipped { reason } = measure(Path::new("/nonexistent/python"), 1, 1).unwrap() else { panic!() };
        assert!(reason.contains(INSTALL));
    }

    #[test]
    fn the_faster_of_the_two_ways_counts() {
        let steps = |ghost_ms, hooks_ms| Steps { plain_ms: Some(1.0), ghost_ms, hooks_ms };
        assert_eq!(steps(Some(4.0), Some(2.0)).examples_per_s(10), Some(5000.0));
        assert_eq!(steps(None, Some(2.0)).examples_per_s(10), Some(5000.0));
        assert_eq!(steps(None, None).examples_per_s(10), None);
    }
}
