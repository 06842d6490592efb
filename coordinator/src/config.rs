//! The coordinator's configuration. Every address is loopback unless the operator says otherwise.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_ops::telemetry::LogConfig;

/// What `ringfence-coordinator.toml` may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Holds keys, certificates, the store and `addresses.json`. A fresh folder is filled by itself.
    pub data_dir: PathBuf,
    /// Where participants connect.
    pub federation: Federation,
    /// Where operators connect.
    pub admin: Admin,
    /// What is refused for being too much.
    pub limits: Limits,
    /// What is logged, to stderr.
    pub log: LogConfig,
}

/// Where participants connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Federation {
    /// The gRPC address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host names and addresses that the server's certificate holds for.
    pub names: Vec<String>,
}

/// Where operators connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The admin API's address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Holds the bearer token; `admin.token` in `data_dir` when not set, and made when absent.
    pub token_file: Option<PathBuf>,
}

/// What is refused for being too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls and streams at a time on one connection.
    pub streams_per_connection: NonZeroU32,
    /// Updates that are received at a time, over all tasks. Memory: this many times the model.
    pub uploads: NonZeroU32,
    /// How long an update may pause between two chunks.
    pub upload_idle_ms: u64,
    /// The largest body of an admin call.
    pub admin_body_bytes: u32,
    /// Enrolment tokens that are neither used nor expired.
    pub tokens: NonZeroU32,
    /// How long an enrolment token is good.
    pub token_hours: NonZeroU32,
    /// How long a participant's certificate is good.
    pub certificate_days: NonZeroU32,
    /// Tasks that are stored.
    pub tasks: NonZeroU32,
    /// Rounds that may end without a result, one after the other, before their task fails.
    pub aborted_rounds: NonZeroU32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("ringfence-coordinator"),
            federation: Federation::default(),
            admin: Admin::default(),
            limits: Limits::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            names: ["localhost", "127.0.0.1"].map(str::to_owned).to_vec(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7401)), token_file: None }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_per_connection: at_least_one(32),
            uploads: at_least_one(16),
            upload_idle_ms: 20_000,
            admin_body_bytes: 64 * 1024 * 1024,
            tokens: at_least_one(1000),
            token_hours: at_least_one(24),
            certificate_days: at_least_one(30),
            tasks: at_least_one(1000),
            aborted_rounds: at_least_one(100),
        }
    }
}

impl Config {
    /// Where the bearer token stands.
    pub fn token_file(&self) -> PathBuf {
        self.admin.token_file.clone().unwrap_or_else(|| self.data_dir.join("admin.token"))
    }
}

impl Limits {
    pub(crate) fn token_validity(&self) -> Duration {
        Duration::from_hours(u64::from(self.token_hours.get()))
    }

    pub(crate) fn certificate_validity(&self) -> Duration {
        Duration::from_hours(u64::from(self.certificate_days.get()).saturating_mul(24))
    }

    pub(crate) fn upload_idle(&self) -> Duration {
        Duration::from_millis(self.upload_idle_ms)
    }
}

fn at_least_one(limit: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(limit.saturating_sub(1))
}
