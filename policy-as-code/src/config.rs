//! The configuration of `ringfence-policy serve`. Loopback unless the operator says otherwise.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared_crypto::PublicKey;
use shared_ops::Secret;
use shared_ops::telemetry::LogConfig;

/// What `ringfence-policy.toml` may say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The policy repository that is served.
    pub repo: PathBuf,
    /// The site whose own policies hold beside those of all sites: a folder's name in `policies/sites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Where decisions are asked for.
    pub http: Http,
    /// What a repository must prove to be served.
    pub bundle: Bundle,
    /// What is logged, to stderr.
    pub log: LogConfig,
}

/// Where decisions are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The largest request, in bytes.
    pub body_bytes: u32,
    /// The bearer token; nothing is served without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// What a repository must prove to be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bundle {
    /// The key that has to have signed `bundle.json` in the repository; nothing is served without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The file that keeps what is in force, for a restart.
    pub kept: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            repo: PathBuf::from("."),
            site: None,
            http: Http::default(),
            bundle: Bundle::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self { public_key: None, kept: PathBuf::from("bundle-in-force.json") }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8483)), body_bytes: 65_536, token: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_says_the_defaults_and_names_every_field() {
        let sample = include_str!("../ringfence-policy.toml");
        assert_eq!(toml::from_str::<Config>(sample).unwrap(), Config::default());
        for field in ["repo", "site", "listen", "body_bytes", "token", "public_key", "kept", "format", "filter"] {
            assert!(sample.contains(&format!("{field} =")), "{field}");
        }
        assert!(toml::from_str::<Config>("listen = 1").is_err());
    }

    #[test]
    fn a_dump_does_not_show_the_token() {
        let config: Config = toml::from_str("[http]\ntoken = \"hunter2\"").unwrap();
        let dump = shared_ops::config::dump(&config).unwrap();
        assert!(!dump.contains("hunter2") && dump.contains("[redacted]"), "{dump}");
    }
}
