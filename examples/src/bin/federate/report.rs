//! The table, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use participant::quality::Quality;
use serde::Serialize;

use crate::regime::Regime;

/// Name of the row that averages the sites.
pub(crate) const MEAN: &str = "mean";

/// One regime at one site, or on average.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    regime: &'static str,
    epsilon: Option<f64>,
    site: String,
    auc: f64,
    auprc: f64,
    tpr_fpr_1e3: f64,
    tpr_fpr_1e2: f64,
    scenario_recall: BTreeMap<String, f64>,
    macro_scenario_recall: f64,
}

/// All rows.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Row {
    pub(crate) fn new(regime: Regime, site: &str, quality: Quality) -> Self {
        Self {
            regime: regime.name(),
            epsilon: regime.epsilon(),
            site: site.to_owned(),
            auc: quality.auc,
            auprc: quality.auprc,
            tpr_fpr_1e3: quality.tpr_fpr_1e3,
            tpr_fpr_1e2: quality.tpr_fpr_1e2,
            macro_scenario_recall: quality.macro_scenario_recall(),
            scenario_recall: quality.scenario_recall,
        }
    }

    /// Which site, or [`MEAN`].
    pub(crate) fn site(&self) -> &str {
        &self.site
    }

    /// The mean of the scenarios' recalls.
    pub(crate) fn macro_scenario_recall(&self) -> f64 {
        self.macro_scenario_recall
    }

    /// The regime as a column's head, such as `dp ε=3`.
    fn head(&self) -> String {
        self.epsilon.map_or(self.regime.to_owned(), |epsilon| format!("{} ε={epsilon}", self.regime))
    }
}

impl Report {
    fn means(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.site() == MEAN)
    }

    /// A line of the means' values under `name`, one column a regime.
    fn line(&self, f: &mut fmt::Formatter<'_>, name: &str, value: impl Fn(&Row) -> Option<f64>) -> fmt::Result {
        write!(f, "{name:28}")?;
        for row in self.means() {
            match value(row) {
                Some(value) => write!(f, "{value:>9.3}")?,
                None => write!(f, "{:>9}", "-")?,
            }
        }
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:28}", "mean over the sites")?;
        self.means().try_for_each(|row| write!(f, "{:>9}", row.head()))?;
        writeln!(f)?;
        self.line(f, "AUC", |row| Some(row.auc))?;
        self.line(f, "AUPRC", |row| Some(row.auprc))?;
        self.line(f, "TPR at FPR 1e-3", |row| Some(row.tpr_fpr_1e3))?;
        self.line(f, "TPR at FPR 1e-2", |row| Some(row.tpr_fpr_1e2))?;
        self.line(f, "scenario recall at FPR 1e-2", |row| Some(row.macro_scenario_recall()))?;
        let scenarios = self.means().next().into_iter().flat_map(|row| row.scenario_recall.keys());
        for scenario in scenarios {
            self.line(f, &format!("  {scenario}"), |row| row.scenario_recall.get(scenario).copied())?;
        }
        writeln!(
            f,
            "\n{:12}{:16}{:>8}{:>8}{:>8}{:>8}{:>8}",
            "regime", "site", "AUC", "AUPRC", "1e-3", "1e-2", "macro"
        )?;
        for row in self.rows.iter().filter(|row| row.site() != MEAN) {
            write!(f, "{:12}{:16}{:>8.3}{:>8.3}", row.head(), row.site, row.auc, row.auprc)?;
            writeln!(f, "{:>8.3}{:>8.3}{:>8.3}", row.tpr_fpr_1e3, row.tpr_fpr_1e2, row.macro_scenario_recall)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality() -> Quality {
        let scenario_recall = [("recon".to_owned(), 0.5), ("sqli".to_owned(), 1.0)].into();
        Quality { auc: 0.9, auprc: 0.8, tpr_fpr_1e3: 0.6, tpr_fpr_1e2: 0.7, scenario_recall }
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let rows = vec![
            Row::new(Regime::FedAvg, MEAN, quality()),
            Row::new(Regime::Private { epsilon: 3.0 }, "site1", quality()),
        ];
        let json = serde_json::to_value(Report { rows }).unwrap();
        let expected = serde_json::json!({ "rows": [
            { "regime": "fedavg", "epsilon": null, "site": "mean", "auc": 0.9, "auprc": 0.8, "tpr_fpr_1e3": 0.6,
              "tpr_fpr_1e2": 0.7, "scenario_recall": { "recon": 0.5, "sqli": 1.0 }, "macro_scenario_recall": 0.75 },
            { "regime": "dp", "epsilon": 3.0, "site": "site1", "auc": 0.9, "auprc": 0.8, "tpr_fpr_1e3": 0.6,
              "tpr_fpr_1e2": 0.7, "scenario_recall": { "recon": 0.5, "sqli": 1.0 }, "macro_scenario_recall": 0.75 },
        ] });
        assert_eq!(json, expected);
    }

    #[test]
    fn the_table_has_a_column_for_each_regime_and_a_line_for_each_site() {
        let private = Regime::Private { epsilon: 1.0 };
        let rows = vec![Row::new(private, MEAN, quality()), Row::new(private, "harbour", quality())];
        let table = Report { rows }.to_string();
        assert!(table.lines().next().unwrap().ends_with("dp ε=1"), "{table}");
        assert!(table.lines().any(|line| line.contains("recon") && line.contains("0.500")), "{table}");
        assert!(table.lines().any(|line| line.contains("harbour") && line.contains("0.750")), "{table}");
    }
}
