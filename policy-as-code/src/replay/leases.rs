//! Which leases are in force at an instant, and which of them the head version would not have granted.
//!
//! Records come in any order: a lease counts as given back wherever that is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::decision::Requester;
use shared::detection::Tier;
use shared::{RunId, Timestamp};

use super::counts::{NAMED, Tiers, number};
use super::report::{LeaseInForce, Leases};

use super::{Recorded, ReplayError};
use crate::playbook::extension::LEASE_MS;

/// How many leases in force, and how many given back, are kept.
const MAX_LEASES: usize = 100_000;

/// Leases granted and given back, as far as they matter at an instant.
pub(super) struct LeaseBook {
    as_of: Timestamp,
    granted: BTreeMap<(RunId, u32), Granted>,
    given_back: BTreeSet<(RunId, u32)>,
}

#[derive(Clone)]
struct Granted {
    lease: LeaseInForce,
    refused_by_head: bool,
}

impl LeaseBook {
    pub(super) fn new(as_of: Timestamp) -> Self {
        Self { as_of, granted: BTreeMap::new(), given_back: BTreeSet::new() }
    }

    /// Whether the decision's lease has not run out, so that it is worth asking about.
    pub(super) fn concerns(&self, recorded: &Recorded) -> bool {
        recorded.at <= self.as_of && recorded.lease.as_ref().is_some_and(|lease| lease.expires_at > self.as_of)
    }

    pub(super) fn grant(&mut self, recorded: &Recorded, tiers: Tiers) -> Result<(), ReplayError> {
        let Some(held) = &recorded.lease else { return Ok(()) };
        let lease = LeaseInForce {
            run_id: recorded.run_id.clone(),
            step: recorded.step,
            action: recorded.request.action,
            asset_id: recorded.request.asset.asset_id.clone(),
            expires_at: held.expires_at,
            base: tiers.base,
            head: tiers.head,
        };
        let refused_by_head = tiers.head < required(&recorded.request.requester);
        self.keep(Granted { lease, refused_by_head });
        self.within_limit()
    }

    /// Of two records of one step, which a crash can leave, the later lease counts.
    fn keep(&mut self, granted: Granted) {
        let kept = self.granted.entry((granted.lease.run_id.clone(), granted.lease.step));
        kept.and_modify(|kept| {
            if kept.lease.expires_at < granted.lease.expires_at {
                *kept = granted.clone();
            }
        })
        .or_insert(granted);
    }

    pub(super) fn give_back(&mut self, at: Timestamp, run_id: RunId, step: u32) -> Result<(), ReplayError> {
        let longest = Duration::from_millis(*LEASE_MS.end());
        if at <= self.as_of && self.as_of < at.plus(longest) {
            self.given_back.insert((run_id, step));
        }
        self.within_limit()
    }

    fn within_limit(&self) -> Result<(), ReplayError> {
        let most = self.granted.len().max(self.given_back.len());
        if most > MAX_LEASES { Err(ReplayError::TooManyLeases { limit: MAX_LEASES }) } else { Ok(()) }
    }

    pub(super) fn and(mut self, other: Self) -> Result<Self, ReplayError> {
        other.granted.into_values().for_each(|granted| self.keep(granted));
        self.given_back.extend(other.given_back);
        self.within_limit()?;
        Ok(self)
    }

    pub(super) fn report(self) -> Leases {
        let Self { granted, given_back, .. } = self;
        let in_force: Vec<Granted> = granted
            .into_iter()
            .filter_map(|(step, granted)| (!given_back.contains(&step)).then_some(granted))
            .collect();
        let count = in_force.len();
        let refused = in_force.into_iter().filter(|granted| granted.refused_by_head);
        let mut first: Vec<LeaseInForce> = refused.map(|granted| granted.lease).collect();
        let refused_by_head = first.len();
        first.sort_by_key(|lease| lease.expires_at);
        first.truncate(NAMED);
        Leases { in_force: number(count), refused_by_head: number(refused_by_head), first }
    }
}

/// The narrowest tier at which the requester may act: a release acts by itself, a person's approval is assistance.
fn required(requester: &Requester) -> Tier {
    match requester {
        Requester::Release { .. } => Tier::Automated,
        Requester::Responder { .. } => Tier::Assisted,
    }
}
