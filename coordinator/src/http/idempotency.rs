//! `Idempotency-Key` on every call that may change something (draft-ietf-httpapi-idempotency-key-header-07): a call that
//! is made again with its key is answered as the first time, also after a restart, and is not done again.
//!
//! Only success is kept: a refused call changed nothing and may be tried again. Effect and kept answer are two writes; a
//! crash between them lets the repeat run, which every call of this API bears: it meets its own effect. Kept answers are
//! sealed, since one may hold a token. A PUT needs no key, it is idempotent by itself (RFC 9110, section 9.2.2), and its
//! body may be a whole model, which is not read here.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use shared::store::{Batch, Store};
use shared::{Clock, Digest, Explain, Timestamp};
use shared_crypto::{SealKey, digest};
use shared_ops::problem::Problem;
use tokio_util::task::TaskTracker;

use super::Refusal;
use super::access::{Actor, may_change};
use crate::config::Limits;
use crate::{Error, durable};

/// The code of the answer to a call that is being made.
pub(crate) const RUNNING: &str = "idempotency-running";
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key, in bytes.
const MAX_KEY: usize = 255;
/// The largest answer that is kept, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Why a call with a key is not made.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("`Idempotency-Key` is not a text of 1 to {MAX_KEY} visible characters, in quotes or without")]
    Malformed,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("a call with this `Idempotency-Key` is being made")]
    Running,
    #[error("this `Idempotency-Key` belongs to another call")]
    Reused,
}

impl Explain for KeyError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "idempotency-key",
            Self::TooLarge(_) => "request-too-large",
            Self::Running => RUNNING,
            Self::Reused => "idempotency-reused",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Malformed => "send a fresh UUID with each call, and the same one when you repeat it",
            Self::TooLarge(_) => "send less, or raise `limits.admin_body_bytes`",
            Self::Running => "ask again in a moment with the same key",
            Self::Reused => "take a new key for a new call; repeat a call with the very same body",
        }
    }
}

impl IntoResponse for KeyError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Running => StatusCode::CONFLICT,
            Self::Reused => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem::new(status, &self).into_response()
    }
}

/// An answer that is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Digest of the call that it answers: method, path and query, body.
    call: Digest,
    at: Timestamp,
    status: u16,
    content_type: Option<String>,
    /// Base64.
    body: String,
}

/// The answers that are kept, and the calls that are being made.
pub(super) struct Answers {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    seal: Arc<SealKey>,
    limits: Limits,
    tracker: TaskTracker,
    /// Names of what is kept, oldest first.
    order: Mutex<VecDeque<(Timestamp, Digest)>>,
    running: Mutex<BTreeSet<Digest>>,
}

/// A call's place among those being made; given back when dropped.
struct Claim {
    answers: Arc<Answers>,
    name: Digest,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.answers.running).remove(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// Takes up what was kept before. Calls that are being made are tracked by `tracker`.
    pub(super) fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        seal: Arc<SealKey>,
        limits: Limits,
        tracker: TaskTracker,
    ) -> Result<Self, Error> {
        let mut order = Vec::new();
        for (key, sealed) in store.scan(durable::ANSWERS, b"", usize::MAX)? {
            let damaged = |_| Error::Damaged { tree: durable::ANSWERS, reason: "a key is no digest".to_owned() };
            let name: Digest = String::from_utf8_lossy(&key).parse().map_err(damaged)?;
            order.push((unseal(&seal, name, &sealed)?.at, name));
        }
        order.sort_unstable();
        let order = Mutex::new(order.into());
        Ok(Self { store, clock, seal, limits, tracker, order, running: Mutex::default() })
    }

    fn claim(self: &Arc<Self>, name: Digest) -> Result<Claim, KeyError> {
        let fresh = lock(&self.running).insert(name);
        if fresh { Ok(Claim { answers: Arc::clone(self), name }) } else { Err(KeyError::Running) }
    }

    /// The kept answer of this name, unless it is too old.
    fn find(&self, name: Digest) -> Result<Option<Kept>, Error> {
        let Some(sealed) = self.store.get(&durable::answer(name))? else { return Ok(None) };
        let kept = unseal(&self.seal, name, &sealed)?;
        Ok(Some(kept).filter(|kept| self.clock.now() < kept.at.plus(self.limits.idempotency_age())))
    }

    /// Keeps an answer, and forgets those that are too old or too many.
    fn keep(&self, name: Digest, kept: &Kept) -> Result<(), Error> {
        let sealed = self.seal.seal(&name.to_string(), &durable::encode(kept)?)?;
        let limit = usize::try_from(self.limits.idempotency_keys.get()).unwrap_or(usize::MAX);
        let mut order = lock(&self.order);
        let excess = order.len().saturating_add(1).saturating_sub(limit);
        let age = self.limits.idempotency_age();
        let old = order.iter().take_while(|(at, _)| at.plus(age) <= kept.at).count();
        let leaving = excess.max(old);
        let keys = order.iter().take(leaving).filter(|(_, other)| *other != name);
        let batch = keys.fold(Batch::new(), |batch, (_, other)| batch.delete(durable::answer(*other)));
        self.store.apply(batch.put(durable::answer(name), sealed))?;
        order.drain(..leaving);
        order.push_back((kept.at, name));
        Ok(())
    }
}

fn unseal(seal: &SealKey, name: Digest, sealed: &[u8]) -> Result<Kept, Error> {
    durable::decode(durable::ANSWERS, &seal.open(&name.to_string(), sealed)?)
}

/// Runs what may block where that is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Unavailable)?
}

/// The layer: makes a call with a key once.
pub(super) async fn once(
    State(answers): State<Arc<Answers>>,
    Extension(actor): Extension<Actor>,
    request: Request,
    next: Next,
) -> Response {
    let key = match key(request.headers()) {
        Ok(Some(key)) if may_change(request.method()) && request.method() != Method::PUT => key,
        Ok(_) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    let name = digest(format!("{}\n{key}", actor.name).as_bytes());
    let made = make(answers, name, request, next);
    made.await.unwrap_or_else(IntoResponse::into_response)
}

/// The key of a call: a structured-field string (RFC 9651), or the same text without quotes, as many clients send it.
fn key(headers: &HeaderMap) -> Result<Option<String>, KeyError> {
    let mut values = headers.get_all(KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(KEY) { Err(KeyError::Malformed) } else { Ok(None) };
    };
    let text = value.to_str().map_err(|_| KeyError::Malformed)?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let good = (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(visible);
    if good { Ok(Some(text.to_owned())) } else { Err(KeyError::Malformed) }
}

async fn make(answers: Arc<Answers>, name: Digest, request: Request, next: Next) -> Result<Response, Response> {
    let claim = answers.claim(name).map_err(IntoResponse::into_response)?;
    let (request, call) = read(&answers, request).await?;
    let found = {
        let answers = Arc::clone(&answers);
        blocking(move || answers.find(name)).await
    };
    match found.map_err(|error| Refusal::from(error).into_response())? {
        Some(kept) if kept.call == call => Ok(replay(kept)),
        Some(_) => Err(KeyError::Reused.into_response()),
        // In a task of its own: a caller that goes away is the very one who will ask again.
        None => {
            let made = answers.tracker.spawn(run(claim, call, request, next));
            made.await.map_err(|_| Refusal::from(Error::Unavailable).into_response())
        }
    }
}

/// Reads the whole body; the same call, and its digest.
async fn read(answers: &Answers, request: Request) -> Result<(Request, Digest), Response> {
    let limit = usize::try_from(answers.limits.admin_body_bytes).unwrap_or(usize::MAX);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, limit).await.map_err(|_| KeyError::TooLarge(limit).into_response())?;
    let mut call = format!("{} {}\n", parts.method, parts.uri).into_bytes();
    call.extend_from_slice(&digest(&body).0);
    Ok((Request::from_parts(parts, Body::from(body)), digest(&call)))
}

/// Makes the call and keeps its answer.
async fn run(claim: Claim, call: Digest, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if !response.status().is_success() || response.body().size_hint().upper().is_none_or(|size| size > MAX_ANSWER) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Refusal::from(Error::Unavailable).into_response();
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kept = Kept {
        call,
        at: claim.answers.clock.now(),
        status: parts.status.as_u16(),
        content_type: content_type.map(str::to_owned),
        body: BASE64_STANDARD.encode(&body),
    };
    if let Err(error) = blocking(move || claim.answers.keep(claim.name, &kept)).await {
        tracing::warn!(%error, "an answer is not kept: the call would be made again");
    }
    Response::from_parts(parts, Body::from(body))
}

fn replay(kept: Kept) -> Response {
    let body = Bytes::from(BASE64_STANDARD.decode(kept.body).unwrap_or_default());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(value) = kept.content_type.and_then(|value| HeaderValue::try_from(value).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use shared::time::ManualClock;
    use shared_store::MemoryStore;
    use tokio::net::TcpListener;
    use tokio::sync::Notify;

    use super::*;
    use crate::config::Role;

    fn read_key(values: &[&'static str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEY, HeaderValue::from_static(value));
        }
        key(&headers).map_err(|error| error.code())
    }

    /// A server whose one call counts how often it is made, and waits where its body says so.
    struct Server {
        address: String,
        made: Arc<AtomicU32>,
        begun: Arc<Notify>,
        go_on: Arc<Notify>,
        tracker: TaskTracker,
    }

    struct World {
        store: Arc<MemoryStore>,
        clock: Arc<ManualClock>,
        seal: Arc<SealKey>,
        limits: Limits,
    }

    impl World {
        fn new(keys: u32) -> Self {
            let keys = std::num::NonZeroU32::new(keys).unwrap();
            Self {
                store: Arc::new(MemoryStore::default()),
                clock: Arc::new(ManualClock::new(Timestamp::EPOCH)),
                seal: Arc::new(SealKey::generate().unwrap()),
                limits: Limits { idempotency_keys: keys, admin_body_bytes: 16, ..Limits::default() },
            }
        }

        fn answers(&self, tracker: TaskTracker) -> Answers {
            let (store, clock, seal) = (self.store.clone(), self.clock.clone(), Arc::clone(&self.seal));
            Answers::open(store, clock, seal, self.limits.clone(), tracker).unwrap()
        }

        /// A process that has just begun.
        async fn serve(&self) -> Server {
            let (made, begun, go_on) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (count, began, going) = (Arc::clone(&made), Arc::clone(&begun), Arc::clone(&go_on));
            let call = move |body: String| async move {
                let number = count.fetch_add(1, Ordering::SeqCst);
                if body == "wait" {
                    began.notify_one();
                    going.notified().await;
                }
                let status = if body == "refuse" { StatusCode::CONFLICT } else { StatusCode::CREATED };
                (status, format!("{body} {number}"))
            };
            let tracker = TaskTracker::new();
            let actor = Actor { name: "ann".into(), role: Role::Operator };
            let router = Router::new()
                .route("/call", post(call))
                .layer(from_fn_with_state(Arc::new(self.answers(tracker.clone())), once))
                .layer(Extension(actor));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}/call", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            Server { address, made, begun, go_on, tracker }
        }
    }

    impl Server {
        fn request(&self, key: &str, body: &'static str) -> reqwest::RequestBuilder {
            reqwest::Client::new().post(&self.address).header("idempotency-key", key).body(body)
        }

        /// Status, body, and whether the answer was given before.
        async fn call(&self, key: &str, body: &'static str) -> (u16, String, bool) {
            let response = self.request(key, body).send().await.unwrap();
            let replayed = response.headers().contains_key("idempotency-replayed");
            (response.status().as_u16(), response.text().await.unwrap(), replayed)
        }

        async fn refused(&self, key: &str, body: &'static str) -> (u16, String) {
            let (status, body, _) = self.call(key, body).await;
            let problem: Problem = serde_json::from_str(&body).unwrap();
            (status, problem.code)
        }

        fn made(&self) -> u32 {
            self.made.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_call_made_again_is_answered_as_the_first_time_also_after_a_restart() {
        let world = World::new(10);
        let server = world.serve().await;
        assert_eq!(server.call("k", "a").await, (201, "a 0".to_owned(), false));
        assert_eq!(server.call("\"k\"", "a").await, (201, "a 0".to_owned(), true));
        assert_eq!(server.refused("k", "b").await, (422, "idempotency-reused".to_owned()));
        let server = world.serve().await;
        assert_eq!(server.call("k", "a").await, (201, "a 0".to_owned(), true));
        assert_eq!(server.made(), 0);
        assert_eq!(server.call("l", "a").await, (201, "a 0".to_owned(), false));
    }

    #[tokio::test]
    async fn while_a_call_is_made_its_repetition_waits_its_turn() {
        let world = World::new(10);
        let server = world.serve().await;
        let first = tokio::spawn(server.request("k", "wait").send());
        server.begun.notified().await;
        assert_eq!(server.refused("k", "wait").await, (409, "idempotency-running".to_owned()));
        server.go_on.notify_one();
        assert_eq!(first.await.unwrap().unwrap().text().await.unwrap(), "wait 0");
        assert_eq!(server.call("k", "wait").await, (201, "wait 0".to_owned(), true));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_is_answered_when_it_comes_back() {
        let world = World::new(10);
        let server = world.serve().await;
        let first = tokio::spawn(server.request("k", "wait").send());
        server.begun.notified().await;
        first.abort();
        server.go_on.notify_one();
        server.tracker.close();
        server.tracker.wait().await;
        assert_eq!(server.call("k", "wait").await, (201, "wait 0".to_owned(), true));
        assert_eq!(server.made(), 1);
    }

    #[tokio::test]
    async fn a_refused_call_may_be_tried_again() {
        let world = World::new(10);
        let server = world.serve().await;
        assert_eq!(server.call("k", "refuse").await, (409, "refuse 0".to_owned(), false));
        assert_eq!(server.call("k", "refuse").await, (409, "refuse 1".to_owned(), false));
        assert_eq!(server.refused("k", "more than 16 bytes").await, (413, "request-too-large".to_owned()));
        assert_eq!(server.call("k", "a").await, (201, "a 2".to_owned(), false));
    }

    #[tokio::test]
    async fn answers_leave_when_they_are_too_old_or_too_many() {
        let world = World::new(2);
        let server = world.serve().await;
        for key in ["k", "l", "m"] {
            server.call(key, "a").await;
            world.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(world.store.scan(durable::ANSWERS, b"", 10).unwrap().len(), 2);
        let server = world.serve().await;
        assert!(server.call("m", "a").await.2 && server.call("l", "a").await.2 && !server.call("k", "a").await.2);
        world.clock.advance(Duration::from_hours(24));
        assert!(!server.call("k", "a").await.2);
        assert_eq!(world.store.scan(durable::ANSWERS, b"", 10).unwrap().len(), 1, "the old ones left");
    }

    #[tokio::test]
    async fn what_is_kept_cannot_be_read_without_the_key() {
        let mut world = World::new(10);
        world.serve().await.call("k", "secret").await;
        let (_, sealed) = world.store.scan(durable::ANSWERS, b"", 1).unwrap().remove(0);
        let text = BASE64_STANDARD.encode("secret 0");
        assert!(!sealed.windows(text.len()).any(|window| window == text.as_bytes()));
        world.seal = Arc::new(SealKey::generate().unwrap());
        let (store, clock) = (world.store.clone(), world.clock.clone());
        let opened = Answers::open(store, clock, world.seal, world.limits, TaskTracker::new());
        assert_eq!(opened.err().unwrap().code(), "crypto-unseal");
    }

    #[test]
    fn a_key_is_one_visible_text_with_or_without_quotes() {
        assert_eq!(read_key(&[]), Ok(None));
        assert_eq!(read_key(&["\"8e03978e\""]), Ok(Some("8e03978e".to_owned())));
        assert_eq!(read_key(&["8e03978e"]), Ok(Some("8e03978e".to_owned())));
        let long = Box::leak("k".repeat(MAX_KEY + 1).into_boxed_str());
        for values in [&[""][..], &["\"\""], &["\"a"], &["a b"], &["a\\b"], &[long], &["a", "a"]] {
            assert_eq!(read_key(values), Err("idempotency-key"), "{values:?}");
        }
    }
}
