//! What the playbooks act on: the embedded account store, or a role of a real PostgreSQL server.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use participant::config::Account;
use participant::site::Site;
use policy_as_code::actuator::Actuator;
use policy_as_code::actuator::embedded::{EmbeddedAccounts, Session, ThrottleLimits};
use policy_as_code::actuator::postgres::{PostgresRoles, Role};
use shared::AssetId;
use shared_crypto::{SecretText, TokenKey, random_bytes};
use shared_ops::cli::Failure;
use tokio_postgres::{Client, Config, NoTls};

/// Connections that an account may have, and still has under throttle.
const CONNECTIONS: u32 = 10;
const THROTTLED_CONNECTIONS: u32 = 1;

/// What the account can do at the moment, found out by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// Whether a new login is accepted.
    pub(crate) login: bool,
    /// Whether the session from before still works.
    pub(crate) session: bool,
}

/// An account with a live session.
pub(crate) enum Target {
    /// In the embedded store.
    Embedded { accounts: Arc<EmbeddedAccounts>, asset_id: AssetId, password: String, session: Session },
    /// On a PostgreSQL server.
    Postgres(Box<PostgresTarget>),
}

/// A role made for the quickstart, and removed at its end.
pub(crate) struct PostgresTarget {
    roles: Arc<PostgresRoles>,
    admin: Client,
    login: Config,
    role: String,
    session: Client,
}

impl Target {
    /// An account that works, with a session that is alive.
    pub(crate) async fn prepare(
        site: &Arc<Site>,
        account: &Account,
        postgres: Option<&str>,
    ) -> Result<Self, anyhow::Error> {
        let password: String = random_bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let asset_id = account.asset.asset_id.clone();
        if let Some(url) = postgres {
            let role = format!("ringfence_{}", site.participant_id.as_str().replace(['-', '.'], "_"));
            return PostgresTarget::prepare(url, asset_id, role, password).await.map(Box::new).map(Self::Postgres);
        }
        let (store, clock) = (Arc::clone(&site.store), Arc::clone(&site.clock));
        let accounts = EmbeddedAccounts::new(store, clock, TokenKey::clone(&site.tokens), ThrottleLimits::default());
        accounts.create(&asset_id, &password, CONNECTIONS)?;
        let session = accounts.login(&asset_id, &password)?;
        Ok(Self::Embedded { accounts: Arc::new(accounts), asset_id, password, session })
    }

    /// What acts on the account.
    pub(crate) fn actuator(&self) -> Arc<dyn Actuator> {
        match self {
            Self::Embedded { accounts, .. } => Arc::<EmbeddedAccounts>::clone(accounts),
            Self::Postgres(target) => Arc::<PostgresRoles>::clone(&target.roles),
        }
    }

    /// Tries a login and the live session.
    pub(crate) async fn access(&self) -> Result<Access, anyhow::Error> {
        match self {
            Self::Embedded { accounts, asset_id, password, session } => {
                let login = accounts.login(asset_id, password);
                if let Ok(extra) = &login {
                    accounts.logout(extra)?;
                }
                Ok(Access { login: login.is_ok(), session: accounts.query(session).is_ok() })
            }
            Self::Postgres(target) => target.access().await,
        }
    }

    /// Removes what was made on somebody's server.
    pub(crate) async fn leave(self) -> Result<(), anyhow::Error> {
        match self {
            Self::Embedded { .. } => Ok(()),
            Self::Postgres(target) => target.leave().await,
        }
    }
}

impl PostgresTarget {
    async fn prepare(url: &str, asset_id: AssetId, role: String, password: String) -> Result<Self, anyhow::Error> {
        let refused = |error: tokio_postgres::Error| {
            let hint =
                "give `--postgres postgresql://USER:PASSWORD@HOST:PORT/DATABASE` of a role that may create roles";
            Failure::new("quickstart-postgres", hint, format!("the PostgreSQL server cannot be used: {error}"))
        };
        let config: Config = url.parse().map_err(refused)?;
        let admin = connect(&config).await.map_err(refused)?;
        admin.batch_execute(&format!("DROP ROLE IF EXISTS {role}")).await?;
        let create = format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' CONNECTION LIMIT {CONNECTIONS}");
        admin.batch_execute(&create).await?;
        let mut login = config.clone();
        login.user(&role).password(&password);
        let session = connect(&login).await.context("the new role cannot log in")?;
        let known = Role { name: role.clone(), password: Some(SecretText::new(password)) };
        let roles = PostgresRoles::new(url, BTreeMap::from([(asset_id, known)]), THROTTLED_CONNECTIONS)?;
        Ok(Self { roles: Arc::new(roles), admin, login, role, session })
    }

    async fn access(&self) -> Result<Access, anyhow::Error> {
        let session = self.session.batch_execute("SELECT 1").await.is_ok();
        Ok(Access { login: connect(&self.login).await.is_ok(), session })
    }

    async fn leave(self) -> Result<(), anyhow::Error> {
        drop(self.session);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        self.admin.execute(end, &[&self.role]).await?;
        Ok(self.admin.batch_execute(&format!("DROP ROLE {}", self.role)).await?)
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
