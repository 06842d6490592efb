//! The bearer token (RFC 6750) that guards an HTTP interface. One token, one right: there are no users or roles here.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::Secret;
use crate::problem::{Problem, RequestError};

/// The router, answering 401 to every request that does not bear `token`. Merge what is open to all afterwards.
pub fn bearer<S: Clone + Send + Sync + 'static>(router: Router<S>, token: Secret) -> Router<S> {
    router.layer(middleware::from_fn_with_state(Arc::new(token), admit))
}

/// Says in an OpenAPI description that the scheme `bearer` is this token: `modifiers(&BearerScheme)`.
#[derive(Debug, Clone, Copy)]
pub struct BearerScheme;

impl utoipa::Modify for BearerScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

async fn admit(State(token): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    match check(&token, request.headers().get(header::AUTHORIZATION)) {
        Ok(()) => next.run(request).await,
        Err(error) => refuse(&error),
    }
}

fn check(token: &Secret, authorization: Option<&HeaderValue>) -> Result<(), RequestError> {
    let (scheme, credentials) = authorization
        .and_then(|value| value.as_bytes().split_at_checked(SCHEME.len()))
        .ok_or(RequestError::TokenMissing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(RequestError::TokenMissing);
    }
    if token.matches(credentials.trim_ascii()) { Ok(()) } else { Err(RequestError::TokenWrong) }
}

const SCHEME: &[u8] = b"Bearer ";

fn refuse(error: &RequestError) -> Response {
    metrics::counter!("ringfence_http_unauthorized_total").increment(1);
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, error).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;
    use crate::testing::exchange;

    fn router() -> Router {
        let guarded = Router::new().route("/guarded", get(|| async { "inside" }));
        let open = Router::new().route("/open", get(|| async { "outside" }));
        bearer(guarded, Secret::new("hunter2").unwrap()).merge(open)
    }

    #[tokio::test]
    async fn only_the_right_token_passes() {
        for header in ["authorization: Bearer hunter2", "authorization: bearer hunter2"] {
            let reply = exchange(router(), &format!("GET /guarded\n{header}"), "").await;
            assert!(reply.ends_with("\r\n\r\ninside"), "{reply}");
        }
        let cases = [
            ("", "token-missing"),
            ("\nauthorization: Bearer", "token-missing"),
            ("\nauthorization: Basic hunter2", "token-missing"),
            ("\nauthorization: Bearer hunter", "token-wrong"),
            ("\nauthorization: Bearer hunter22", "token-wrong"),
        ];
        for (header, code) in cases {
            let reply = exchange(router(), &format!("GET /guarded{header}"), "").await;
            assert!(reply.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{header}: {reply}");
            assert!(reply.contains("www-authenticate: Bearer\r\n"), "{reply}");
            assert!(reply.contains(&format!("\"code\":\"{code}\"")) && !reply.contains("hunter"), "{header}: {reply}");
        }
    }

    #[tokio::test]
    async fn what_is_merged_afterwards_is_open() {
        assert!(exchange(router(), "GET /open", "").await.ends_with("\r\n\r\noutside"));
    }
}
