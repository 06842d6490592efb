//! What kind of thing was done, in one vocabulary for all sources, and how it ended.

use super::scale::{bulk, flag, length, log, wide};
use super::vector::Row;
use crate::event::Event;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    LogIn,
    LogInFailed,
    LogOut,
    Read,
    Insert,
    Update,
    Delete,
    Copy,
    /// Makes or changes structures: tables, functions, buckets.
    Define,
    /// Removes structures.
    Drop,
    /// Changes who may do what.
    Permit,
    /// Settings, transactions, locks: what clients send around statements.
    Housekeeping,
    /// Prepared statements.
    Prepared,
    /// A statement that the store refused; its own class is unknown.
    Failed,
    Other,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Not permitted.
    Denied,
    /// Not who they claim to be.
    NotAuthenticated,
    /// Not understood: the mark of probing by trial.
    Malformed,
    Failed,
}

/// What the client program is, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    Unnamed,
    /// Copies whole databases: `pg_dump`.
    Dump,
    /// A person in a shell or a database tool.
    Interactive,
    /// A script or a command line tool of the cloud.
    Script,
    Other,
}

impl Class {
    /// The class of an operation in a source's own words.
    pub(super) fn of(operation: &str) -> Self {
        let first = operation.split(' ').next().unwrap_or(operation);
        match first {
            "LOGIN" => Self::LogIn,
            "LOGIN_FAILED" => Self::LogInFailed,
            "LOGOUT" => Self::LogOut,
            "SELECT" | "EXPLAIN" | "FETCH" | "SHOW" => Self::Read,
            "INSERT" | "MERGE" => Self::Insert,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "COPY" => Self::Copy,
            "DROP" | "TRUNCATE" => Self::Drop,
            "GRANT" | "REVOKE" => Self::Permit,
            "CREATE" | "ALTER" if operation.contains("ROLE") || operation.contains("USER") => Self::Permit,
            "CREATE" | "ALTER" | "COMMENT" | "REINDEX" => Self::Define,
            "BEGIN" | "COMMIT" | "ROLLBACK" | "SET" | "RESET" | "LOCK" | "ANALYZE" | "VACUUM" | "DISCARD" => {
                Self::Housekeeping
            }
            "PREPARE" | "EXECUTE" | "DEALLOCATE" => Self::Prepared,
            "QUERY_ERROR" => Self::Failed,
            _ => Self::of_api_call(operation),
        }
    }

    /// The class of a cloud API call, which begins with its verb.
    fn of_api_call(operation: &str) -> Self {
        const PERMISSIONS: [&str; 8] =
            ["Policy", "Role", "User", "AccessKey", "LoginProfile", "Acl", "Grant", "Permission"];
        let permits = PERMISSIONS.iter().any(|part| operation.contains(part));
        let verb = operation.find(|c: char| c.is_ascii_lowercase()).and_then(|start| {
            let end = operation.get(start..)?.find(|c: char| c.is_ascii_uppercase())?;
            operation.get(..start.saturating_add(end))
        });
        match verb.unwrap_or(operation) {
            "Console" => Self::LogIn,
            "Get" | "List" | "Describe" | "Head" | "Lookup" | "Select" | "Batch" | "Query" | "Scan" => Self::Read,
            "Copy" | "Restore" | "Export" => Self::Copy,
            "Put" | "Create" | "Attach" | "Add" | "Update" | "Set" | "Modify" | "Detach" | "Delete" if permits => {
                Self::Permit
            }
            "Delete" | "Remove" | "Terminate" | "Stop" => Self::Drop,
            "Put" | "Upload" => Self::Insert,
            "Update" | "Modify" | "Set" => Self::Update,
            "Create" | "Run" | "Start" => Self::Define,
            _ => Self::Other,
        }
    }
}

impl Outcome {
    /// How the event ended: by SQLSTATE (PostgreSQL, appendix A) or by the cloud's error code.
    pub(super) fn of(event: &Event) -> Self {
        match event.tag("error") {
            None | Some("") => Self::Done,
            Some("42501") => Self::Denied,
            Some(code) if code.starts_with("28") || code.contains("Authentication") => Self::NotAuthenticated,
            Some(code) if code.len() == 5 && code.starts_with("42") => Self::Malformed,
            Some(code) if code.contains("Denied") || code.contains("Unauthorized") => Self::Denied,
            Some(code) if code.contains("Invalid") || code.contains("Malformed") => Self::Malformed,
            Some(_) => Self::Failed,
        }
    }

    pub(super) fn failed(self) -> bool {
        self != Self::Done
    }
}

impl Client {
    /// The kind of client that calls itself `application`.
    pub(super) fn of(application: &str) -> Self {
        const INTERACTIVE: [&str; 7] = ["psql", "DBeaver", "pgAdmin", "DataGrip", "TablePlus", "HeidiSQL", "console"];
        const SCRIPT: [&str; 6] = ["python", "Boto", "aws-cli", "Go-http", "curl", "perl"];
        let says = |names: &[&str]| names.iter().any(|name| application.contains(name));
        match application {
            "" => Self::Unnamed,
            _ if says(&["pg_dump", "mysqldump", "mongodump"]) => Self::Dump,
            _ if says(&INTERACTIVE) => Self::Interactive,
            _ if says(&SCRIPT) => Self::Script,
            _ => Self::Other,
        }
    }
}

/// Writes what the event says of itself, without any history.
pub(super) fn write(event: &Event, class: Class, outcome: Outcome, client: Client, row: &mut impl Row) {
    row.put("op_log_in", flag(class == Class::LogIn));
    row.put("op_log_in_failed", flag(class == Class::LogInFailed));
    row.put("op_log_out", flag(class == Class::LogOut));
    row.put("op_read", flag(class == Class::Read));
    row.put("op_insert", flag(class == Class::Insert));
    row.put("op_update", flag(class == Class::Update));
    row.put("op_delete", flag(class == Class::Delete));
    row.put("op_copy", flag(class == Class::Copy));
    row.put("op_define", flag(class == Class::Define));
    row.put("op_drop", flag(class == Class::Drop));
    row.put("op_permit", flag(class == Class::Permit));
    row.put("op_housekeeping", flag(class == Class::Housekeeping));
    row.put("op_prepared", flag(class == Class::Prepared));
    row.put("denied", flag(outcome == Outcome::Denied));
    row.put("malformed", flag(outcome == Outcome::Malformed));
    row.put("failed", flag(outcome == Outcome::Failed));
    row.put("rows", log(wide(event.row_count().unwrap_or(0)), 1e6));
    row.put("rows_bulk", bulk(wide(event.row_count().unwrap_or(0))));
    row.put("rows_none", flag(event.row_count() == Some(0)));
    row.put("changed_fields", log(length(event.changed_fields().len()), 20.0));
    row.put("client_unnamed", flag(client == Client::Unnamed && class > Class::LogOut));
    row.put("client_dump", flag(client == Client::Dump));
    row.put("client_interactive", flag(client == Client::Interactive));
    row.put("client_script", flag(client == Client::Script));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_all_sources_fall_into_one_vocabulary() {
        let cases = [
            ("LOGIN", Class::LogIn),
            ("ConsoleLogin", Class::LogIn),
            ("GetObject", Class::Read),
            ("DescribeInstances", Class::Read),
            ("CREATE ROLE", Class::Permit),
            ("CREATE TABLE", Class::Define),
            ("AttachUserPolicy", Class::Permit),
            ("DeleteTrail", Class::Drop),
            ("TRUNCATE TABLE", Class::Drop),
            ("LOCK TABLE", Class::Housekeeping),
            ("", Class::Other),
            ("??", Class::Other),
        ];
        for (operation, class) in cases {
            assert_eq!(Class::of(operation), class, "{operation}");
        }
    }
}
