//! How a refusal travels: `tonic::Status` with the error's code and hint in its metadata.

use std::error::Error;
use std::time::Duration;

use shared::Explain;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

const CODE: &str = "ringfence-code";
const HINT: &str = "ringfence-hint-bin";

/// Why a call did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side said no.
    #[error("the coordinator refused with `{code}`: {message} ({hint})")]
    Refused {
        /// The gRPC status.
        status: Code,
        /// The error's stable code at the other side.
        code: String,
        /// What failed.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The connection failed, or the other side is silent.
    #[error("no answer from the coordinator: {reason}")]
    Unreachable {
        /// What the transport said.
        reason: String,
    },
    /// The other side keeps its connection and says nothing.
    #[error("the other side said nothing for {seconds} s")]
    Silent {
        /// For how long.
        seconds: u64,
    },
    /// A message is not what the protocol says.
    #[error("`{field}` is malformed: {reason}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate, key or address cannot be used.
    #[error("the transport cannot be set up: {reason}")]
    Setup {
        /// What is wrong with it.
        reason: String,
    },
}

impl WireError {
    pub(crate) fn malformed(field: &'static str, reason: impl ToString) -> Self {
        Self::Malformed { field, reason: reason.to_string() }
    }

    pub(crate) fn silent(after: Duration) -> Self {
        Self::Silent { seconds: after.as_secs() }
    }

    pub(crate) fn setup(error: &dyn Error) -> Self {
        Self::Setup { reason: with_causes(error) }
    }

    pub(crate) fn unreachable(error: &dyn Error) -> Self {
        Self::Unreachable { reason: with_causes(error) }
    }

    /// The code that the other side gave, if it did.
    pub fn remote_code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the same call may succeed later: the other side was not reached, is busy, or is starting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } => true,
            Self::Refused { status, .. } => {
                matches!(status, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
            }
            Self::Malformed { .. } | Self::Setup { .. } => false,
        }
    }
}

impl Explain for WireError {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "wire-refused",
            Self::Unreachable { .. } => "wire-unreachable",
            Self::Silent { .. } => "wire-silent",
            Self::Malformed { .. } => "wire-malformed",
            Self::Setup { .. } => "wire-setup",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "do what the coordinator's own hint says",
            Self::Unreachable { .. } => {
                "check the address, the network and the certificates; the call is safe to repeat"
            }
            Self::Silent { .. } => "check the load of both sides; the call is safe to repeat",
            Self::Malformed { .. } => "check that both sides run the same version",
            Self::Setup { .. } => "check the PEM files and that the address reads `https://host:port`",
        }
    }
}

/// The status that carries `error` to the other side.
pub fn refuse(code: Code, error: &dyn Explain) -> Status {
    let mut metadata = MetadataMap::new();
    if let Ok(value) = MetadataValue::try_from(error.code()) {
        metadata.insert(CODE, value);
    }
    metadata.insert_bin(HINT, MetadataValue::from_bytes(error.hint().as_bytes()));
    Status::with_metadata(code, error.to_string(), metadata)
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        let code = if error.is_transient() { Code::DeadlineExceeded } else { Code::InvalidArgument };
        refuse(code, &error)
    }
}

impl From<Status> for WireError {
    fn from(status: Status) -> Self {
        let code = status.metadata().get(CODE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let hint = status.metadata().get_bin(HINT).and_then(|value| value.to_bytes().ok());
        match code {
            Some(code) => Self::Refused {
                status: status.code(),
                code,
                message: status.message().to_owned(),
                hint: hint.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
            },
            None => Self::Unreachable { reason: status.source().map_or_else(|| status.to_string(), with_causes) },
        }
    }
}

/// The message of an error and of everything that caused it: transport errors say little by themselves.
fn with_causes(error: &dyn Error) -> String {
    std::iter::successors(error.source(), |cause| (*cause).source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_code_message_and_hint_across_the_wire() {
        let cause = shared::ParticipantId::new("No").unwrap_err();
        let seen = WireError::from(refuse(Code::PermissionDenied, &cause));
        let WireError::Refused { status, code, message, hint } = seen else { panic!("{seen}") };
        assert_eq!((status, code.as_str()), (Code::PermissionDenied, "id-invalid"));
        assert_eq!((message, hint.as_str()), (cause.to_string(), cause.hint()));
    }

    #[test]
    fn a_status_without_a_code_is_no_refusal_of_ours() {
        assert!(WireError::from(Status::unknown("transport")).is_transient());
    }
}
