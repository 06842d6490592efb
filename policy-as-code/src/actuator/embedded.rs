//! A small account store that is really attacked and really contained: accounts, live sessions, logins and queries.
//!
//! It stands in for nothing: logins are verified, sessions end, queries are limited, and all of it survives a restart
//! (only the fill of the rate buckets is forgotten). It keeps no rows; a query is permission to run one.

mod account;
mod bucket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::decision::ContainmentAction;
use shared::store::{Batch, Key, Store, StoreError};
use shared::{AssetId, Clock};
use shared_crypto::TokenKey;

pub use account::{AccessRefused, AccountStatus, Session};

use self::account::Account;
use self::bucket::Bucket;
use super::{Actuator, ActuatorError, Effect, Undo};
use crate::playbook::Postcondition;

const ACCOUNTS: &str = "embedded-account";
const SESSIONS: &str = "embedded-session";
const EFFECTS: &str = "embedded-effect";
/// How many sessions an account may have open, whatever its limit.
const MAX_SESSIONS: usize = 1_024;
/// How often a change is tried against others.
const MAX_ATTEMPTS: u32 = 32;

/// What a throttled account is left with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleLimits {
    /// Sessions at a time.
    pub connections: u32,
    /// Queries a minute.
    pub queries_per_minute: u32,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self { connections: 1, queries_per_minute: 6 }
    }
}

/// The account store.
pub struct EmbeddedAccounts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    key: TokenKey,
    throttle: ThrottleLimits,
    buckets: Mutex<HashMap<AssetId, Bucket>>,
}

/// What was done for a run and step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Applied,
    Undone,
}

/// What [`EmbeddedAccounts`] captures.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Captured {
    enabled: bool,
    connections: u32,
    queries_per_minute: Option<u32>,
    generation: u64,
}

impl EmbeddedAccounts {
    /// The accounts in `store`. `key` keeps credentials and session ids; it must be the same at every start.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, key: TokenKey, throttle: ThrottleLimits) -> Self {
        Self { store, clock, key, throttle, buckets: Mutex::new(HashMap::new()) }
    }

    /// Creates an account, or gives an existing one a new password and limit.
    pub fn create(&self, name: &AssetId, password: &str, connections: u32) -> Result<(), StoreError> {
        let credential = self.credential(name, password);
        let key = account_key(name);
        let account = match self.account(name)? {
            Some(account) => Account { credential, connections, ..account },
            None => Account::new(credential, connections),
        };
        self.store.apply(Batch::new().put(key, account.bytes()))
    }

    /// Logs in.
    pub fn login(&self, name: &AssetId, password: &str) -> Result<Session, AccessRefused> {
        let account = self.account(name)?.ok_or(AccessRefused::Credential)?;
        if account.credential != self.credential(name, password) {
            return Err(AccessRefused::Credential);
        }
        self.open(name)
    }

    /// Opens a session for whoever has shown the right credential.
    fn open(&self, name: &AssetId) -> Result<Session, AccessRefused> {
        for _ in 0..MAX_ATTEMPTS {
            let account = self.account(name)?.ok_or(AccessRefused::Credential)?;
            if !account.enabled {
                return Err(AccessRefused::Disabled);
            }
            if self.live_sessions(name, &account)? >= account.connections {
                return Err(AccessRefused::TooManyConnections { limit: account.connections });
            }
            let opened = account.opened.wrapping_add(1);
            let session =
                Session { account: name.clone(), token: self.key.token("session", &format!("{name}/{opened}")) };
            let next = Account { opened, ..account.clone() };
            let batch = Batch::new().expect(account_key(name), account.bytes()).put(account_key(name), next.bytes());
            let batch = self.ended_sessions(name, &account)?.into_iter().fold(batch, Batch::delete);
            match self.store.apply(batch.put(session_key(&session), account.generation.to_be_bytes())) {
                Ok(()) => return Ok(session),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AccessRefused::Busy)
    }

    /// Closes a session.
    pub fn logout(&self, session: &Session) -> Result<(), StoreError> {
        self.store.apply(Batch::new().delete(session_key(session)))
    }

    /// Permission to run one query.
    pub fn query(&self, session: &Session) -> Result<(), AccessRefused> {
        let account = self.account(&session.account)?.ok_or(AccessRefused::SessionEnded)?;
        let opened_in = self.store.get(&session_key(session))?.ok_or(AccessRefused::SessionEnded)?;
        if opened_in != account.generation.to_be_bytes() {
            return Err(AccessRefused::SessionEnded);
        }
        self.spend(&session.account, &account)
    }

    /// Takes one query off the account's allowance.
    fn spend(&self, name: &AssetId, account: &Account) -> Result<(), AccessRefused> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(per_minute) = account.queries_per_minute else {
            buckets.remove(name);
            return Ok(());
        };
        let now = self.clock.now();
        let bucket = buckets.entry(name.clone()).or_insert_with(|| Bucket::full(per_minute, now));
        if bucket.take(per_minute, now) { Ok(()) } else { Err(AccessRefused::RateLimited { per_minute }) }
    }

    /// How an account stands.
    pub fn status(&self, name: &AssetId) -> Result<Option<AccountStatus>, StoreError> {
        let Some(account) = self.account(name)? else { return Ok(None) };
        let live_sessions = self.live_sessions(name, &account)?;
        Ok(Some(AccountStatus {
            enabled: account.enabled,
            connections: account.connections,
            queries_per_minute: account.queries_per_minute,
            live_sessions,
        }))
    }

    fn live_sessions(&self, name: &AssetId, account: &Account) -> Result<u32, StoreError> {
        let sessions = self.store.scan(SESSIONS, format!("{name}/").as_bytes(), MAX_SESSIONS)?;
        let live = sessions.iter().filter(|(_, generation)| *generation == account.generation.to_be_bytes()).count();
        Ok(u32::try_from(live).unwrap_or(u32::MAX))
    }

    fn account(&self, name: &AssetId) -> Result<Option<Account>, StoreError> {
        let bytes = self.store.get(&account_key(name))?;
        bytes.map(|bytes| Account::read(name, &bytes)).transpose()
    }

    /// Credentials are kept as HMACs under the store's key; equal HMACs leak nothing about the key when compared.
    fn credential(&self, name: &AssetId, password: &str) -> String {
        self.key.token("credential", &format!("{name}/{password}"))
    }

    /// Changes the account once for this run and step: `mark` says what is done, and with it in the same batch.
    fn change(&self, effect: &Effect, mark: Mark, change: impl Fn(Account) -> Account) -> Result<(), ActuatorError> {
        let key = effect_key(effect);
        for _ in 0..MAX_ATTEMPTS {
            let marked = self.store.get(&key)?;
            match (marked.as_deref().map(read_mark), mark) {
                (Some(Some(done)), _) if done == mark => return Ok(()),
                (Some(_), Mark::Applied) => {
                    return Err(ActuatorError::Undone { run_id: effect.run_id.clone(), step: effect.step });
                }
                _ => {}
            }
            let account = self.target(effect)?;
            let batch = expect(Batch::new(), key.clone(), marked).expect(account_key(&effect.target), account.bytes());
            let batch = self.ended_sessions(&effect.target, &account)?.into_iter().fold(batch, Batch::delete);
            let batch = batch.put(account_key(&effect.target), change(account).bytes());
            match self.store.apply(batch.put(key.clone(), json!(mark).to_string())) {
                Ok(()) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict { tree: ACCOUNTS }.into())
    }

    /// Sessions of an earlier generation, which answer nobody any more.
    fn ended_sessions(&self, name: &AssetId, account: &Account) -> Result<Vec<Key>, StoreError> {
        let sessions = self.store.scan(SESSIONS, format!("{name}/").as_bytes(), MAX_SESSIONS)?;
        let ended = sessions.into_iter().filter(|(_, generation)| *generation != account.generation.to_be_bytes());
        Ok(ended.map(|(key, _)| Key::new(SESSIONS, key)).collect())
    }

    fn target(&self, effect: &Effect) -> Result<Account, ActuatorError> {
        let unknown = || ActuatorError::UnknownTarget { target: effect.target.clone() };
        self.account(&effect.target)?.ok_or_else(unknown)
    }

    /// Opens sessions and spends queries until refused; neither may go beyond the throttle.
    fn probe_access(&self, effect: &Effect) -> Result<(), ActuatorError> {
        let mut opened = Vec::new();
        while u32::try_from(opened.len()).is_ok_and(|count| count <= self.throttle.connections) {
            match self.open(&effect.target) {
                Ok(session) => opened.push(session),
                Err(AccessRefused::Store(error)) => return Err(error.into()),
                Err(_) => break,
            }
        }
        opened.iter().try_for_each(|session| self.logout(session))?;
        if u32::try_from(opened.len()).map_or(true, |count| count > self.throttle.connections) {
            return Err(not_held("more sessions opened than the throttle leaves"));
        }
        let account = self.target(effect)?;
        let burst = Bucket::burst(self.throttle.queries_per_minute);
        let refused = (0..=burst).any(|_| self.spend(&effect.target, &account).is_err());
        if refused { Ok(()) } else { Err(not_held("more queries ran than the throttle leaves")) }
    }

    /// Queries with every session that was opened before the effect.
    fn probe_sessions(&self, effect: &Effect, captured: &Captured) -> Result<(), ActuatorError> {
        let account = self.target(effect)?;
        if account.generation == captured.generation {
            return Err(not_held("the sessions from before are still valid"));
        }
        let prefix = format!("{}/", effect.target);
        for (key, opened_in) in self.store.scan(SESSIONS, prefix.as_bytes(), MAX_SESSIONS)? {
            let token = String::from_utf8_lossy(&key).trim_start_matches(&prefix).to_owned();
            let session = Session { account: effect.target.clone(), token };
            if opened_in != account.generation.to_be_bytes() && self.query(&session).is_ok() {
                return Err(not_held("a session from before the effect still answers"));
            }
        }
        Ok(())
    }

    /// Opens a session as somebody who has the right password would.
    fn probe_login(&self, effect: &Effect) -> Result<(), ActuatorError> {
        match self.open(&effect.target) {
            Err(AccessRefused::Disabled) => Ok(()),
            Err(AccessRefused::Store(error)) => Err(error.into()),
            Err(other) => Err(not_held(&format!("the login was refused only because {other}"))),
            Ok(session) => {
                self.logout(&session)?;
                Err(not_held("a login still succeeds"))
            }
        }
    }
}

#[async_trait]
impl Actuator for EmbeddedAccounts {
    async fn capture(&self, effect: &Effect) -> Result<Undo, ActuatorError> {
        drop(change_of(effect, self.throttle)?);
        let Account { enabled, connections, queries_per_minute, generation, .. } = self.target(effect)?;
        Ok(Undo(json!(Captured { enabled, connections, queries_per_minute, generation })))
    }

    async fn apply(&self, effect: &Effect) -> Result<(), ActuatorError> {
        self.change(effect, Mark::Applied, change_of(effect, self.throttle)?)
    }

    async fn probe(&self, effect: &Effect, postcondition: Postcondition, undo: &Undo) -> Result<(), ActuatorError> {
        let captured = captured(effect, undo)?;
        match postcondition {
            Postcondition::AccessLimited => self.probe_access(effect),
            Postcondition::SessionsEnded => self.probe_sessions(effect, &captured),
            Postcondition::LoginRefused => self.probe_login(effect).and(self.probe_sessions(effect, &captured)),
            Postcondition::Unreachable => Err(ActuatorError::Unsupported { action: effect.action }),
        }
    }

    async fn restore(&self, effect: &Effect, undo: &Undo) -> Result<(), ActuatorError> {
        let Captured { enabled, connections, queries_per_minute, .. } = captured(effect, undo)?;
        self.change(effect, Mark::Undone, |account| match effect.action {
            ContainmentAction::Throttle => Account { connections, queries_per_minute, ..account },
            ContainmentAction::DisableCredential => Account { enabled, ..account },
            _ => account,
        })
    }
}

type Change = Box<dyn Fn(Account) -> Account + Send>;

/// What an action makes of an account.
fn change_of(effect: &Effect, throttle: ThrottleLimits) -> Result<Change, ActuatorError> {
    match effect.action {
        ContainmentAction::Throttle => Ok(Box::new(move |account| account.throttled(throttle))),
        ContainmentAction::TerminateSessions => Ok(Box::new(Account::next_generation)),
        ContainmentAction::DisableCredential => Ok(Box::new(Account::disabled)),
        action @ (ContainmentAction::Isolate | ContainmentAction::Rollback) => {
            Err(ActuatorError::Unsupported { action })
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

fn read_mark(bytes: &[u8]) -> Option<Mark> {
    serde_json::from_slice(bytes).ok()
}

fn expect(batch: Batch, key: Key, value: Option<Vec<u8>>) -> Batch {
    match value {
        Some(value) => batch.expect(key, value),
        None => batch.expect_absent(key),
    }
}

fn account_key(name: &AssetId) -> Key {
    Key::new(ACCOUNTS, name.as_str())
}

fn session_key(session: &Session) -> Key {
    Key::new(SESSIONS, format!("{}/{}", session.account, session.token))
}

fn effect_key(effect: &Effect) -> Key {
    Key::new(EFFECTS, format!("{}/{:04}", effect.run_id, effect.step))
}

#[cfg(test)]
mod tests;
