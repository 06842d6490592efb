//! The bearer tokens (RFC 6750) that guard an HTTP interface: whoever shows none is refused. What the bearer of a token
//! may do is not decided here.

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
    bearers(router, vec![(token, ())])
}

/// The router, answering 401 to every request that bears none of `tokens`. Handlers and inner layers find whose token it
/// was as an `Extension<B>`.
pub fn bearers<S, B>(router: Router<S>, tokens: Vec<(Secret, B)>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    B: Clone + Send + Sync + 'static,
{
    router.layer(middleware::from_fn_with_state(Arc::new(tokens), admit::<B>))
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

async fn admit<B>(State(tokens): State<Arc<Vec<(Secret, B)>>>, mut request: Request, next: Next) -> Response
where
    B: Clone + Send + Sync + 'static,
{
    match check(&tokens, request.headers().get(header::AUTHORIZATION)) {
        Ok(bearer) => {
            request.extensions_mut().insert(bearer);
            next.run(request).await
        }
        Err(error) => refuse(&error),
    }
}

/// Whose token it is. Every token is compared, so that the time tells neither which one was right nor that one was.
fn check<B: Clone>(tokens: &[(Secret, B)], authorization: Option<&HeaderValue>) -> Result<B, RequestError> {
    let (scheme, credentials) = authorization
        .and_then(|value| value.as_bytes().split_at_checked(SCHEME.len()))
        .ok_or(RequestError::TokenMissing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(RequestError::TokenMissing);
    }
    let borne = tokens.iter().filter(|(token, _)| token.matches(credentials.trim_ascii()));
    borne.last().map(|(_, bearer)| bearer.clone()).ok_or(RequestError::TokenWrong)
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
    use axum::Extension;
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
    async fn a_handler_learns_whose_token_it_was() {
        let tokens = [("hunter2", "ann"), ("hunter3", "bob")].map(|(token, name)| (Secret::new(token).unwrap(), name));
        let whose = |Extension(name): Extension<&'static str>| async move { name };
        let router = bearers(Router::new().route("/whose", get(whose)), tokens.to_vec());
        for (token, answer) in [("hunter2", Some("ann")), ("hunter3", Some("bob")), ("hunter", None)] {
            let reply = exchange(router.clone(), &format!("GET /whose\nauthorization: Bearer {token}"), "").await;
            let ends = answer.map_or("server\"}".to_owned(), |name| format!("\r\n\r\n{name}"));
            assert!(reply.ends_with(&ends), "{reply}");
        }
    }

    #[tokio::test]
    async fn what_is_merged_afterwards_is_open() {
        assert!(exchange(router(), "GET /open", "").await.ends_with("\r\n\r\noutside"));
    }
}
