//! Who may do what with the admin API: bearer tokens with a role each, the policies that say what each may call, and an
//! audit record of every call that may change something, or that was refused. Reading is logged, not audited. What the call
//! itself means is not looked at.

use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use policy_as_code::governance::{self, Caller};
use serde_json::{Value, json};
use shared::audit::AuditKind;
use shared_crypto::{key_file, random_bytes};
use shared_ops::Secret;

use super::{Refusal, Shared, calls};
use crate::config::{AdminToken, Role};
use crate::governance::Governance;
use crate::{Config, Coordinator, Error};

/// Who bears `admin.token`.
const OPERATOR: &str = "operator";
/// As much of a path as an audit record holds, in characters.
const MAX_PATH: usize = 256;

/// Whose token a call bears.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// As the audit log names it.
    pub(crate) name: Arc<str>,
    /// What the configuration lets it be.
    pub(crate) role: Role,
}

impl Actor {
    /// As policies see it.
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller { name: &self.name, role: self.role.as_str() }
    }
}

/// Whether a call with this method may change something.
pub(super) fn may_change(method: &Method) -> bool {
    !method.is_safe()
}

/// Lets a call through that the policies permit to its caller.
pub(super) async fn authorise(
    State(coordinator): Shared,
    Extension(governance): Extension<Arc<Governance>>,
    Extension(actor): Extension<Actor>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    if let Err(refused) = judge(&governance, &actor, request.method(), path.as_str()) {
        return match record(&coordinator, described(&actor, &request, "refused")).await {
            Ok(()) => Refusal::from(refused).into_response(),
            Err(error) => Refusal::from(error).into_response(),
        };
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::info!(actor = &*actor.name, role = actor.role.as_str(), %method, path, status, "admin call");
    response
}

/// Whether the policies let a token make this call. What the API does not describe is the operator's, whom the router
/// tells what there is.
fn judge(governance: &Governance, actor: &Actor, method: &Method, path: &str) -> Result<(), Error> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let call = format!("{method} {path}");
    match governance.permit(&governance::Request::Call(actor.caller(), &call)) {
        Err(Error::Policy { .. }) if actor.role == Role::Operator && !calls().contains(&call) => Ok(()),
        judged => judged,
    }
}

/// Makes it durable who asks for what before anything of it is done: no change without a record of who wanted it.
pub(super) async fn audited(
    State(coordinator): Shared,
    Extension(actor): Extension<Actor>,
    request: Request,
    next: Next,
) -> Response {
    if may_change(request.method())
        && let Err(error) = record(&coordinator, described(&actor, &request, "called")).await
    {
        return Refusal::from(error).into_response();
    }
    next.run(request).await
}

/// What an audit record says of a call.
fn described(actor: &Actor, request: &Request, event: &str) -> Value {
    let path: String = request.uri().path().chars().take(MAX_PATH).collect();
    let method = request.method().as_str();
    json!({"event": event, "by": &*actor.name, "role": actor.role, "method": method, "path": path})
}

async fn record(coordinator: &Arc<Coordinator>, content: Value) -> Result<(), Error> {
    coordinator
        .blocking(move |coordinator| coordinator.journal.record(AuditKind::Admin, coordinator.now(), &content))
        .await
}

/// The tokens that the configuration names, each with its bearer. A file that is not there is made.
pub(crate) fn tokens(config: &Config) -> Result<Vec<(Secret, Actor)>, Error> {
    let operator = Actor { name: OPERATOR.into(), role: Role::Operator };
    let mut tokens = vec![(load_or_create(&config.token_file())?, operator)];
    for AdminToken { name, role, file } in &config.admin.tokens {
        let refused = |reason| Err(Error::AdminToken { name: name.clone(), reason });
        if !is_name(name) {
            return refused("a name is 1 to 63 lower-case letters, digits and `-`");
        }
        if tokens.iter().any(|(_, actor)| *actor.name == **name) {
            return refused("the name is taken");
        }
        let default = || config.data_dir.join("tokens").join(format!("{name}.token"));
        let secret = load_or_create(&file.clone().unwrap_or_else(default))?;
        if tokens.iter().any(|(other, _)| *other == secret) {
            return refused("the token is that of another name");
        }
        tokens.push((secret, Actor { name: name.as_str().into(), role: *role }));
    }
    Ok(tokens)
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}

fn load_or_create(path: &Path) -> Result<Secret, Error> {
    let failed = |source| Error::System { what: path.display().to_string(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let text = match key_file::read_text(path)? {
        Some(text) => text.expose().trim().to_owned(),
        None => {
            let made = hex::encode(*random_bytes::<32>()?);
            key_file::create(path, made.as_bytes())?;
            made
        }
    };
    Secret::new(text).map_err(|error| failed(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_described_is_the_operators_and_head_is_as_get() {
        let governance = Governance::shipped().unwrap();
        let may = |role, method, path| judge(&governance, &Actor { name: "ann".into(), role }, &method, path).is_ok();
        for (method, path) in [(Method::GET, "/api/v1/secrets"), (Method::DELETE, "/api/v1/tasks")] {
            let may = [Role::Viewer, Role::Auditor, Role::Operator].map(|role| may(role, method.clone(), path));
            assert_eq!(may, [false, false, true], "{method} {path}");
        }
        assert!(may(Role::Viewer, Method::HEAD, "/api/v1/tasks"));
        assert!(!may(Role::Viewer, Method::HEAD, "/api/v1/tasks/{task_id}/ledger"));
    }

    #[test]
    fn a_refusal_says_who_may_not_do_what_and_why() {
        let vera = Actor { name: "vera".into(), role: Role::Viewer };
        let refused = judge(&Governance::shipped().unwrap(), &vera, &Method::POST, "/api/v1/tasks").unwrap_err();
        assert_eq!(refused.to_string(), "`vera` (viewer) may not call `POST /api/v1/tasks`: no policy permits it");
    }

    #[test]
    fn each_named_token_is_made_once_and_a_name_or_token_given_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let with = |names: &[&str]| {
            let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
            let token = |name: &&str| AdminToken { name: (*name).to_owned(), role: Role::Viewer, file: None };
            config.admin.tokens = names.iter().map(token).collect();
            config
        };
        let first = tokens(&with(&["ann", "bob"])).unwrap();
        let again = tokens(&with(&["ann", "bob"])).unwrap();
        assert_eq!(first.len(), 3);
        assert!(first.iter().zip(&again).all(|((one, _), (two, _))| one == two));
        assert!(first[0].0 != first[1].0 && first[1].0 != first[2].0);
        for names in [&["ann", "ann"][..], &["operator"], &["../x"], &[""], &["A"]] {
            assert!(matches!(tokens(&with(names)), Err(Error::AdminToken { .. })), "{names:?}");
        }
        let mut same = with(&["ann", "cat"]);
        same.admin.tokens[1].file = Some(folder.path().join("tokens/ann.token"));
        assert!(matches!(tokens(&same), Err(Error::AdminToken { name, .. }) if name == "cat"));
    }
}
