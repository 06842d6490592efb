//! A CSV table whose columns are found by their names. Says at which line and column something is no number, and guesses
//! nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use serde::Serialize;
use shared_ops::cli::Failure;

use crate::{Verdict, unreadable};

/// A table, read whole.
pub(crate) struct Table {
    file: PathBuf,
    header: StringRecord,
    records: Vec<StringRecord>,
}

/// One line of a table.
pub(crate) struct Row<'a> {
    table: &'a Table,
    record: &'a StringRecord,
    line: u64,
}

impl Table {
    /// Reads `file`; every line must have as many fields as the first.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let malformed = |error: csv::Error| unreadable(file, &error);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file).map_err(malformed)?;
        let header = reader.headers().map_err(malformed)?.clone();
        let records = reader.records().collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        Ok(Self { file: file.to_owned(), header, records })
    }

    /// `check` of every line.
    pub(crate) fn each<T>(&self, check: impl Fn(&Row<'_>) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
        let row = |record: &StringRecord| {
            let line = record.position().map_or(0, csv::Position::line);
            check(&Row { table: self, record, line })
        };
        self.records.iter().map(row).collect()
    }
}

impl Row<'_> {
    /// The field of the column whose name is `name`, or begins with it and an underscore.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let is_named = |column: &str| column.strip_prefix(name).is_some_and(|rest| rest.is_empty());
        let is_version = |column: &str| column.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
        let header = &self.table.header;
        let place = header.iter().position(is_named).or_else(|| header.iter().position(is_version))?;
        self.record.get(place)
    }

    /// The number in a column that must be there, and finite.
    pub(crate) fn number(&self, name: &str) -> Result<f64, Failure> {
        self.optional(name)?.ok_or_else(|| self.malformed(name, &"is missing or no number"))
    }

    /// The number in a column; `None` where the column is absent, or the field empty or `nan`.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<f64>, Failure> {
        let Some(text) = self.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let value: f64 = text.parse().map_err(|error| self.malformed(name, &format!("`{text}`: {error}")))?;
        match value {
            value if value.is_nan() => Ok(None),
            value if value.is_finite() => Ok(Some(value)),
            _ => Err(self.malformed(name, &format!("`{text}` is not finite"))),
        }
    }

    /// As [`Row::number`], refused unless `holds`.
    pub(crate) fn number_where(&self, name: &str, expected: &str, holds: impl Fn(f64) -> bool) -> Result<f64, Failure> {
        let value = self.number(name)?;
        if holds(value) { Ok(value) } else { Err(self.malformed(name, &format!("`{value}` is not {expected}"))) }
    }

    /// What is wrong with a field.
    pub(crate) fn malformed(&self, name: &str, reason: &dyn fmt::Display) -> Failure {
        unreadable(&self.table.file, &format!("line {}, column `{name}`: {reason}", self.line))
    }
}

/// How a number compares with a reference that it should match.
#[derive(Debug, Serialize)]
pub(crate) struct Likeness {
    /// What was computed, in words.
    pub(crate) what: String,
    pub(crate) expected: f64,
    pub(crate) found: f64,
    /// How far `found` is from `expected`, relative to it.
    pub(crate) deviation: f64,
    pub(crate) tolerance: f64,
}

impl Likeness {
    pub(crate) fn new(what: String, expected: f64, found: f64, tolerance: f64) -> Self {
        let deviation = if found == expected { 0.0 } else { ((found - expected) / expected).abs() };
        Self { what, expected, found, deviation, tolerance }
    }
}

impl Verdict for Likeness {
    /// False also where something is not a number.
    fn matches(&self) -> bool {
        self.deviation <= self.tolerance
    }
}

impl fmt::Display for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.matches() { "ok  " } else { "MISS" };
        let Self { what, expected, found, deviation, .. } = self;
        write!(f, "{verdict} {what}: {found:.9e}, expected {expected:.9e}, off by {deviation:.1e}")
    }
}
