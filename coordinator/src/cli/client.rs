//! The admin API's client: finds the coordinator through its data folder, and shows what it answers.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use shared_crypto::key_file;
use shared_ops::cli::{Failure, Format, print};
use shared_ops::problem::Problem;

use crate::start::Addresses;
use crate::{Config, Error};

/// A connection to the admin API of the coordinator that runs on the configured data folder.
pub(super) struct Client {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let path = config.data_dir.join("addresses.json");
        let absent = |error: std::io::Error| {
            Failure::new("admin-no-address", "start the coordinator, or name its folder with --data-dir", error)
        };
        let text = std::fs::read(&path).map_err(absent)?;
        let addresses: Addresses = serde_json::from_slice(&text).map_err(|error| absent(error.into()))?;
        let token = key_file::read_text(&config.token_file()).map_err(Error::from)?;
        let token = token.ok_or_else(|| absent(std::io::Error::other("there is no admin token")))?;
        Ok(Self {
            base: format!("http://{}/api/v1", addresses.admin),
            token: token.expose().trim().to_owned(),
            http: reqwest::Client::new(),
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let unreachable =
            |error: reqwest::Error| Failure::new("admin-unreachable", "check that the coordinator runs", error);
        let response = request.bearer_auth(&self.token).send().await.map_err(unreachable)?;
        if response.status().is_success() {
            return response.json().await.map_err(unreachable);
        }
        Err(response.json::<Problem>().await.map_err(unreachable)?.into())
    }
}

/// An answer: JSON as it came, or for people one line per item with some of its fields.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Answer {
    value: Value,
    #[serde(skip)]
    columns: &'static [&'static str],
}

impl Answer {
    pub(super) fn show(value: Value, columns: &'static [&'static str], format: Format) -> Result<(), anyhow::Error> {
        Ok(print(&Self { value, columns }, format)?)
    }

    fn line(&self, item: &Value) -> String {
        let cell = |column: &&str| match item.get(*column) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        self.columns.iter().map(cell).collect::<Vec<_>>().join("\t")
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = self.value.as_array().map_or(std::slice::from_ref(&self.value), Vec::as_slice);
        writeln!(f, "{}", self.columns.join("\t"))?;
        items.iter().try_for_each(|item| writeln!(f, "{}", self.line(item)))
    }
}
