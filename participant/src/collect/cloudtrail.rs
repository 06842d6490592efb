//! AWS CloudTrail records. Roles stand under their own name, not under that of the session that assumed them.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Decoder, Rejection};
use crate::event::{Draft, Event, EventError, MAX_ENTRIES, MAX_ENTRY};

/// Reads one record after the other.
pub(super) struct CloudTrail;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(rename = "eventID")]
    event_id: Option<String>,
    event_time: Option<String>,
    /// Where Logstash moves `eventTime`.
    #[serde(rename = "@timestamp")]
    shipped_time: Option<String>,
    event_source: Option<String>,
    event_name: Option<String>,
    aws_region: Option<String>,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    user_agent: Option<String>,
    error_code: Option<String>,
    #[serde(default)]
    user_identity: Identity,
    request_parameters: Option<BTreeMap<String, IgnoredAny>>,
    response_elements: Option<Response>,
    additional_event_data: Option<Additional>,
    read_only: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    r#type: Option<String>,
    arn: Option<String>,
    principal_id: Option<String>,
    user_name: Option<String>,
    invoked_by: Option<String>,
    account_id: Option<String>,
    access_key_id: Option<String>,
    session_context: Option<SessionContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionContext {
    session_issuer: Option<Issuer>,
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Issuer {
    arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    mfa_authenticated: Option<String>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "ConsoleLogin")]
    console_login: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Additional {
    bytes_transferred_out: Option<f64>,
}

impl Decoder for CloudTrail {
    fn decode(&mut self, record: &[u8], out: &mut VecDeque<Event>) -> Result<(), Rejection> {
        let record: Record = serde_json::from_slice(record).map_err(|error| EventError::Malformed {
            reason: format!("not a CloudTrail record, at column {}", error.column()),
        })?;
        out.push_back(Event::new(record.into_draft()?)?);
        Ok(())
    }

    fn finish(&mut self, _out: &mut VecDeque<Event>) -> Result<(), Rejection> {
        Ok(())
    }
}

impl Record {
    fn into_draft(self) -> Result<Draft, EventError> {
        let missing = |field| move || EventError::MissingField { field };
        let tags = self.tags();
        let principal = self.user_identity.principal();
        let parameters = self.request_parameters.unwrap_or_default();
        Ok(Draft {
            event_id: self.event_id.ok_or_else(missing("eventID"))?,
            timestamp: self
                .event_time
                .or(self.shipped_time)
                .ok_or_else(missing("eventTime"))?
                .parse()
                .map_err(|_| EventError::BadTimestamp)?,
            source: self.event_source.ok_or_else(missing("eventSource"))?,
            operation: self.event_name.ok_or_else(missing("eventName"))?,
            principal,
            ip: self.source_ip_address.unwrap_or_default(),
            row_count: None,
            query_duration: None,
            changed_fields: parameters.into_keys().take(MAX_ENTRIES).map(cut).collect(),
            raw_sql: None,
            tags,
        })
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let identity = &self.user_identity;
        let mfa = identity.session_context.as_ref().and_then(|context| context.attributes.as_ref());
        let bytes_out = self.additional_event_data.as_ref().and_then(|data| data.bytes_transferred_out);
        let tags = [
            ("error", self.error()),
            ("region", self.aws_region.clone()),
            ("user_agent", self.user_agent.clone()),
            ("identity_type", identity.r#type.clone()),
            ("account", identity.account_id.clone()),
            ("session", identity.access_key_id.clone()),
            ("mfa", mfa.and_then(|attributes| attributes.mfa_authenticated.clone())),
            ("bytes_out", bytes_out.map(|bytes| format!("{bytes:.0}"))),
            ("read_only", self.read_only.map(|read_only| read_only.to_string())),
        ];
        tags.into_iter().filter_map(|(name, value)| Some((name.to_owned(), cut(value?)))).collect()
    }

    /// The error code. A refused console log-in has none of its own.
    fn error(&self) -> Option<String> {
        let console = self.response_elements.as_ref().and_then(|response| response.console_login.as_deref());
        let refused = (console == Some("Failure")).then(|| "AuthenticationFailed".to_owned());
        self.error_code.clone().or(refused)
    }
}

impl Identity {
    /// The role for assumed roles, else the user, else whatever names the caller.
    fn principal(&self) -> String {
        let issuer = self.session_context.as_ref().and_then(|context| context.session_issuer.as_ref());
        let names = [
            issuer.and_then(|issuer| issuer.arn.as_ref()),
            self.arn.as_ref(),
            self.user_name.as_ref(),
            self.invoked_by.as_ref(),
            self.principal_id.as_ref(),
            self.account_id.as_ref(),
        ];
        names.into_iter().flatten().find(|name| !name.is_empty()).cloned().unwrap_or_default()
    }
}

/// Cuts a text to what an event may hold: here it describes and does not identify.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_ENTRY));
    text
}
