//! What a replay counts, each count by itself: tiers, assets, host-minutes, and decisions unlike their record.
//!
//! Counts add up in any order, and what is kept by name is bounded, so that any number of threads finds the same in
//! memory that does not grow with the records.

use std::collections::{BTreeMap, HashMap};

use shared::AssetId;
use shared::decision::ContainmentAction;
use shared::detection::Tier;

use super::Recorded;
use super::report::{ActionChange, AssetCount, Assets, Cell, HostMinutes, Unlike, Unreproduced};

/// How many of a kind a report names.
pub(super) const NAMED: usize = 20;
/// How many assets for which something changes a thread keeps by name; what changes for others is not told.
const MAX_ASSETS: usize = 1_000_000;

const MILLIS_PER_MINUTE: u128 = 60_000;

/// A decision's tiers under both versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tiers {
    pub(super) base: Tier,
    pub(super) head: Tier,
}

impl Tiers {
    fn gain_automation(self) -> bool {
        self.base != Tier::Automated && self.head == Tier::Automated
    }

    fn lose_automation(self) -> bool {
        self.base == Tier::Automated && self.head != Tier::Automated
    }
}

/// How many decisions on each action have which tiers.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<(ContainmentAction, Tiers), u64>);

impl Changes {
    pub(super) fn count(&mut self, action: ContainmentAction, tiers: Tiers) {
        add(self.0.entry((action, tiers)).or_default(), 1);
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        other.0.into_iter().for_each(|(change, decisions)| add(self.0.entry(change).or_default(), decisions));
        self
    }

    pub(super) fn decisions(&self) -> u64 {
        self.0.values().sum()
    }

    pub(super) fn matrix(&self) -> Vec<Cell> {
        let cell = |base, head| {
            let of_cell = self.0.iter().filter(|((_, tiers), _)| *tiers == Tiers { base, head });
            Cell { base, head, decisions: of_cell.map(|(_, decisions)| decisions).sum() }
        };
        Tier::WIDEST_FIRST.into_iter().flat_map(|base| Tier::WIDEST_FIRST.map(|head| cell(base, head))).collect()
    }

    pub(super) fn actions(&self) -> Vec<ActionChange> {
        let changed = self.0.iter().filter(|((_, tiers), _)| tiers.base != tiers.head);
        let told = |(&(action, Tiers { base, head }), &decisions)| ActionChange { action, base, head, decisions };
        changed.map(told).collect()
    }
}

/// In how many decisions each asset gains and loses automation.
#[derive(Default)]
pub(super) struct Automation(HashMap<AssetId, GainAndLoss>);

#[derive(Clone, Copy, Default)]
struct GainAndLoss {
    gain: u64,
    lose: u64,
}

impl Automation {
    pub(super) fn count(&mut self, asset_id: &AssetId, tiers: Tiers) {
        let change = GainAndLoss { gain: tiers.gain_automation().into(), lose: tiers.lose_automation().into() };
        if change.gain > 0 || change.lose > 0 {
            self.add(asset_id, change);
        }
    }

    fn add(&mut self, asset_id: &AssetId, GainAndLoss { gain, lose }: GainAndLoss) {
        if let Some(sum) = self.0.get_mut(asset_id) {
            add(&mut sum.gain, gain);
            add(&mut sum.lose, lose);
        } else if self.0.len() < MAX_ASSETS {
            self.0.insert(asset_id.clone(), GainAndLoss { gain, lose });
        }
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        other.0.iter().for_each(|(asset_id, change)| self.add(asset_id, *change));
        self
    }

    pub(super) fn gain(&self) -> Assets {
        self.report(|sum| sum.gain)
    }

    pub(super) fn lose(&self) -> Assets {
        self.report(|sum| sum.lose)
    }

    fn report(&self, which: impl Fn(&GainAndLoss) -> u64) -> Assets {
        let counts = self.0.iter().map(|(asset_id, sum)| (which(sum), asset_id));
        let mut counts: Vec<(u64, &AssetId)> = counts.filter(|(decisions, _)| *decisions > 0).collect();
        counts.sort_by(|(more, one), (less, other)| less.cmp(more).then(one.cmp(other)));
        let (assets, decisions) = (number(counts.len()), counts.iter().map(|(decisions, _)| decisions).sum());
        let most = counts.into_iter().take(NAMED);
        let most = most.map(|(decisions, asset_id)| AssetCount { asset_id: asset_id.clone(), decisions }).collect();
        Assets { assets, decisions, most }
    }
}

/// What automated containment comes to in time, action by action. A host is an account or host that the action cuts off.
#[derive(Default)]
pub(super) struct HostTime(BTreeMap<ContainmentAction, OfAction>);

#[derive(Clone, Copy, Default)]
struct OfAction {
    /// The leases recorded for whatever requester, and their length.
    leases: u128,
    lease_millis: u128,
    /// Of decisions that base automates: their leases times hosts, and what of that head does not grant.
    base_host_millis: u128,
    lost_host_millis: u128,
    /// Decisions that head automates and base does not, and their hosts.
    gained: u64,
    gained_hosts: u128,
}

impl HostTime {
    pub(super) fn count(&mut self, recorded: &Recorded, tiers: Tiers) {
        let sum = self.0.entry(recorded.request.action).or_default();
        let hosts = u128::try_from(recorded.request.context.blast_radius).unwrap_or(0).max(1);
        if let Some(lease) = &recorded.lease {
            let millis = lease.expires_at.since(lease.granted_at).as_millis();
            sum.leases = sum.leases.saturating_add(1);
            sum.lease_millis = sum.lease_millis.saturating_add(millis);
            let host_millis = millis.saturating_mul(hosts);
            if tiers.base == Tier::Automated {
                sum.base_host_millis = sum.base_host_millis.saturating_add(host_millis);
            }
            if tiers.lose_automation() {
                sum.lost_host_millis = sum.lost_host_millis.saturating_add(host_millis);
            }
        }
        // Where another run held the asset, this one would not have acted whatever the policies say.
        if tiers.gain_automation() && !recorded.held {
            add(&mut sum.gained, 1);
            sum.gained_hosts = sum.gained_hosts.saturating_add(hosts);
        }
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        for (action, more) in other.0 {
            let sum = self.0.entry(action).or_default();
            *sum = sum.and(more);
        }
        self
    }

    pub(super) fn report(&self) -> HostMinutes {
        let minutes = |of_action: &dyn Fn(&OfAction) -> u128| {
            let millis = self.0.values().map(of_action).fold(0, u128::saturating_add);
            u64::try_from(millis / MILLIS_PER_MINUTE).unwrap_or(u64::MAX)
        };
        let unknown = self.0.values().filter(|sum| sum.leases == 0).map(|sum| sum.gained);
        HostMinutes {
            base: minutes(&|sum| sum.base_host_millis),
            lost: minutes(&|sum| sum.lost_host_millis),
            gained: minutes(&OfAction::gained_host_millis),
            gained_of_unknown_length: unknown.sum(),
        }
    }
}

impl OfAction {
    fn and(self, more: Self) -> Self {
        Self {
            leases: self.leases.saturating_add(more.leases),
            lease_millis: self.lease_millis.saturating_add(more.lease_millis),
            base_host_millis: self.base_host_millis.saturating_add(more.base_host_millis),
            lost_host_millis: self.lost_host_millis.saturating_add(more.lost_host_millis),
            gained: self.gained.saturating_add(more.gained),
            gained_hosts: self.gained_hosts.saturating_add(more.gained_hosts),
        }
    }

    /// What is gained if every lease is as long as those recorded for the action are on average.
    fn gained_host_millis(&self) -> u128 {
        let mean = self.lease_millis.checked_div(self.leases).unwrap_or(0);
        mean.saturating_mul(self.gained_hosts)
    }
}

/// Decisions that base takes otherwise than recorded; the first of them by block and line.
#[derive(Default)]
pub(super) struct Unlikes {
    decisions: u64,
    under_this_bundle: u64,
    first: BTreeMap<(u64, u64), Unlike>,
}

impl Unlikes {
    pub(super) fn count(&mut self, block: u64, unlike: Unlike, under_this_bundle: bool) {
        add(&mut self.decisions, 1);
        add(&mut self.under_this_bundle, under_this_bundle.into());
        self.keep((block, unlike.line), unlike);
    }

    fn keep(&mut self, at: (u64, u64), unlike: Unlike) {
        self.first.insert(at, unlike);
        if self.first.len() > NAMED {
            self.first.pop_last();
        }
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        add(&mut self.decisions, other.decisions);
        add(&mut self.under_this_bundle, other.under_this_bundle);
        other.first.into_iter().for_each(|(at, unlike)| self.keep(at, unlike));
        self
    }

    pub(super) fn report(self) -> Unreproduced {
        let Self { decisions, under_this_bundle, first } = self;
        Unreproduced { decisions, under_this_bundle, first: first.into_values().collect() }
    }
}

pub(super) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

pub(super) fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
