//! An account as it is stored, and what its user sees of it.

use serde::{Deserialize, Serialize};
use shared::store::StoreError;
use shared::{AssetId, Explain};

use super::ThrottleLimits;

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    /// HMAC of the password.
    pub(super) credential: String,
    /// Whether logins are taken at all.
    pub(super) enabled: bool,
    /// Sessions at a time.
    pub(super) connections: u32,
    /// Queries a minute; `None` for no limit.
    pub(super) queries_per_minute: Option<u32>,
    /// Sessions of an earlier generation are dead.
    pub(super) generation: u64,
    /// How many sessions were ever opened.
    pub(super) opened: u64,
}

impl Account {
    pub(super) fn new(credential: String, connections: u32) -> Self {
        Self { credential, enabled: true, connections, queries_per_minute: None, generation: 0, opened: 0 }
    }

    pub(super) fn next_generation(self) -> Self {
        Self { generation: self.generation.wrapping_add(1), ..self }
    }

    pub(super) fn throttled(self, limits: ThrottleLimits) -> Self {
        let queries_per_minute = self.queries_per_minute.unwrap_or(u32::MAX).min(limits.queries_per_minute);
        let connections = self.connections.min(limits.connections);
        Self { connections, queries_per_minute: Some(queries_per_minute), ..self }
    }

    /// A refused credential opens nothing more, and what it opened is dead.
    pub(super) fn disabled(self) -> Self {
        Self { enabled: false, ..self.next_generation() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::json!(self).to_string().into_bytes()
    }

    pub(super) fn read(name: &AssetId, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |error: serde_json::Error| StoreError::Engine {
            location: format!("account {name}"),
            reason: error.to_string(),
        };
        serde_json::from_slice(bytes).map_err(damaged)
    }
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub account: AssetId,
    pub(super) token: String,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AccountStatus {
    /// Whether logins are taken at all.
    pub enabled: bool,
    /// Sessions at a time.
    pub connections: u32,
    /// Queries a minute; `None` for no limit.
    pub queries_per_minute: Option<u32>,
    /// Sessions that answer.
    pub live_sessions: u32,
}

/// Why an account's user did not get through.
#[derive(Debug, thiserror::Error)]
pub enum AccessRefused {
    /// The account or password is wrong.
    #[error("the account or password is wrong")]
    Credential,
    /// The account's credential is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// The account has its limit of sessions open.
    #[error("the account has its limit of {limit} sessions open")]
    TooManyConnections {
        /// How many it may have.
        limit: u32,
    },
    /// The session has ended.
    #[error("the session has ended")]
    SessionEnded,
    /// The account has spent its queries.
    #[error("the account may run {per_minute} queries a minute")]
    RateLimited {
        /// How many.
        per_minute: u32,
    },
    /// Others log in to the same account all the time.
    #[error("the account is busy")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Explain for AccessRefused {
    fn code(&self) -> &'static str {
        match self {
            Self::Credential => "access-credential",
            Self::Disabled => "access-disabled",
            Self::TooManyConnections { .. } => "access-too-many-connections",
            Self::SessionEnded => "access-session-ended",
            Self::RateLimited { .. } => "access-rate-limited",
            Self::Busy => "access-busy",
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Credential => "check the account's name and password",
            Self::Disabled => "ask the site's responders whether the account is contained",
            Self::TooManyConnections { .. } => "close a session first",
            Self::SessionEnded => "log in again",
            Self::RateLimited { .. } => "wait before the next query",
            Self::Busy => "try again",
            Self::Store(error) => error.hint(),
        }
    }
}
