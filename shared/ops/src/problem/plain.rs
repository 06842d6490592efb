//! Gives the HTTP framework's own refusals (wrong method, path or query that cannot be parsed, body too large) the form
//! of all others. It changes no answer that says more than plain text, and none that is no refusal.

use axum::Router;
use axum::body::to_bytes;
use axum::http::{HeaderMap, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};

use super::{Problem, RequestError};

/// As much of a refusal's text as is passed on, in bytes.
const MAX_TEXT: usize = 1024;

/// The router, answering with problem+json wherever it would refuse in plain text.
pub fn explained(router: Router) -> Router {
    router.layer(map_response(explain))
}

async fn explain(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || !is_plain(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_TEXT).await.unwrap_or_default();
    let reason = String::from_utf8_lossy(&text).trim().to_owned();
    let mut problem = Problem::new(status, &RequestError::Refused { status, reason }).into_response();
    for stale in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(stale);
    }
    problem.headers_mut().extend(parts.headers);
    problem
}

fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

#[cfg(test)]
mod tests {
    use axum::extract::{DefaultBodyLimit, Path};
    use axum::http::StatusCode;
    use axum::routing::{get, post};

    use super::*;
    use crate::testing::exchange;

    fn router() -> Router {
        let router = Router::new()
            .route("/number/{number}", get(|Path(number): Path<u32>| async move { number.to_string() }))
            .route("/echo", post(|body: String| async move { body }))
            .route("/json", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, axum::Json(1)) }))
            .layer(DefaultBodyLimit::max(8));
        explained(router)
    }

    #[tokio::test]
    async fn what_the_framework_refuses_is_a_problem() {
        let cases = [
            ("DELETE /number/1", "", 405, "request-method"),
            ("GET /number/x", "", 400, "request-invalid"),
            ("POST /echo", "123456789", 413, "request-too-large"),
            ("GET /nowhere", "", 404, "request-not-found"),
        ];
        for (head, body, status, code) in cases {
            let reply = exchange(router(), head, body).await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {reply}");
            assert!(reply.contains("content-type: application/problem+json\r\n"), "{head}: {reply}");
            assert!(reply.contains(&format!("\"code\":\"{code}\"")), "{head}: {reply}");
        }
    }

    #[tokio::test]
    async fn a_wrong_method_is_still_told_the_right_ones() {
        assert!(exchange(router(), "DELETE /number/1", "").await.contains("allow: GET,HEAD\r\n"));
    }

    #[tokio::test]
    async fn what_is_no_plain_refusal_passes_unchanged() {
        assert!(exchange(router(), "GET /number/7", "").await.ends_with("\r\n\r\n7"));
        assert!(exchange(router(), "GET /json", "").await.ends_with("\r\n\r\n1"));
    }
}
