//! What both ends of the federation know of features: their names and order. Computing them is the participant's work.

use serde::{Deserialize, Serialize};

/// A named, versioned list of features. Its canonical digest stands in every task and release, so that a model is never
/// fed with vectors that mean something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureView {
    /// The view's name, such as `datastore`.
    pub name: String,
    /// Raised whenever a feature's meaning changes.
    pub version: u32,
    /// The features' names, in the order of the vector.
    pub features: Vec<String>,
}

/// A feature view by name and digest, as tasks and releases carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureViewRef {
    /// The view's name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of the view's canonical form.
    pub digest: crate::Digest,
}
