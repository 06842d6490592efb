//! The coordinator's configuration. Every address is loopback unless the operator says otherwise.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use policy_as_code::bundle::Source;
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
    /// Who is let in.
    pub enrolment: Enrolment,
    /// The policies that say who may do what, and which releases may become the latest: a bundle, looked at every ten
    /// seconds. Without any, those decide that ship.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Source>,
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
    /// Holds the bearer token of `operator`; `admin.token` in `data_dir` when not set, and made when absent.
    pub token_file: Option<PathBuf>,
    /// Who else may ask, and what.
    pub tokens: Vec<AdminToken>,
}

/// A bearer token of the admin API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminToken {
    /// Who bears it, as the audit log names it.
    pub name: String,
    /// What it is to the policies.
    pub role: Role,
    /// Holds the token; `tokens/NAME.token` in `data_dir` when not set, and made when absent.
    pub file: Option<PathBuf>,
}

/// What the bearer of a token is to the policies. Each role is all that the ones before it are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See tasks, rounds, participants and releases.
    Viewer,
    /// See what proves them: transcripts, evidence, ledgers and the audit log.
    Auditor,
    /// Everything.
    Operator,
}

/// Who is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enrolment {
    /// Who approves an enrolment that came with a good token.
    pub approval: Approval,
}

/// Who approves an enrolment that came with a good token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// The token suffices: the operator made it for one participant id, and gave it to somebody. This is the default
    /// because the default addresses are loopback, where whoever made the token also uses it.
    #[default]
    Automatic,
    /// The operator looks at each enrolment: right where tokens travel by mail or chat.
    Operator,
}

/// What is refused for being too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of participants at a time.
    pub connections: NonZeroU32,
    /// Connections of one participant at a time.
    pub connections_per_participant: NonZeroU32,
    /// Connections at a time of those who are not admitted, such as who is about to enrol.
    pub guests: NonZeroU32,
    /// Connections that shake hands at a time.
    pub handshakes: NonZeroU32,
    /// Calls and streams at a time on one connection.
    pub streams_per_connection: NonZeroU32,
    /// Updates that are received at a time, over all tasks; other senders wait in line.
    pub uploads: NonZeroU32,
    /// How long each chunk of an update (256 KiB, or what is left) may take before its place is given to somebody else.
    pub upload_idle_ms: u64,
    /// How long a sender may keep its place while others wait; then it queues again, and goes on where it stopped.
    pub upload_turn_ms: u64,
    /// Pieces of parameters that are read at a time; those who fetch take turns.
    pub downloads: NonZeroU32,
    /// Committed rounds of a task whose updates are kept, for transcripts and for computing them again.
    pub transcript_rounds: NonZeroU32,
    /// The largest body of an admin call.
    pub admin_body_bytes: u32,
    /// Enrolment tokens that are neither used nor expired.
    pub tokens: NonZeroU32,
    /// How long an enrolment token is good.
    pub token_hours: NonZeroU32,
    /// How long the certificates of participants and of the coordinator's server are good. Each holder replaces its
    /// own after two thirds of that time.
    pub certificate_hours: NonZeroU32,
    /// The least time between two certificates of one participant.
    pub renewal_pause_ms: u32,
    /// Answers to admin calls with an `Idempotency-Key` that are kept; the oldest leave first.
    pub idempotency_keys: NonZeroU32,
    /// How long such an answer is kept.
    pub idempotency_hours: NonZeroU32,
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
            enrolment: Enrolment::default(),
            policy: None,
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
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7401)), token_file: None, tokens: Vec::new() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: at_least_one(4000),
            connections_per_participant: at_least_one(4),
            guests: at_least_one(64),
            handshakes: at_least_one(64),
            streams_per_connection: at_least_one(32),
            uploads: at_least_one(16),
            upload_idle_ms: 20_000,
            upload_turn_ms: 60_000,
            downloads: at_least_one(16),
            transcript_rounds: at_least_one(10),
            admin_body_bytes: 64 * 1024 * 1024,
            tokens: at_least_one(1000),
            token_hours: at_least_one(24),
            certificate_hours: at_least_one(24),
            renewal_pause_ms: 10_000,
            idempotency_keys: at_least_one(10_000),
            idempotency_hours: at_least_one(24),
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

impl Role {
    /// The role as the configuration and the audit log name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
        }
    }
}

impl Limits {
    pub(crate) fn token_validity(&self) -> Duration {
        Duration::from_hours(u64::from(self.token_hours.get()))
    }

    pub(crate) fn certificate_validity(&self) -> Duration {
        Duration::from_hours(u64::from(self.certificate_hours.get()))
    }

    pub(crate) fn idempotency_age(&self) -> Duration {
        Duration::from_hours(u64::from(self.idempotency_hours.get()))
    }

    pub(crate) fn renewal_pause(&self) -> Duration {
        Duration::from_millis(u64::from(self.renewal_pause_ms))
    }

    /// What the gRPC server takes at a time.
    pub(crate) fn server(&self) -> shared_wire::server::Limits {
        let wide = |limit: NonZeroU32| usize::try_from(limit.get()).unwrap_or(usize::MAX);
        shared_wire::server::Limits {
            connections: wide(self.connections),
            connections_per_participant: wide(self.connections_per_participant),
            guests: wide(self.guests),
            handshakes: wide(self.handshakes),
            streams_per_connection: self.streams_per_connection.get(),
        }
    }

    pub(crate) fn upload_turn(&self) -> Duration {
        Duration::from_millis(self.upload_turn_ms)
    }

    pub(crate) fn upload_idle(&self) -> Duration {
        Duration::from_millis(self.upload_idle_ms)
    }
}

fn at_least_one(limit: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(limit.saturating_sub(1))
}
