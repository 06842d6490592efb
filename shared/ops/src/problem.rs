//! Errors of HTTP interfaces as RFC 9457 problem details: `application/problem+json` with a stable code and a hint.

mod plain;

pub use plain::explained;

use axum::Json as JsonBody;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::Explain;

/// One problem, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:ringfence:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to whom and where.
    pub detail: String,
    /// The stable code of the error.
    pub code: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    /// The problem that `error` is to whoever asked. A fault of our own (status 500 and above) is logged.
    pub fn new(status: StatusCode, error: &dyn Explain) -> Self {
        if status.is_server_error() {
            tracing::error!(code = error.code(), error = error.to_string(), "a request failed");
        }
        Self {
            kind: format!("urn:ringfence:error:{}", error.code()),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: error.to_string(),
            code: error.code().to_owned(),
            hint: error.hint().to_owned(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, JsonBody(self)).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

/// Why a request was refused before anybody looked at what it means.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is too large, no JSON, or JSON of another shape.
    #[error("the body of the request cannot be read: {0}")]
    Body(String),
    /// There is nothing at this path.
    #[error("there is nothing at `{0}`")]
    NotFound(String),
    /// The HTTP framework refused the request.
    #[error("the request is refused: {}", if .reason.is_empty() { .status.canonical_reason().unwrap_or("error") } else { .reason.as_str() })]
    Refused {
        /// How.
        status: StatusCode,
        /// What it said; may be empty.
        reason: String,
    },
    /// The request bears no token.
    #[error("the request bears no token")]
    TokenMissing,
    /// The request bears another token.
    #[error("the token of the request is not the right one")]
    TokenWrong,
}

impl Explain for RequestError {
    fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "request-body",
            Self::NotFound(_) => "request-not-found",
            Self::Refused { status, .. } => match *status {
                StatusCode::BAD_REQUEST => "request-invalid",
                StatusCode::NOT_FOUND => "request-not-found",
                StatusCode::METHOD_NOT_ALLOWED => "request-method",
                StatusCode::PAYLOAD_TOO_LARGE => "request-too-large",
                _ => "request-refused",
            },
            Self::TokenMissing => "token-missing",
            Self::TokenWrong => "token-wrong",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Body(_) => "send `content-type: application/json` and a body as `/openapi.json` describes it",
            Self::NotFound(_) | Self::Refused { .. } => "see `/openapi.json` for what there is",
            Self::TokenMissing => "send the header `authorization: Bearer TOKEN`",
            Self::TokenWrong => "use the token from the configuration of this server",
        }
    }
}

/// A JSON body, refused as a [`Problem`] when it cannot be read. Its size is held by `axum::extract::DefaultBodyLimit`,
/// 2 MB unless a router says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let refused =
            |rejection: JsonRejection| Problem::new(rejection.status(), &RequestError::Body(rejection.body_text()));
        JsonBody::from_request(request, state).await.map(|JsonBody(value)| Self(value)).map_err(refused)
    }
}

/// The fallback of a router: 404 for a path that it does not know.
pub async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, &RequestError::NotFound(uri.path().to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::DefaultBodyLimit;
    use axum::routing::post;

    use super::*;
    use crate::testing::exchange;

    fn router() -> Router {
        let double = |Json(number): Json<u32>| async move { (number * 2).to_string() };
        Router::new().route("/double", post(double)).fallback(not_found).layer(DefaultBodyLimit::max(8))
    }

    #[tokio::test]
    async fn a_problem_has_type_title_status_detail_code_and_hint() {
        let reply = exchange(router(), "GET /nowhere?x=1", "").await;
        assert!(reply.starts_with("HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\n"), "{reply}");
        let body = r#"{"type":"urn:ringfence:error:request-not-found","title":"Not Found","status":404,"#.to_owned()
            + r#""detail":"there is nothing at `/nowhere`","code":"request-not-found","#
            + r#""hint":"see `/openapi.json` for what there is"}"#;
        assert!(reply.ends_with(&body), "{reply}");
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_read_is_a_problem() {
        assert!(exchange(router(), "POST /double", "21").await.ends_with("\r\n\r\n42"));
        for (body, status) in [("2x", "400 Bad Request"), ("\"a\"", "422 Unpr"), ("123456789", "413 Payload Too Large")]
        {
            let reply = exchange(router(), "POST /double", body).await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
            assert!(reply.contains("\"code\":\"request-body\""), "{reply}");
        }
    }
}
