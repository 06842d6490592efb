//! The comparison as Markdown, which a terminal shows as well as a page does.

use std::fmt::{self, Formatter};

use serde::Serialize;

use crate::cost::Cost;
use crate::sums::Sums;
use crate::utility::{DELTA, Utility};

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) sums: Vec<Sums>,
    pub(crate) costs: Vec<Cost>,
    pub(crate) utilities: Vec<Utility>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "Noise on sums over steps at the same ε, relative to that of one release (root mean square):\n")?;
        writeln!(f, "| passes × steps | independent | binary tree | banded |\n|---|---:|---:|---|")?;
        self.sums.iter().try_for_each(|row| sums(f, row))?;
        writeln!(f, "\n| bands | ns a coordinate and step | bytes a coordinate |\n|---:|---:|---:|")?;
        for Cost { bands, ns_per_coordinate, bytes_per_coordinate } in &self.costs {
            writeln!(f, "| {bands} | {ns_per_coordinate:.0} | {bytes_per_coordinate} |")?;
        }
        writeln!(f, "\nAccuracy on records held out, δ = {DELTA:e}:\n")?;
        let ways = || self.utilities.chunk_by(|left, right| left.way == right.way);
        write!(f, "| mechanism |")?;
        ways().take(1).flatten().try_for_each(|row| write!(f, " ε = {} |", row.epsilon))?;
        write!(f, "\n|---|")?;
        ways().take(1).flatten().try_for_each(|_| write!(f, "---:|"))?;
        writeln!(f)?;
        ways().try_for_each(|rows| way(f, rows))
    }
}

fn sums(f: &mut Formatter<'_>, row: &Sums) -> fmt::Result {
    write!(f, "| {} × {} | {:.2} | {:.2} |", row.passes, row.steps_per_pass, row.independent, row.tree)?;
    row.banded.iter().try_for_each(|(bands, error)| write!(f, " {bands}: {error:.2}"))?;
    writeln!(f, " |")
}

fn way(f: &mut Formatter<'_>, rows: &[Utility]) -> fmt::Result {
    write!(f, "| {} |", rows.first().map_or("", |row| row.way))?;
    rows.iter().try_for_each(|row| write!(f, " {:.3} |", row.accuracy))?;
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_mechanism_and_a_column_for_each_epsilon() {
        let utility =
            |way, epsilon| Utility { way, epsilon, noise_multiplier: 1.0, learning_rate: 1.0, accuracy: 0.975 };
        let report = Report {
            sums: vec![Sums { passes: 2, steps_per_pass: 8, independent: 4.0, tree: 3.0, banded: vec![(4, 2.5)] }],
            costs: vec![Cost { bands: 4, ns_per_coordinate: 200.0, bytes_per_coordinate: 12 }],
            utilities: vec![utility("sampled", 1.0), utility("sampled", 2.0), utility("banded", 1.0)],
        };
        let text = report.to_string();
        assert!(text.contains("| 2 × 8 | 4.00 | 3.00 | 4: 2.50 |"), "{text}");
        assert!(text.contains("| 4 | 200 | 12 |"), "{text}");
        assert!(
            text.contains("| mechanism | ε = 1 | ε = 2 |\n|---|---:|---:|\n| sampled | 0.975 | 0.975 |\n"),
            "{text}"
        );
    }
}
