//! The layers above the defaults, merged, and who set what. Knows nothing of any particular configuration.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::file::{ConfigFile, key_of};
use super::{ConfigError, Origin};

/// An environment variable that sets a field.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variable {
    name: String,
    field: Vec<String>,
    text: String,
    /// Why its field did not take the text as a TOML value, once that was tried.
    refusal: Option<String>,
}

impl Variable {
    /// The variable, if its name begins with `prefix` and two underscores.
    pub(super) fn new(prefix: &str, name: &str, text: &str) -> Option<Self> {
        let field = name.strip_prefix(prefix)?.strip_prefix("__")?;
        let field = field.split("__").map(str::to_lowercase).collect();
        Some(Self { name: name.to_owned(), field, text: text.to_owned(), refusal: None })
    }

    fn value(&self) -> Value {
        let as_toml = if self.refusal.is_none() { self.text.parse().ok() } else { None };
        as_toml.unwrap_or_else(|| Value::String(self.text.clone()))
    }

    /// Whether the variable sets `field` or something around it.
    fn sets(&self, field: &[Segment]) -> bool {
        self.field.len() <= field.len() && self.shares_path_with(field)
    }

    fn shares_path_with(&self, field: &[Segment]) -> bool {
        self.field.iter().zip(field).all(|(own, other)| key_of(other) == Some(own))
    }
}

/// What stands above the defaults.
#[derive(Debug)]
pub(super) struct Layers {
    file: Option<ConfigFile>,
    variables: Vec<Variable>,
    flags: Table,
}

impl Layers {
    pub(super) fn new(file: Option<ConfigFile>, mut variables: Vec<Variable>, flags: Table) -> Self {
        variables.sort();
        Self { file, variables, flags }
    }

    /// The configuration. A variable whose field refuses its text as a TOML value is tried once more as plain text.
    pub(super) fn read<T: DeserializeOwned>(mut self) -> Result<T, ConfigError> {
        loop {
            let error = match serde_path_to_error::deserialize::<_, T>(self.merged()?) {
                Ok(config) => return Ok(config),
                Err(error) => error,
            };
            let field: Vec<Segment> = error.path().iter().cloned().collect();
            let reason = error.inner().message().to_owned();
            match self.variables.iter_mut().rfind(|variable| variable.sets(&field)) {
                Some(variable) if variable.refusal.is_none() => variable.refusal = Some(reason),
                variable => {
                    let first_reason = variable.and_then(|variable| variable.refusal.clone()).unwrap_or(reason);
                    return Err(self.error(&field, first_reason));
                }
            }
        }
    }

    fn merged(&self) -> Result<Table, ConfigError> {
        let mut merged = self.file.as_ref().map(|file| file.table.clone()).unwrap_or_default();
        for variable in &self.variables {
            set(&mut merged, &variable.field, variable.value()).map_err(|section| ConfigError::Field {
                origin: Origin::Environment(variable.name.clone()),
                field: variable.field.join("."),
                reason: format!("`{section}` is no section"),
            })?;
        }
        merge(&mut merged, self.flags.clone());
        Ok(merged)
    }

    fn error(&self, field: &[Segment], reason: String) -> ConfigError {
        let names: Vec<String> = field.iter().map(Segment::to_string).collect();
        ConfigError::Field { origin: self.origin(field), field: names.join("."), reason }
    }

    /// Who set `field`: the highest layer that sets it, or one that sets something within it, or who set its section.
    fn origin(&self, field: &[Segment]) -> Origin {
        let Some((_, section)) = field.split_last() else { return Origin::Unset };
        let environment = |variable: &Variable| Origin::Environment(variable.name.clone());
        if contains(&self.flags, field) {
            return Origin::Flag;
        }
        let by_variable = self.variables.iter().rfind(|variable| variable.sets(field)).map(environment);
        let by_file = || self.file.as_ref().and_then(|file| file.origin(field));
        let within = || self.variables.iter().rfind(|variable| variable.shares_path_with(field)).map(environment);
        by_variable.or_else(by_file).or_else(within).unwrap_or_else(|| self.origin(section))
    }
}

/// Sets the field at `path`; the name of what stands in the way when it is no section.
fn set<'a>(table: &mut Table, path: &'a [String], value: Value) -> Result<(), &'a str> {
    match path {
        [] => Ok(()),
        [name] => {
            merge(table, Table::from_iter([(name.clone(), value)]));
            Ok(())
        }
        [section, rest @ ..] => {
            let inner = table.entry(section.as_str()).or_insert_with(|| Value::Table(Table::new()));
            inner.as_table_mut().ok_or(section.as_str()).and_then(|inner| set(inner, rest, value))
        }
    }
}

/// Lays `above` over `below`, section by section.
fn merge(below: &mut Table, above: Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(name, value);
            }
        }
    }
}

fn contains(table: &Table, field: &[Segment]) -> bool {
    match field.split_first() {
        None => true,
        Some((segment, rest)) => match key_of(segment).and_then(|key| table.get(key)) {
            Some(Value::Table(inner)) => contains(inner, rest),
            found => found.is_some(),
        },
    }
}
