//! What the admin API answered, for people: a list as a table, one thing as a list of its fields. JSON stays as it came.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use shared_ops::cli::{Failure, Format, print};

/// A column's title, and the JSON pointer of its cells within an item.
pub(super) type Column = (&'static str, &'static str);

/// An answer, ready to be shown.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Answer {
    value: Value,
    #[serde(skip)]
    columns: &'static [Column],
}

impl Answer {
    /// Shows an answer: a page of items, or one thing with all its fields.
    pub(super) fn show(value: Value, columns: &'static [Column], format: Format) -> Result<(), anyhow::Error> {
        print(&Self { value, columns }, format)
            .map_err(|error| Failure::new("output", "check that standard output can be written", error).into())
    }

    fn table(&self, items: &[Value], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![self.columns.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>()];
        rows.extend(items.iter().map(|item| self.columns.iter().map(|(_, at)| cell(item.pointer(at))).collect()));
        write_table(&rows, f)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(items) = self.value.get("items").and_then(Value::as_array) else {
            return write_fields(&self.value, "", f);
        };
        self.table(items, f)?;
        match self.value.get("next").and_then(Value::as_str) {
            Some(next) => writeln!(f, "more: --after {next}"),
            None => Ok(()),
        }
    }
}

/// Columns as wide as their widest cell, two spaces between.
pub(super) fn write_table(rows: &[Vec<String>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// One field a line. What is nested is indented; a signed document is its signer, since its body repeats the rest.
fn write_fields(value: &Value, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(fields) = value.as_object() else { return writeln!(f, "{indent}{}", text(value)) };
    let width = fields.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, value) in fields {
        match value {
            Value::Object(inner) if inner.contains_key("signature") => {
                let signer = inner.get("key_id").map(text).unwrap_or_default();
                writeln!(f, "{indent}{name:<width$}  signed by {signer}")?;
            }
            Value::Object(inner) if !inner.is_empty() => {
                writeln!(f, "{indent}{name}")?;
                write_fields(value, &format!("{indent}  "), f)?;
            }
            // What has lines of its own is copied as it is, a certificate for instance.
            Value::String(lines) if lines.trim_end().contains('\n') => {
                writeln!(f, "{indent}{name}\n{}", lines.trim_end())?;
            }
            _ => writeln!(f, "{indent}{name:<width$}  {}", text(value))?,
        }
    }
    Ok(())
}

/// A cell of a table: of lists and objects, how many there are.
fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(items)) => items.len().to_string(),
        Some(Value::Object(fields)) => fields.len().to_string(),
        other => other.map_or_else(|| "-".to_owned(), text),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Object(fields) if fields.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_a_table_that_says_how_to_go_on() {
        let value = json!({"items": [{"id": "a", "who": ["x", "y"]}, {"id": "long-one", "who": null}], "next": "b"});
        let shown = Answer { value, columns: &[("ID", "/id"), ("WHO", "/who")] }.to_string();
        assert_eq!(shown, "ID        WHO\na         2\nlong-one  -\nmore: --after b\n");
    }

    #[test]
    fn one_thing_is_its_fields_and_a_document_its_signer() {
        let value = json!({"at": {"x": 1}, "document": {"body": "{}", "key_id": "k", "signature": "s"}, "id": "a"});
        let shown = Answer { value, columns: &[] }.to_string();
        assert_eq!(shown, "at\n  x  1\ndocument  signed by k\nid        a\n");
    }
}
