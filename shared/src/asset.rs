//! The things at a site that an action can touch, as policies see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::AssetId;

/// How much the business depends on an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    /// An outage is noticed by its users.
    Standard,
    /// An outage is noticed by the business.
    Important,
    /// An outage stops the business.
    BusinessCritical,
}

/// An asset as policies see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Its id.
    pub asset_id: AssetId,
    /// How much depends on it.
    pub criticality: Criticality,
    /// Where it runs, such as `production`.
    pub environment: String,
    /// The team that owns it.
    pub owner: String,
    /// Anything else policies may look at.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}
