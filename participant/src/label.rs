//! Ground truth for events: a CSV of what each event was. It refuses columns it does not know: a shifted column would
//! silently train the model on nonsense.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use shared::Explain;

/// The most labels of one file.
pub const MAX_LABELS: usize = 50_000_000;
const COLUMNS: [&str; 5] = ["event_id", "label", "scenario", "technique", "split"];

/// Which part of the data an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Models may learn from it.
    Train,
    /// Models are judged by it.
    Test,
}

/// What an event was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Whether it was part of an attack.
    pub attack: bool,
    /// The kind of attack, or of ordinary work.
    pub scenario: String,
    /// MITRE ATT&CK technique; empty for ordinary work.
    pub technique: String,
    /// Which part of the data it belongs to.
    pub split: Split,
}

/// Why a file of labels is refused.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The header is not the expected one.
    #[error("the columns are `{found}`, not `{}`", COLUMNS.join(","))]
    Columns {
        /// The header, shortened.
        found: String,
    },
    /// A row is broken.
    #[error("row {row}: {reason}")]
    Row {
        /// Counted from 1, without the header.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// One event has two labels.
    #[error("row {row} labels the event `{event_id}` a second time")]
    Twice {
        /// Counted from 1, without the header.
        row: usize,
        /// Which event.
        event_id: String,
    },
    /// There are too many rows.
    #[error("there are more than {MAX_LABELS} labels")]
    TooMany,
}

impl Explain for LabelError {
    fn code(&self) -> &'static str {
        match self {
            Self::Columns { .. } => "label-columns",
            Self::Row { .. } => "label-row",
            Self::Twice { .. } => "label-twice",
            Self::TooMany => "label-too-many",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Columns { .. } => "write the header `event_id,label,scenario,technique,split` and these columns only",
            Self::Row { .. } => "`label` is 0 or 1, `split` is `train` or `test`",
            Self::Twice { .. } => "keep one row for each event",
            Self::TooMany => "split the file by time",
        }
    }
}

#[derive(Deserialize)]
struct Row {
    event_id: String,
    label: u8,
    scenario: String,
    technique: String,
    split: Split,
}

/// Reads labels by event id. All or none: one broken row refuses the file.
pub fn read(input: impl Read) -> Result<BTreeMap<String, Label>, LabelError> {
    let mut reader = csv::Reader::from_reader(input);
    check_columns(reader.headers().map_err(|error| broken(0, &error))?)?;
    let mut labels = BTreeMap::new();
    for (index, row) in reader.deserialize().enumerate() {
        let number = index.saturating_add(1);
        if number > MAX_LABELS {
            return Err(LabelError::TooMany);
        }
        let row: Row = row.map_err(|error| broken(number, &error))?;
        let attack = match row.label {
            0 => false,
            1 => true,
            other => {
                return Err(LabelError::Row { row: number, reason: format!("the label is `{other}`, not 0 or 1") });
            }
        };
        let label = Label { attack, scenario: row.scenario, technique: row.technique, split: row.split };
        if labels.insert(row.event_id.clone(), label).is_some() {
            return Err(LabelError::Twice { row: number, event_id: row.event_id });
        }
    }
    Ok(labels)
}

fn check_columns(header: &csv::StringRecord) -> Result<(), LabelError> {
    if header.iter().eq(COLUMNS) {
        return Ok(());
    }
    let found: String = header.iter().collect::<Vec<_>>().join(",").chars().take(200).collect();
    Err(LabelError::Columns { found })
}

fn broken(row: usize, error: &csv::Error) -> LabelError {
    LabelError::Row { row, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "event_id,label,scenario,technique,split\n";

    fn code(text: &str) -> &'static str {
        read(text.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn labels_are_read_by_event() {
        let labels = read(format!("{HEADER}a,1,recon,T1087/T1082,train\nb,0,benign,,test\n").as_bytes()).unwrap();
        assert!(labels["a"].attack && labels["a"].technique == "T1087/T1082" && labels["a"].split == Split::Train);
        assert!(!labels["b"].attack && labels["b"].split == Split::Test);
    }

    #[test]
    fn unknown_columns_and_values_are_refused() {
        assert_eq!(code("event_id,label,scenario,technique,split,note\n"), "label-columns");
        assert_eq!(code("event_id,label\n"), "label-columns");
        assert_eq!(code(""), "label-columns");
        assert_eq!(code(&format!("{HEADER}a,2,x,,train\n")), "label-row");
        assert_eq!(code(&format!("{HEADER}a,1,x,,validation\n")), "label-row");
        assert_eq!(code(&format!("{HEADER}a,1\n")), "label-row");
        assert_eq!(code(&format!("{HEADER}a,1,x,,train\na,0,benign,,train\n")), "label-twice");
    }
}
