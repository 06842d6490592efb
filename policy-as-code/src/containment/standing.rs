//! How things stand for a claim: what of the site's health and budgets a policy set may look at.
//!
//! Counts only what others hold; it decides nothing and reads nothing itself.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::asset::Criticality;
use shared::decision::DecisionRequest;
use shared::{AssetId, RunId, Timestamp};

use super::{Claim, Reservation, step_name};

/// How long a grant counts among the recent ones.
const RECENT: Duration = Duration::from_secs(60 * 60);

/// What others hold, as one claim sees it.
pub(super) struct Standing {
    peer_group: String,
    group_size: i64,
    criticality: Criticality,
    /// What others hold on other assets.
    others: Vec<Reservation>,
    held_by: Option<RunId>,
    recent_actions: i64,
    forgotten: Vec<Vec<u8>>,
    kill_switch: bool,
}

impl Standing {
    /// Takes everything in force, and the time at which each step was granted.
    pub(super) fn new(
        claim: &Claim,
        now: Timestamp,
        reservations: Vec<Reservation>,
        grants: Vec<(Vec<u8>, Timestamp)>,
        kill_switch: bool,
    ) -> Self {
        let asset_id = &claim.request.asset.asset_id;
        let (own, others): (Vec<_>, Vec<_>) = reservations.into_iter().partition(|held| held.asset_id == *asset_id);
        let held_by = own.into_iter().map(|held| held.lease.run_id).find(|run_id| *run_id != claim.run_id);
        let (recent, old): (Vec<_>, Vec<_>) = grants.into_iter().partition(|(_, at)| now.since(*at) < RECENT);
        let own = step_name(&claim.run_id, claim.step).into_bytes();
        let recent_actions = whole(recent.iter().filter(|(key, _)| *key != own).count());
        Self {
            peer_group: claim.peers.name.clone(),
            group_size: i64::from(claim.peers.size),
            criticality: claim.request.asset.criticality,
            others,
            held_by,
            recent_actions,
            forgotten: old.into_iter().map(|(key, _)| key).filter(|key| *key != own).collect(),
            kill_switch,
        }
    }

    /// The other run that holds the asset.
    pub(super) fn held_by(&self) -> Option<&RunId> {
        self.held_by.as_ref()
    }

    /// Keys of grants that count no more.
    pub(super) fn forgotten(&self) -> impl Iterator<Item = &[u8]> {
        self.forgotten.iter().map(Vec::as_slice)
    }

    /// Writes into a request what the ledger knows better than who asks.
    pub(super) fn fill(&self, request: &mut DecisionRequest) {
        let all = cut_off(self.others.iter());
        let peers = cut_off(self.others.iter().filter(|held| held.peer_group == self.peer_group));
        let class = cut_off(self.others.iter().filter(|held| held.criticality == self.criticality));
        let context = &mut request.context;
        context.healthy_peers = self.group_size.saturating_sub(1).saturating_sub(whole(peers.len())).max(0);
        context.active_containments = whole(all.len());
        context.class_containments = whole(class.len());
        context.service_blast_radius = total(&peers).saturating_add(context.blast_radius);
        context.site_blast_radius = total(&all).saturating_add(context.blast_radius);
        context.recent_actions = self.recent_actions;
        context.kill_switch = self.kill_switch;
    }
}

/// The assets under containment, with the most that any action in force cuts off with each.
fn cut_off<'a>(reservations: impl Iterator<Item = &'a Reservation>) -> BTreeMap<&'a AssetId, i64> {
    let mut assets = BTreeMap::new();
    for held in reservations {
        let widest: &mut i64 = assets.entry(&held.asset_id).or_default();
        *widest = held.blast_radius.max(*widest);
    }
    assets
}

fn total(assets: &BTreeMap<&AssetId, i64>) -> i64 {
    assets.values().fold(0, |sum, radius| sum.saturating_add(*radius))
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
