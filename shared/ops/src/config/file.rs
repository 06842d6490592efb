//! A configuration file: its table, and where in the text each field stands.

use std::fs;
use std::path::Path;

use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Origin};

/// A TOML file that was read.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: String,
    text: String,
    pub(super) table: toml::Table,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let path_text = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path_text, text),
            Err(error) => Err(ConfigError::Unreadable { path: path_text, reason: error.to_string() }),
        }
    }

    pub(super) fn parse(path: String, text: String) -> Result<Self, ConfigError> {
        match text.parse() {
            Ok(table) => Ok(Self { path, text, table }),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                let reason = error.message().to_owned();
                Err(ConfigError::Syntax { origin: position(path, &text, offset), reason })
            }
        }
    }

    /// Where the field at `field` stands, if the file sets it.
    pub(super) fn origin(&self, field: &[Segment]) -> Option<Origin> {
        let root = DeTable::parse(&self.text).ok()?.into_inner();
        let (mut value, mut offset) = (&DeValue::Table(root), None);
        for segment in field {
            (value, offset) = step(value, segment).map(|(value, offset)| (value, Some(offset)))?;
        }
        offset.map(|offset| position(self.path.clone(), &self.text, offset))
    }
}

/// One step down the document: the value there, and where its key begins.
fn step<'a, 'text>(value: &'a DeValue<'text>, segment: &Segment) -> Option<(&'a DeValue<'text>, usize)> {
    match (value, segment) {
        (DeValue::Table(table), segment) => {
            let key = key_of(segment)?;
            let (name, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
            Some((value.get_ref(), name.span().start))
        }
        (DeValue::Array(array), Segment::Seq { index }) => {
            let value = array.get(*index)?;
            Some((value.get_ref(), value.span().start))
        }
        _ => None,
    }
}

/// The name in a table that a step of a path goes by.
pub(super) fn key_of(segment: &Segment) -> Option<&String> {
    match segment {
        Segment::Map { key } | Segment::Enum { variant: key } => Some(key),
        Segment::Seq { .. } | Segment::Unknown => None,
    }
}

fn position(path: String, text: &str, offset: usize) -> Origin {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |line_feed| line_feed.saturating_add(1));
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.get(line_start..).unwrap_or_default().chars().count().saturating_add(1);
    Origin::File { path, line, column }
}
