//! Roles of a PostgreSQL server: connection limits, ended backends, refused logins, and back.
//!
//! Nothing is installed on the server and no setting is left behind. Superusers and the role that we connect as are
//! refused: limits do not hold on the one, and containing the other would lock us out. A connection limit and `NOLOGIN`
//! leave live backends alone, so disabling a credential ends them too. Connections are made without TLS: through a local
//! socket, over loopback, or through a tunnel. Needs PostgreSQL 14.

mod server;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::AssetId;
use shared::decision::ContainmentAction;
use shared_crypto::SecretText;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use self::server::{Server, refused};
use super::{Actuator, ActuatorError, Effect, Undo};
use crate::playbook::Postcondition;

/// How long the server may take to end a backend, in milliseconds.
const TERMINATE_MS: i64 = 5_000;

/// A role that can be contained.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name on the server.
    pub name: String,
    /// Its password, if the site keeps it for probes: with it, a probe really tries to log in.
    pub password: Option<SecretText>,
}

/// The roles of one server.
pub struct PostgresRoles {
    server: Server,
    roles: BTreeMap<AssetId, Role>,
    connections: u32,
}

/// What [`PostgresRoles`] captures.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Captured {
    connection_limit: i32,
    can_login: bool,
    /// The server's time.
    at: String,
}

struct RoleRow {
    connection_limit: i32,
    can_login: bool,
    superuser: bool,
    ourselves: bool,
    now: String,
}

impl PostgresRoles {
    /// The server at `url` (`postgresql://user:password@host:port/database`, or `host=/socket/dir user=…`), the roles
    /// that may be contained there, and how many connections a throttled role is left with. Connects to nothing yet.
    pub fn new(url: &str, roles: BTreeMap<AssetId, Role>, connections: u32) -> Result<Self, ActuatorError> {
        Ok(Self { server: Server::new(url)?, roles, connections })
    }

    /// Refuses a server that does not answer, or that will not let us change roles and end sessions.
    pub async fn check(&self) -> Result<(), ActuatorError> {
        let client = self.server.connect().await?;
        let row = client.query_one(MAY_CONTAIN, &[]).await.map_err(|error| self.server.explain(&error))?;
        if row.try_get(0).map_err(|error| self.server.explain(&error))? {
            return Ok(());
        }
        let reason = "the role that we connect as is neither superuser nor has CREATEROLE, pg_signal_backend and \
                      pg_read_all_stats";
        Err(ActuatorError::NotPermitted { reason: reason.to_owned() })
    }

    fn role(&self, effect: &Effect) -> Result<&Role, ActuatorError> {
        self.roles.get(&effect.target).ok_or_else(|| ActuatorError::UnknownTarget { target: effect.target.clone() })
    }

    async fn role_row(&self, client: &Client, effect: &Effect) -> Result<RoleRow, ActuatorError> {
        let name = &self.role(effect)?.name;
        let explain = |error| self.server.explain(&error);
        let row = client.query_opt(ROLE, &[name]).await.map_err(explain)?;
        let row = row.ok_or_else(|| ActuatorError::UnknownTarget { target: effect.target.clone() })?;
        Ok(RoleRow {
            connection_limit: row.try_get(0).map_err(explain)?,
            can_login: row.try_get(1).map_err(explain)?,
            superuser: row.try_get(2).map_err(explain)?,
            ourselves: row.try_get(3).map_err(explain)?,
            now: row.try_get(4).map_err(explain)?,
        })
    }

    async fn alter(&self, client: &Client, effect: &Effect, change: &str) -> Result<(), ActuatorError> {
        let name = quoted(effect, &self.role(effect)?.name)?;
        client.batch_execute(&format!("ALTER ROLE {name} {change}")).await.map_err(|error| self.server.explain(&error))
    }

    async fn limit_connections(&self, client: &Client, effect: &Effect) -> Result<(), ActuatorError> {
        let present = self.role_row(client, effect).await?.connection_limit;
        let wanted = i32::try_from(self.connections).unwrap_or(i32::MAX);
        let limit = if present < 0 { wanted } else { present.min(wanted) };
        self.alter(client, effect, &format!("CONNECTION LIMIT {limit}")).await
    }

    async fn end_backends(&self, client: &Client, effect: &Effect) -> Result<(), ActuatorError> {
        let name = &self.role(effect)?.name;
        client.query(TERMINATE, &[name, &TERMINATE_MS]).await.map_err(|error| self.server.explain(&error))?;
        Ok(())
    }

    /// Opens connections as the role until the server refuses one.
    async fn probe_limit(&self, client: &Client, effect: &Effect) -> Result<(), ActuatorError> {
        let row = self.role_row(client, effect).await?;
        let limit = u32::try_from(row.connection_limit).unwrap_or(u32::MAX);
        if limit > self.connections || row.superuser {
            return Err(not_held("the server does not limit the role's connections"));
        }
        let role = self.role(effect)?;
        let mut opened = Vec::new();
        for _ in 0..=limit {
            match self.server.connect_as(role).await {
                Some(Ok(client)) => opened.push(client),
                Some(Err(error)) if refused(&error, &SqlState::TOO_MANY_CONNECTIONS) => return Ok(()),
                Some(Err(error)) => return Err(self.server.explain(&error)),
                None => return Ok(()),
            }
        }
        Err(not_held("more connections opened than the limit leaves"))
    }

    /// Looks for backends of the role that are older than the capture.
    async fn probe_backends(&self, client: &Client, effect: &Effect, captured: &Captured) -> Result<(), ActuatorError> {
        let name = &self.role(effect)?.name;
        let explain = |error| self.server.explain(&error);
        let row = client.query_one(OLD_BACKENDS, &[name, &captured.at]).await.map_err(explain)?;
        let (old, hidden): (i64, i64) = (row.try_get(0).map_err(explain)?, row.try_get(1).map_err(explain)?);
        if hidden > 0 {
            let reason = "the role that we connect as may not see when sessions began".to_owned();
            return Err(ActuatorError::NotPermitted { reason });
        }
        if old == 0 { Ok(()) } else { Err(not_held(&format!("{old} sessions from before the effect live on"))) }
    }

    /// Logs in as the role.
    async fn probe_login(&self, client: &Client, effect: &Effect) -> Result<(), ActuatorError> {
        if self.role_row(client, effect).await?.can_login {
            return Err(not_held("the server takes logins of the role"));
        }
        match self.server.connect_as(self.role(effect)?).await {
            Some(Ok(_)) => Err(not_held("a login still succeeds")),
            Some(Err(error)) if refused(&error, &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => Ok(()),
            Some(Err(error)) => Err(self.server.explain(&error)),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Actuator for PostgresRoles {
    async fn capture(&self, effect: &Effect) -> Result<Undo, ActuatorError> {
        let client = self.server.connect().await?;
        let row = self.role_row(&client, effect).await?;
        let off_limits =
            |reason: &str| ActuatorError::OffLimits { target: effect.target.clone(), reason: reason.to_owned() };
        if row.superuser {
            return Err(off_limits("it is a superuser, on which limits do not hold"));
        }
        if row.ourselves {
            return Err(off_limits("it is the role that we connect as"));
        }
        let RoleRow { connection_limit, can_login, now, .. } = row;
        Ok(Undo(json!(Captured { connection_limit, can_login, at: now })))
    }

    async fn apply(&self, effect: &Effect) -> Result<(), ActuatorError> {
        let client = self.server.connect().await?;
        match effect.action {
            ContainmentAction::Throttle => self.limit_connections(&client, effect).await,
            ContainmentAction::TerminateSessions => self.end_backends(&client, effect).await,
            ContainmentAction::DisableCredential => {
                self.alter(&client, effect, "NOLOGIN").await?;
                self.end_backends(&client, effect).await
            }
            action => Err(ActuatorError::Unsupported { action }),
        }
    }

    async fn probe(&self, effect: &Effect, postcondition: Postcondition, undo: &Undo) -> Result<(), ActuatorError> {
        let captured = captured(effect, undo)?;
        let client = self.server.connect().await?;
        match postcondition {
            Postcondition::AccessLimited => self.probe_limit(&client, effect).await,
            Postcondition::SessionsEnded => self.probe_backends(&client, effect, &captured).await,
            Postcondition::LoginRefused => {
                self.probe_login(&client, effect).await?;
                self.probe_backends(&client, effect, &captured).await
            }
            Postcondition::Unreachable => Err(ActuatorError::Unsupported { action: effect.action }),
        }
    }

    async fn restore(&self, effect: &Effect, undo: &Undo) -> Result<(), ActuatorError> {
        let Captured { connection_limit, can_login, .. } = captured(effect, undo)?;
        let client = self.server.connect().await?;
        match effect.action {
            ContainmentAction::Throttle => {
                self.alter(&client, effect, &format!("CONNECTION LIMIT {connection_limit}")).await
            }
            ContainmentAction::DisableCredential if can_login => self.alter(&client, effect, "LOGIN").await,
            _ => Ok(()),
        }
    }
}

fn captured(effect: &Effect, undo: &Undo) -> Result<Captured, ActuatorError> {
    let bad =
        |error: serde_json::Error| ActuatorError::BadUndo { target: effect.target.clone(), reason: error.to_string() };
    serde_json::from_value(undo.0.clone()).map_err(bad)
}

fn not_held(bypass: &str) -> ActuatorError {
    ActuatorError::NotHeld { bypass: bypass.to_owned() }
}

/// The name as an SQL identifier: in double quotes, those within doubled. PostgreSQL cuts names at 63 bytes, and would
/// then name another role.
fn quoted(effect: &Effect, name: &str) -> Result<String, ActuatorError> {
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        return Err(ActuatorError::UnknownTarget { target: effect.target.clone() });
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

const ROLE: &str = "SELECT rolconnlimit, rolcanlogin, rolsuper, rolname = current_user, clock_timestamp()::text \
                    FROM pg_catalog.pg_roles WHERE rolname = $1::text";

const TERMINATE: &str = "SELECT pg_terminate_backend(pid, $2::bigint) FROM pg_catalog.pg_stat_activity \
                         WHERE usename = $1::text AND pid <> pg_backend_pid()";

const OLD_BACKENDS: &str = "SELECT count(*) FILTER (WHERE backend_start <= $2::text::timestamptz), \
                            count(*) FILTER (WHERE backend_start IS NULL) \
                            FROM pg_catalog.pg_stat_activity WHERE usename = $1::text";

const MAY_CONTAIN: &str = "SELECT rolsuper OR (rolcreaterole AND pg_has_role(current_user, 'pg_signal_backend', 'USAGE') \
                           AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')) \
                           FROM pg_catalog.pg_roles WHERE rolname = current_user";

#[cfg(test)]
mod tests;
