//! What a replay found, for people and as JSON.

use std::fmt;

use serde::Serialize;
use shared::decision::ContainmentAction;
use shared::detection::Tier;
use shared::{AssetId, Digest, RunId, Timestamp};

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// Digest of the base version's bundle.
    pub base: Digest,
    /// Digest of the head version's bundle.
    pub head: Digest,
    /// How many decisions were asked again.
    pub decisions: u64,
    /// When the first of them was taken.
    pub first: Option<Timestamp>,
    /// When the last of them was taken.
    pub last: Option<Timestamp>,
    /// Decisions that were left out because they were taken before the days asked for, or later.
    pub outside: u64,
    /// Records of anything else.
    pub other_records: u64,
    /// Lines that were no audit record, and were skipped.
    pub damaged: u64,
    /// Every pair of tiers, widest first.
    pub matrix: Vec<Cell>,
    /// The actions that are answered with another tier.
    pub actions: Vec<ActionChange>,
    /// The assets on which head would act by itself where base would not.
    pub gain: Assets,
    /// The assets on which base would act by itself where head would not.
    pub lose: Assets,
    /// How long automated containment holds.
    pub host_minutes: HostMinutes,
    /// Decisions that base does not take as they were recorded.
    pub unreproduced: Unreproduced,
    /// What is in force.
    pub leases: Leases,
}

/// How many decisions have this tier under base and that one under head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub struct Cell {
    pub base: Tier,
    pub head: Tier,
    pub decisions: u64,
}

/// How many decisions on an action change from one tier to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub struct ActionChange {
    pub action: ContainmentAction,
    pub base: Tier,
    pub head: Tier,
    pub decisions: u64,
}

/// Assets for which something changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Assets {
    /// How many.
    pub assets: u64,
    /// In how many decisions.
    pub decisions: u64,
    /// Those with the most decisions.
    pub most: Vec<AssetCount>,
}

/// An asset, and in how many decisions something changes for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub struct AssetCount {
    pub asset_id: AssetId,
    pub decisions: u64,
}

/// Minutes of automated containment, each counted once for every account or host that the action cuts off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct HostMinutes {
    /// What the leases of base's automated decisions come to.
    pub base: u64,
    /// What of these head would not have granted.
    pub lost: u64,
    /// What head would have granted besides, if each lease were as long as that action's recorded ones are on average.
    pub gained: u64,
    /// How many gained decisions are left out because no lease of their action was recorded.
    pub gained_of_unknown_length: u64,
}

/// Decisions that base does not take as they were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Unreproduced {
    /// How many.
    pub decisions: u64,
    /// How many of them name base's bundle as the one that decided: there the record or the bundle is not what it says.
    pub under_this_bundle: u64,
    /// The first of them.
    pub first: Vec<Unlike>,
}

/// A decision that base does not take as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unlike {
    /// The file that holds the record.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The run.
    pub run_id: RunId,
    /// Its step.
    pub step: u32,
    /// The tier in the record.
    pub recorded: Tier,
    /// The tier under base.
    pub base: Tier,
    /// The bundle that decided, by the record.
    pub bundle: Digest,
}

/// The leases in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Leases {
    /// How many.
    pub in_force: u64,
    /// How many of them head would not have granted.
    pub refused_by_head: u64,
    /// The first of those to lapse.
    pub first: Vec<LeaseInForce>,
}

/// A lease in force that head would not have granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseInForce {
    /// The run that holds it.
    pub run_id: RunId,
    /// The run's step.
    pub step: u32,
    /// What is in force.
    pub action: ContainmentAction,
    /// On what.
    pub asset_id: AssetId,
    /// Until when: then it is undone.
    pub expires_at: Timestamp,
    /// The tier under base.
    pub base: Tier,
    /// The tier under head.
    pub head: Tier,
}

impl Replay {
    fn cell(&self, base: Tier, head: Tier) -> u64 {
        let cell = self.matrix.iter().find(|cell| cell.base == base && cell.head == head);
        cell.map_or(0, |cell| cell.decisions)
    }

    fn sum(&self, which: impl Fn(&Cell) -> bool) -> u64 {
        self.matrix.iter().filter(|cell| which(cell)).map(|cell| cell.decisions).sum()
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, head, decisions, outside, other_records, damaged, .. } = self;
        write!(f, "{decisions} decisions")?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            write!(f, " from {first} to {last}")?;
        }
        for (count, what) in [(outside, "at other times"), (other_records, "other records"), (damaged, "damaged lines")]
        {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        writeln!(f, "\nbase {base}\nhead {head}\n")
    }

    fn write_matrix(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18}", "base \\ head")?;
        Tier::WIDEST_FIRST.iter().try_for_each(|head| write!(f, " {:>11}", head.as_str()))?;
        for base in Tier::WIDEST_FIRST {
            write!(f, "\n{:<18}", base.as_str())?;
            Tier::WIDEST_FIRST.iter().try_for_each(|head| write!(f, " {:>11}", self.cell(base, *head)))?;
        }
        let wider = self.sum(|cell| cell.head > cell.base);
        let narrower = self.sum(|cell| cell.head < cell.base);
        writeln!(f, "\n\nwider under head: {wider}, narrower: {narrower}")?;
        let change = |change: &ActionChange| {
            let ActionChange { action, base, head, decisions } = change;
            writeln!(f, "  {action}: {decisions} {base} → {head}")
        };
        self.actions.iter().try_for_each(change)
    }

    fn write_assets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (assets, what) in [(&self.gain, "gain"), (&self.lose, "lose")] {
            let Assets { assets: count, decisions, most } = assets;
            writeln!(f, "assets that {what} automation: {count}, in {decisions} decisions")?;
            most.iter().try_for_each(|asset| writeln!(f, "  `{}`: {}", asset.asset_id, asset.decisions))?;
            write_more(f, *count, most.len())?;
        }
        Ok(())
    }

    fn write_host_minutes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostMinutes { base, lost, gained, gained_of_unknown_length } = self.host_minutes;
        write!(f, "host-minutes of automated containment: {base} under base, of which {lost} are lost; ")?;
        write!(f, "about {gained} are gained")?;
        match gained_of_unknown_length {
            0 => writeln!(f),
            unknown => writeln!(f, ", and those of {unknown} decisions on actions without a recorded lease"),
        }
    }

    fn write_leases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Leases { in_force, refused_by_head, first } = &self.leases;
        writeln!(f, "leases in force: {in_force}, of which head would not have granted {refused_by_head}")?;
        for LeaseInForce { run_id, step, action, asset_id, expires_at, base, head } in first {
            write!(f, "  run `{run_id}` step {step}: {action} on `{asset_id}`, {base} → {head}, ")?;
            writeln!(f, "kept until it lapses at {expires_at} or the run is rolled back")?;
        }
        write_more(f, *refused_by_head, first.len())
    }

    fn write_unreproduced(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unreproduced { decisions, under_this_bundle, first } = &self.unreproduced;
        write!(f, "decisions that base takes otherwise than recorded: {decisions}")?;
        if *under_this_bundle > 0 {
            write!(f, "; {under_this_bundle} of them name base's own bundle, so record or bundle is not what it says")?;
        }
        for Unlike { file, line, run_id, step, recorded, base, bundle } in first {
            write!(f, "\n  `{file}` line {line}, run `{run_id}` step {step}: ")?;
            write!(f, "recorded {recorded} by bundle {bundle}, base {base}")?;
        }
        writeln!(f)?;
        write_more(f, *decisions, first.len())
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_matrix(f)?;
        self.write_assets(f)?;
        self.write_host_minutes(f)?;
        self.write_leases(f)?;
        self.write_unreproduced(f)
    }
}

fn write_more(f: &mut fmt::Formatter<'_>, all: u64, named: usize) -> fmt::Result {
    match all.saturating_sub(u64::try_from(named).unwrap_or(u64::MAX)) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}
