//! The report as Markdown, which a terminal shows as well as a page does, and its cells as CSV.

use std::fmt::{self, Formatter, Write};

use crate::report::{Cell, Choice, Report, Summary};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.seeds.start(), self.seeds.end());
        writeln!(f, "Test records are a random fifth of KDDTrain+; means over the seeds {first} to {last}.\n")?;
        self.references(f)?;
        for summaries in self.summaries.chunk_by(|a, b| (a.partition, a.bad_percent) == (b.partition, b.bad_percent)) {
            summary_table(f, summaries)?;
        }
        choice(f, "Recommended default", self.recommended.as_ref())?;
        choice(f, "Without a root set", self.recommended_without_root.as_ref())
    }
}

impl Report {
    fn references(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| no attack     | mean of all | on KDDTest+ | root alone | marked attacks missed |")?;
        writeln!(f, "|---------------|------------:|------------:|-----------:|----------------------:|")?;
        for of in &self.references {
            let partition = of.partition.to_string();
            write!(f, "| {partition:13} | {:11.3} | {:11.3} ", of.clean, of.clean_on_kdd_test)?;
            writeln!(f, "| {:10.3} | {:21.3} |", of.root_alone, of.clean_backdoor)?;
        }
        writeln!(f)
    }

    /// The summary, and every cell below it.
    pub(crate) fn markdown(&self) -> Result<String, fmt::Error> {
        let mut text = format!("# Poisoning benchmark\n\n{self}\n# Every rule under every attack\n");
        let alike = |a: &Cell, b: &Cell| (a.partition, a.bad_percent) == (b.partition, b.bad_percent);
        for cells in self.cells.chunk_by(alike) {
            cell_table(&mut text, cells)?;
        }
        Ok(text)
    }

    /// Every cell, a line each.
    pub(crate) fn csv(&self) -> anyhow::Result<String> {
        let mut lines = csv::Writer::from_writer(Vec::new());
        self.cells.iter().try_for_each(|cell| lines.serialize(cell))?;
        Ok(String::from_utf8(lines.into_inner()?)?)
    }
}

fn summary_table(f: &mut Formatter<'_>, summaries: &[Summary]) -> fmt::Result {
    if let Some(Summary { partition, bad_percent, .. }) = summaries.first() {
        writeln!(f, "## {partition}, {bad_percent} % bad\n")?;
    }
    writeln!(f, "| rule               | accuracy | under             | worst seed | backdoor | worst seed | goal   |")?;
    writeln!(f, "|--------------------|---------:|-------------------|-----------:|---------:|-----------:|--------|")?;
    for of in summaries {
        let goal = if of.shortfall > 0.0 { "missed" } else { "met" };
        write!(f, "| {:18} | {:8.3} | {:17} ", of.rule, of.accuracy, of.worst_attack.name())?;
        write!(f, "| {:10.3} | {:>8} ", of.worst, success(of.backdoor))?;
        writeln!(f, "| {:>10} | {goal:6} |", success(of.worst_backdoor))?;
    }
    writeln!(f)
}

/// Accuracy of each rule under each attack, and after a stroke the success of the backdoor.
fn cell_table(text: &mut String, cells: &[Cell]) -> fmt::Result {
    if let Some(Cell { partition, bad_percent, .. }) = cells.first() {
        writeln!(text, "\n## {partition}, {bad_percent} % bad: mean accuracy, worst seed, backdoor\n")?;
    }
    for (number, cells) in cells.chunk_by(|a, b| a.rule == b.rule).enumerate() {
        if number == 0 {
            write!(text, "| rule |")?;
            cells.iter().try_for_each(|cell| write!(text, " {} |", cell.attack.name()))?;
            write!(text, "\n|---|")?;
            cells.iter().try_for_each(|_| write!(text, "---:|"))?;
            writeln!(text)?;
        }
        write!(text, "| {} |", cells.first().map_or("", |cell| cell.rule))?;
        for cell in cells {
            write!(text, " {:.3}, {:.3}", cell.accuracy, cell.worst)?;
            write!(text, "{} |", cell.backdoor.map_or(String::new(), |success| format!(", {success:.3}")))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn choice(f: &mut Formatter<'_>, title: &str, choice: Option<&Choice>) -> fmt::Result {
    let Some(Choice { rule, shortfall, figures }) = choice else { return Ok(()) };
    match *shortfall {
        missed if missed > 0.0 => writeln!(f, "{title}: {rule}, which misses the goals by up to {missed:.3}.")?,
        _ => writeln!(f, "{title}: {rule}, which reaches the goals at up to 20 % bad.")?,
    }
    figures.iter().try_for_each(|figure| writeln!(f, "- {figure}"))?;
    writeln!(f)
}

fn success(backdoor: Option<f64>) -> String {
    backdoor.map_or("-".to_owned(), |success| format!("{success:.3}"))
}

#[cfg(test)]
mod tests {
    use crate::report::tests::report;

    #[test]
    fn the_summary_shows_each_rule_and_the_default() {
        let text = report().to_string();
        let has = |words: &[&str]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(has(&["| mean ", "0.300", "sign-flip", "0.200", "0.950", "1.000", "missed"]), "{text}");
        assert!(has(&["| fltrust ", "0.985", "0.020", "met"]), "{text}");
        assert!(has(&["| iid ", "0.990", "0.750"]), "{text}");
        assert!(has(&["Recommended default: fltrust", "reaches the goals"]), "{text}");
        assert!(has(&["- iid, 30 % bad", "0.100: missed by 0.0500"]), "{text}");
    }

    #[test]
    fn the_file_has_every_cell() {
        let markdown = report().markdown().unwrap();
        assert!(markdown.contains("| rule | sign-flip | backdoor |\n|---|---:|---:|\n"), "{markdown}");
        assert!(markdown.contains("| mean | 0.300, 0.200 | 0.990, 0.990, 0.950 |\n"), "{markdown}");
        let csv = report().csv().unwrap();
        assert_eq!(csv.lines().count(), 9);
        assert!(csv.starts_with("partition,bad_percent,rule,attack,accuracy,worst,backdoor,worst_backdoor\n"), "{csv}");
        assert!(csv.lines().any(|line| line.starts_with("iid,20,fltrust,sign-flip,0.985")), "{csv}");
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["cells"][1]["attack"], "backdoor");
        assert_eq!(
            (&json["cells"][0]["partition"], &json["cells"][0]["backdoor"]),
            (&"iid".into(), &serde_json::Value::Null)
        );
        assert_eq!(json["recommended"]["rule"], "fltrust");
        assert!(json["summaries"][0]["worst"].is_f64() && json["references"][0]["root_alone"].is_f64());
    }
}
