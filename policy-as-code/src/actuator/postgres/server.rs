//! Connections to the server, and its errors in our words.

use std::time::Duration;

use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls};

use super::Role;
use crate::actuator::ActuatorError;

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Where the server is, and as whom we connect.
pub(super) struct Server(Config);

impl Server {
    pub(super) fn new(url: &str) -> Result<Self, ActuatorError> {
        let bad = |error: Error| ActuatorError::BadAddress { reason: whole(&error) };
        let mut config: Config = url.parse().map_err(bad)?;
        config.connect_timeout(CONNECT_LIMIT).application_name("ringfence");
        Ok(Self(config))
    }

    /// A connection of our own.
    pub(super) async fn connect(&self) -> Result<Client, ActuatorError> {
        connect(&self.0).await.map_err(|error| self.explain(&error))
    }

    /// A connection as `role`; `None` when its password is not known.
    pub(super) async fn connect_as(&self, role: &Role) -> Option<Result<Client, Error>> {
        let mut config = self.0.clone();
        config.user(&role.name).password(role.password.as_ref()?.expose());
        Some(connect(&config).await)
    }

    pub(super) fn explain(&self, error: &Error) -> ActuatorError {
        let reason = whole(error);
        match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE || code.code().starts_with("28") => {
                ActuatorError::NotPermitted { reason }
            }
            Some(_) => ActuatorError::Refused { reason },
            None => ActuatorError::Unreachable { location: self.location(), reason },
        }
    }

    fn location(&self) -> String {
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let hosts: Vec<String> = self.0.get_hosts().iter().map(host).collect();
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        format!("{}:{port}", hosts.join(","))
    }
}

async fn connect(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // Ends with the client.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to postgresql ended");
        }
    });
    Ok(client)
}

/// Whether the server refused for that reason.
pub(super) fn refused(error: &Error, state: &SqlState) -> bool {
    error.code() == Some(state)
}

fn whole(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(server), _) => server.message().to_owned(),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
