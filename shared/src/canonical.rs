//! The one byte string that stands for a value: RFC 8785 (JSON Canonicalization Scheme).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Explain;

/// Why bytes are not the canonical form of a value.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The value cannot be written as JSON, for instance because a number is not finite.
    #[error("the value has no canonical form: {0}")]
    Encode(serde_json::Error),
    /// The bytes are no JSON of the expected type.
    #[error("the bytes are not the expected document: {0}")]
    Decode(serde_json::Error),
    /// The bytes are JSON of the expected type, but not its canonical form.
    #[error("the document is not in canonical form (RFC 8785)")]
    NotCanonical,
}

impl Explain for CanonicalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Encode(_) => "canonical-encode",
            Self::Decode(_) => "canonical-decode",
            Self::NotCanonical => "canonical-form",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Encode(_) => "check that every number is finite",
            Self::Decode(_) => "check that both sides run the same version",
            Self::NotCanonical => "sign and send the bytes exactly as `canonical::encode` gives them",
        }
    }
}

/// The canonical bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    serde_json_canonicalizer::to_vec(value).map_err(CanonicalError::Encode)
}

/// The value whose canonical bytes these are. Refuses every other spelling of it, so that one value has one digest.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes).map_err(CanonicalError::Decode)?;
    if encode(&value)? == bytes { Ok(value) } else { Err(CanonicalError::NotCanonical) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_second_spelling_is_refused() {
        let value = BTreeMap::from([("a".to_owned(), 1.5), ("b".to_owned(), 2.0)]);
        assert_eq!(encode(&value).unwrap(), br#"{"a":1.5,"b":2}"#);
        assert!(decode::<BTreeMap<String, f64>>(br#"{"b":2,"a":1.5}"#).is_err());
        assert_eq!(decode::<BTreeMap<String, f64>>(br#"{"a":1.5,"b":2}"#).unwrap(), value);
    }
}
