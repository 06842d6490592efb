//! The admin API's client: finds the coordinator through its data folder, and hands its answers on as they come.
//!
//! A call that may change something has a name of its own (`Idempotency-Key`). Where the connection is lost before the
//! answer is there, it is made once more by the same name, and done once; where it is still being done, its answer is
//! waited for.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde_json::{Value, json};
use shared_crypto::{key_file, random_bytes};
use shared_ops::cli::Failure;
use shared_ops::problem::Problem;
use shared_wire::Bytes;

use super::outgoing::Outgoing;
use crate::http::RUNNING;
use crate::start::Addresses;
use crate::{Config, Error};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// As many random bytes as a UUID has.
const KEY_BYTES: usize = 16;
/// How often a call is asked for that is still being made, and with what pause.
const ATTEMPTS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A connection to the admin API of the coordinator that runs on the configured data folder.
pub(super) struct Client {
    base: Url,
    token: String,
    http: reqwest::Client,
}

/// Which part of a long list to show.
#[derive(Debug, Args)]
pub(super) struct Paging {
    /// At most this many, 1 to 100
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only what comes after this one, as the list before said
    #[arg(long, value_name = "ITEM")]
    after: Option<String>,
}

/// Whether to act at all.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct DryRun {
    /// Show what would be ordered, after checking that it is there; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Something that changes what the coordinator does.
pub(super) struct Act {
    /// The path that is posted to.
    pub(super) path: String,
    /// What is sent.
    pub(super) body: Value,
    /// The path of what it acts on, which must be there.
    pub(super) on: Option<String>,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let path = config.data_dir.join("addresses.json");
        let absent = |error: std::io::Error| {
            Failure::new("admin-no-address", "start the coordinator, or name its folder with --data-dir", error)
        };
        let text = std::fs::read(&path).map_err(|error| absent(named(&path, &error)))?;
        let addresses: Addresses = serde_json::from_slice(&text).map_err(|error| absent(error.into()))?;
        let token = key_file::read_text(&config.token_file()).map_err(Error::from)?;
        let token = token.ok_or_else(|| absent(std::io::Error::other("there is no admin token")))?;
        let base = Url::parse(&format!("http://{}/api/v1/", addresses.admin))
            .map_err(|error| absent(std::io::Error::other(error)))?;
        Ok(Self { base, token: token.expose().trim().to_owned(), http: reqwest::Client::new() })
    }

    /// What stands at a path.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        json_of(self.send(self.request(Method::GET, path, &[])?).await?).await
    }

    /// A list, or the part of it that was asked for, with further filters.
    pub(super) async fn list(
        &self,
        path: &str,
        paging: &Paging,
        filters: &[(&str, Option<String>)],
    ) -> Result<Value, Failure> {
        let limit = paging.limit.map(|limit| limit.to_string());
        let pages = [("limit", limit), ("after", paging.after.clone())];
        let query: Vec<_> =
            pages.iter().chain(filters).filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        json_of(self.send(self.request(Method::GET, path, &query)?).await?).await
    }

    /// Orders something, or shows what would be ordered.
    pub(super) async fn act(&self, act: Act, DryRun { dry_run }: DryRun) -> Result<Value, Failure> {
        if !dry_run {
            return self.post(&act.path, &act.body).await;
        }
        let on = match &act.on {
            Some(path) => self.get(path).await?,
            None => Value::Null,
        };
        Ok(json!({"dry_run": true, "would": format!("POST /api/v1/{}", act.path), "body": act.body, "on": on}))
    }

    /// Sends a JSON body.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let answer = change(self.request(Method::POST, path, &[])?.json(body)).await?;
        serde_json::from_slice(&answer).map_err(broken)
    }

    /// Takes something away.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        change(self.request(Method::DELETE, path, &[])?).await.map(drop)
    }

    /// Sends a file's bytes as they are, piece by piece as the coordinator takes them.
    pub(super) async fn put(&self, path: &str, file: Outgoing) -> Result<Value, Failure> {
        let request = self.request(Method::PUT, path, &[])?.header(header::CONTENT_TYPE, "application/octet-stream");
        json_of(self.send(request.body(reqwest::Body::wrap(file))).await?).await
    }

    /// Writes what stands at a path into `out`, as it comes; how many bytes there were.
    pub(super) async fn download(&self, path: &str, out: &mut impl Write) -> Result<u64, Failure> {
        let mut response = self.send(self.request(Method::GET, path, &[])?).await?;
        let mut written: u64 = 0;
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            out.write_all(&piece).map_err(|error| Failure::new("output", "check the path and the disk", error))?;
            written = written.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Ok(written)
    }

    /// Hands each event of a stream of events on, until it ends.
    pub(super) async fn events(
        &self,
        path: &str,
        mut take: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut response = self.send(self.request(Method::GET, path, &[])?).await?;
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            text.extend_from_slice(&piece);
            while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = text.drain(..end.saturating_add(2)).collect();
                if let Some(value) = event_of(&event) {
                    take(value)?;
                }
            }
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<RequestBuilder, Failure> {
        let unfit = |error| Failure::new("admin-path", "check the ids on the command line", error);
        let mut url = self.base.join(path).map_err(unfit)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url).bearer_auth(&self.token))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(&response.bytes().await.map_err(broken)?))
    }
}

/// Makes a call that may change something; the body of its answer.
async fn change(request: RequestBuilder) -> Result<Bytes, Failure> {
    let key = random_bytes::<KEY_BYTES>().map_err(Error::from)?;
    let request = request.header(IDEMPOTENCY_KEY, hex::encode(*key));
    let again = request.try_clone();
    let answered = match (exchange(request).await, again) {
        (Err(_lost), Some(again)) => repeat(again).await,
        (answered, _) => answered,
    };
    let (status, body) = answered.map_err(unreachable)?;
    if status.is_success() { Ok(body) } else { Err(refusal(&body)) }
}

/// Makes a call again; waits while it is still being made.
async fn repeat(request: RequestBuilder) -> reqwest::Result<(StatusCode, Bytes)> {
    for _ in 1..ATTEMPTS {
        let Some(copy) = request.try_clone() else { break };
        let (status, body) = exchange(copy).await?;
        let problem = serde_json::from_slice::<Problem>(&body);
        if status != StatusCode::CONFLICT || !problem.is_ok_and(|problem| problem.code == RUNNING) {
            return Ok((status, body));
        }
        tokio::time::sleep(PAUSE).await;
    }
    exchange(request).await
}

/// What an answer says that is no success.
fn refusal(body: &[u8]) -> Failure {
    serde_json::from_slice::<Problem>(body).map_or_else(broken, Failure::from)
}

/// Status and whole body of an answer; an error where the connection was lost before.
async fn exchange(request: RequestBuilder) -> reqwest::Result<(StatusCode, Bytes)> {
    let response = request.send().await?;
    Ok((response.status(), response.bytes().await?))
}

async fn json_of(response: Response) -> Result<Value, Failure> {
    response.json().await.map_err(broken)
}

/// The data of an event (HTML, section 9.2.6); `None` for a comment, which is a heartbeat.
fn event_of(text: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?;
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    serde_json::from_str(&data.join("\n")).ok()
}

fn named(path: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

fn unreachable(error: impl Into<Cause>) -> Failure {
    Failure::new("admin-unreachable", "check that the coordinator runs", error)
}

fn broken(error: impl Into<Cause>) -> Failure {
    Failure::new("admin-broken-off", "ask again; check that the coordinator still runs", error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that loses each of the first `lost` connections when it has read the request, says to the next `busy` that
    /// the call is being made, and answers after that; the keys that came.
    async fn forgetful(lost: usize, busy: usize) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/call", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut keys = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut lines = BufReader::new(stream).lines();
                while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty()) {
                    keys.extend(line.strip_prefix("idempotency-key: ").map(str::to_owned));
                }
                if keys.len() <= lost {
                    continue;
                }
                let is_busy = keys.len() <= lost + busy;
                let (status, body) =
                    if is_busy { ("409 Conflict", running()) } else { ("201 Created", "{}".to_owned()) };
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                lines.into_inner().into_inner().write_all((head + &body).as_bytes()).await.unwrap();
                if !is_busy {
                    return keys;
                }
            }
        });
        (address, serving)
    }

    fn running() -> String {
        let problem = json!({"type": "", "title": "", "status": 409, "detail": "", "code": RUNNING, "hint": ""});
        problem.to_string()
    }

    #[tokio::test]
    async fn a_call_whose_connection_is_lost_is_made_once_more_by_the_same_name() {
        let http = reqwest::Client::new();
        for (lost, busy) in [(0, 0), (1, 0), (1, 2)] {
            let (address, serving) = forgetful(lost, busy).await;
            assert_eq!(change(http.post(&address)).await.unwrap(), "{}");
            let keys = serving.await.unwrap();
            assert_eq!((keys.len(), keys[0].len()), (lost + busy + 1, KEY_BYTES * 2));
            assert!(keys.iter().all(|key| *key == keys[0]));
        }
        let (address, serving) = forgetful(2, 0).await;
        assert!(change(http.delete(&address)).await.is_err(), "two losses are enough");
        serving.abort();
    }

    #[test]
    fn an_event_is_its_data_and_a_heartbeat_is_none() {
        assert_eq!(event_of(b"event: round\ndata: {\"round\":1}\n\n"), Some(json!({"round": 1})));
        assert_eq!(event_of(b"data:[1,\ndata:2]\n\n"), Some(json!([1, 2])));
        assert_eq!(event_of(b": heartbeat\n\n"), None);
    }
}
