//! The participant's configuration. Every field has a default that is safe on a machine nobody has configured: loopback
//! addresses, dry-run response, a small privacy budget.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use policy_as_code::bundle::Source;
use serde::{Deserialize, Serialize};
use shared::asset::Asset;
use shared::encoding::EncodingKind;
use shared::{Explain, ParticipantId, TaskId};
use shared_ops::Secret;
use shared_ops::telemetry::LogConfig;

/// The most ε that a lifetime budget may allow.
const MAX_EPSILON: f64 = 8.0;
/// The most reasons that a detection names.
const MAX_REASONS: usize = 100;

/// Everything a participant can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// This site's name in the federation.
    pub participant_id: Option<ParticipantId>,
    /// Where keys, lake, store and dead letters lie.
    pub data_dir: PathBuf,
    /// The coordinator and the tasks to take part in.
    pub federation: FederationConfig,
    /// What the site allows to be learned from its records, over its lifetime.
    pub privacy: PrivacyConfig,
    /// What a task must look like for this site to take part.
    pub admission: AdmissionConfig,
    /// The policies that decide, beside these limits, what this site takes part in and does.
    /// Without any, every detection stays an alert, and the policies that ship decide on tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Source>,
    /// When an event becomes a detection.
    pub detection: DetectionConfig,
    /// What is done about a detection.
    pub response: ResponseConfig,
    /// The site's own HTTP interface.
    pub http: HttpConfig,
    /// Logs.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            participant_id: None,
            data_dir: PathBuf::from("ringfence-participant"),
            federation: FederationConfig::default(),
            privacy: PrivacyConfig::default(),
            admission: AdmissionConfig::default(),
            policy: None,
            detection: DetectionConfig::default(),
            response: ResponseConfig::default(),
            http: HttpConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// Why a configuration cannot be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration's `{field}` {reason}")]
pub struct InvalidConfig {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Explain for InvalidConfig {
    fn code(&self) -> &'static str {
        "config-invalid"
    }

    fn hint(&self) -> &'static str {
        "correct the field; `ringfence-participant config dump` shows every field as it is understood"
    }
}

impl Config {
    /// Refuses values that parse and mean nothing.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let Budget { epsilon, delta } = self.privacy.budget;
        let finite = |value: f64| value >= 0.0 && value.is_finite();
        check((1..100).contains(&self.federation.holdout_percent), "federation.holdout_percent", "is not 1 to 99")?;
        check(!self.federation.encodings.is_empty(), "federation.encodings", "is empty")?;
        check((0.0..=MAX_EPSILON).contains(&epsilon), "privacy.budget.epsilon", "is not a number from 0 to 8")?;
        let is_delta = delta.is_none_or(|delta| delta > 0.0 && delta < 1.0);
        check(is_delta, "privacy.budget.delta", "is not between 0 and 1")?;
        check(finite(self.admission.max_epsilon), "admission.max_epsilon", "is not a number from 0")?;
        let rate = self.detection.max_false_positive_rate_bp;
        check(rate < 10_000, "detection.max_false_positive_rate_bp", "is not 0 to 9999")?;
        check(self.detection.reasons <= MAX_REASONS, "detection.reasons", "is above 100")?;
        self.response.validate()
    }
}

fn check(holds: bool, field: &'static str, reason: &str) -> Result<(), InvalidConfig> {
    if holds { Ok(()) } else { Err(InvalidConfig { field, reason: reason.to_owned() }) }
}

/// The coordinator and the tasks to take part in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// The coordinator's address, such as `https://coordinator.example:7400`.
    pub coordinator: String,
    /// Take part in these tasks only; empty means every task whose cohort names this site.
    pub tasks: Vec<TaskId>,
    /// Per cent of the labelled records, latest in time, held out from training to evaluate candidates.
    pub holdout_percent: u32,
    /// In which encodings this site may send its updates. The task's order decides among them.
    pub encodings: Vec<EncodingKind>,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self {
            coordinator: "https://127.0.0.1:7400".to_owned(),
            tasks: Vec::new(),
            holdout_percent: 30,
            encodings: EncodingKind::ALL.to_vec(),
        }
    }
}

/// What the site allows to be learned from its records, over its lifetime and over all tasks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// The lifetime budget. Once it is spent, nothing derived from telemetry leaves the site any more.
    pub budget: Budget,
    /// Whom the budget protects: tasks of a weaker unit are refused.
    pub unit: Protected,
    /// Whether to take part in tasks whose noise the sites share. They keep ε only as long as more than two thirds of the
    /// cohort are honest and secure aggregation holds; without them, this site counts on nobody.
    pub shared_noise: bool,
    /// Where the ledger's counter lies, best on another disk; `ledger-counter.json` in `data_dir` where it is not set,
    /// the only folder that is sure to be writable and to outlive the process.
    pub counter_file: Option<PathBuf>,
}

/// What may be spent over the site's lifetime.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// ε, at most 8.
    pub epsilon: f64,
    /// δ; where it is not set, the least of 1e-6 and 1/(10 N) for N labelled records.
    pub delta: Option<f64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { epsilon: 2.0, delta: None }
    }
}

/// Whom a budget protects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protected {
    /// Single records: tasks of either unit cost no record more than ε.
    #[default]
    Record,
    /// All records of a principal together: only tasks of unit `entity` do that.
    Entity,
}

/// What a task must look like for this site to take part.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionConfig {
    /// Highest ε that one task may cost.
    pub max_epsilon: f64,
    /// Largest model, in parameters.
    pub max_params: usize,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { max_epsilon: 2.0, max_params: 1_000_000 }
    }
}

/// When an event becomes a detection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectionConfig {
    /// An event is a detection when at most this share of the site's ordinary hold-out events scores as high, in basis
    /// points.
    pub max_false_positive_rate_bp: u16,
    /// How many reasons a detection names.
    pub reasons: usize,
}

impl Default for DetectionConfig {
    fn default() -> Self {
        Self { max_false_positive_rate_bp: 10, reasons: 5 }
    }
}

/// What is done about a detection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseConfig {
    /// The playbook that contains an account, by its file's name in `playbooks/` of the policy repository, without `.json`.
    pub playbook: String,
    /// On what the playbook acts.
    pub target: Target,
    /// The accounts that may be acted on. An account that is not listed is never touched.
    pub accounts: Vec<Account>,
}

impl Default for ResponseConfig {
    fn default() -> Self {
        Self { playbook: "contain-account".to_owned(), target: Target::DryRun, accounts: Vec::new() }
    }
}

impl ResponseConfig {
    fn validate(&self) -> Result<(), InvalidConfig> {
        let mut principals = BTreeSet::new();
        for Account { principal, peers, .. } in &self.accounts {
            let invalid = |reason| InvalidConfig { field: "response.accounts", reason };
            if !principals.insert(principal) {
                return Err(invalid(format!("lists `{principal}` twice")));
            }
            if *peers == 0 {
                return Err(invalid(format!("gives `{principal}` 0 peers, but an account is its own peer")));
            }
        }
        Ok(())
    }
}

/// On what a playbook acts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// On nothing: decisions are made and logged, no actuator is touched.
    DryRun,
    /// On the embedded account store.
    Embedded,
    /// On the roles of a PostgreSQL server.
    Postgres {
        /// Connection string of a role that may alter the others; may hold a password.
        url: Secret,
    },
}

/// An account that a playbook may act on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The principal as it stands in telemetry.
    pub principal: String,
    /// The account as policies see it.
    pub asset: Asset,
    /// The service that this account and its peers belong to.
    pub peer_group: String,
    /// How many accounts the service has, this one included.
    pub peers: u32,
    /// Whether the account is in a maintenance window, in which nothing is automated.
    #[serde(default)]
    pub maintenance: bool,
}

/// The site's own HTTP interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// File with the bearer token that callers must send; made with a fresh token when absent.
    pub token_file: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7480)), token_file: None }
    }
}

#[cfg(test)]
mod tests {
    use shared_ops::config as layers;

    use super::*;
    use crate::testing::account;

    /// Makes a good configuration a bad one.
    type Spoil = fn(&mut Config);

    const SAMPLE: &str = include_str!("../ringfence-participant.toml");

    fn parsed(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_sample_names_every_default() {
        assert_eq!(layers::dump(&parsed(SAMPLE)).unwrap(), layers::dump(&Config::default()).unwrap());
        Config::default().validate().unwrap();
    }

    #[test]
    fn the_fields_that_the_sample_comments_out_are_fields() {
        let uncommented = |line: &str| match line.strip_prefix("# ") {
            Some(field) if field == "[policy]" || field.contains(" = ") && !field.contains("url") => field.to_owned(),
            _ => line.to_owned(),
        };
        let config = parsed(&SAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n"));
        assert!(config.participant_id.is_some() && config.policy.as_ref().is_some_and(|policy| policy.site.is_some()));
        assert!(config.http.token_file.is_some());
        assert!(config.privacy.counter_file.is_some() && config.privacy.budget.delta.is_some());
        let postgres = SAMPLE.replace("kind = \"dry_run\"", "kind = \"postgres\"\nurl = \"postgres://u:hunter2@db/d\"");
        let config = parsed(&postgres);
        assert!(matches!(config.response.target, Target::Postgres { .. }));
        assert!(!format!("{config:?}{}", layers::dump(&config).unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_in_every_section() {
        let sections = [
            "",
            "federation",
            "privacy",
            "privacy.budget",
            "admission",
            "policy",
            "detection",
            "response",
            "http",
            "log",
        ];
        for section in sections {
            let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let error = toml::from_str::<Config>(&format!("{header}colour = 1")).unwrap_err();
            assert!(error.message().contains("colour"), "{section}: {error}");
        }
    }

    #[test]
    fn what_parses_and_means_nothing_is_refused_by_name() {
        let cases: [(Spoil, &str); 12] = [
            (|config| config.federation.encodings.clear(), "federation.encodings"),
            (|config| config.federation.holdout_percent = 0, "federation.holdout_percent"),
            (|config| config.federation.holdout_percent = 100, "federation.holdout_percent"),
            (|config| config.privacy.budget.epsilon = f64::NAN, "privacy.budget.epsilon"),
            (|config| config.privacy.budget.epsilon = 8.01, "privacy.budget.epsilon"),
            (|config| config.privacy.budget.delta = Some(1.0), "privacy.budget.delta"),
            (|config| config.admission.max_epsilon = f64::INFINITY, "admission.max_epsilon"),
            (|config| config.detection.max_false_positive_rate_bp = 10_000, "detection.max_false_positive_rate_bp"),
            (|config| config.detection.reasons = 101, "detection.reasons"),
            (|config| config.response.accounts = vec![account("ada"), account("ada")], "response.accounts"),
            (|config| config.response.accounts = vec![Account { peers: 0, ..account("ada") }], "response.accounts"),
            (|config| config.privacy.budget.epsilon = -1.0, "privacy.budget.epsilon"),
        ];
        for (spoil, field) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            let refused = config.validate().unwrap_err();
            assert_eq!((refused.field, refused.code()), (field, "config-invalid"));
        }
    }
}
