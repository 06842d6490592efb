//! One thread's part of a replay: reads the lines of blocks, asks both versions, and counts.
//!
//! What it counts does not depend on which lines fell to it, nor on their order.

use shared::Timestamp;
use shared::detection::Tier;

use super::blocks::Block;
use super::counts::{Automation, Changes, HostTime, Tiers, Unlikes, add};
use super::leases::LeaseBook;
use super::report::{Replay, Unlike};
use super::{Record, Recorded, ReplayError, Settings, Versions};

/// What a thread found.
pub(super) struct Tally<'a> {
    versions: Versions<'a>,
    settings: Settings,
    since: Timestamp,
    span: Span,
    outside: u64,
    other_records: u64,
    damaged: u64,
    changes: Changes,
    automation: Automation,
    host_time: HostTime,
    unlikes: Unlikes,
    leases: LeaseBook,
}

/// Where a record stands.
#[derive(Clone, Copy)]
struct Origin<'a> {
    block: &'a Block,
    line: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(versions: Versions<'a>, settings: Settings) -> Self {
        Self {
            versions,
            settings,
            since: settings.since(),
            span: None,
            outside: 0,
            other_records: 0,
            damaged: 0,
            changes: Changes::default(),
            automation: Automation::default(),
            host_time: HostTime::default(),
            unlikes: Unlikes::default(),
            leases: LeaseBook::new(settings.as_of),
        }
    }

    /// Replays the records of a block.
    pub(super) fn take(&mut self, block: &Block) -> Result<(), ReplayError> {
        for (line, text) in block.lines() {
            let origin = Origin { block, line };
            match Record::read(text) {
                Ok(record) => self.record(record, origin)?,
                Err(_) if self.settings.skip_damaged => add(&mut self.damaged, 1),
                Err(error) => return Err(origin.damaged(&error)),
            }
        }
        Ok(())
    }

    fn record(&mut self, record: Record, origin: Origin<'_>) -> Result<(), ReplayError> {
        match record {
            Record::Decision(recorded) => return self.decision(&recorded, origin),
            Record::GivenBack { at, run_id, step } => self.leases.give_back(at, run_id, step)?,
            Record::Other => {}
        }
        add(&mut self.other_records, 1);
        Ok(())
    }

    fn decision(&mut self, recorded: &Recorded, origin: Origin<'_>) -> Result<(), ReplayError> {
        let counts = self.since <= recorded.at && recorded.at <= self.settings.as_of;
        let in_force = self.leases.concerns(recorded);
        add(&mut self.outside, u64::from(!counts));
        if !counts && !in_force {
            return Ok(());
        }
        let Versions { base, head } = self.versions;
        let tiers = Tiers { base: base.decide(&recorded.request).tier, head: head.decide(&recorded.request).tier };
        if counts {
            self.count(recorded, tiers, origin);
        }
        if in_force { self.leases.grant(recorded, tiers) } else { Ok(()) }
    }

    fn count(&mut self, recorded: &Recorded, tiers: Tiers, origin: Origin<'_>) {
        self.span = both(self.span, Some((recorded.at, recorded.at)));
        self.changes.count(recorded.request.action, tiers);
        self.automation.count(&recorded.request.asset.asset_id, tiers);
        self.host_time.count(recorded, tiers);
        if recorded.tier != tiers.base {
            let under_this_bundle = recorded.bundle == self.versions.base.bundle();
            self.unlikes.count(origin.block.number, origin.unlike(recorded, tiers.base), under_this_bundle);
        }
    }

    /// Both tallies as one.
    pub(super) fn and(self, other: Self) -> Result<Self, ReplayError> {
        Ok(Self {
            span: both(self.span, other.span),
            outside: self.outside.saturating_add(other.outside),
            other_records: self.other_records.saturating_add(other.other_records),
            damaged: self.damaged.saturating_add(other.damaged),
            changes: self.changes.and(other.changes),
            automation: self.automation.and(other.automation),
            host_time: self.host_time.and(other.host_time),
            unlikes: self.unlikes.and(other.unlikes),
            leases: self.leases.and(other.leases)?,
            ..self
        })
    }

    pub(super) fn report(self) -> Replay {
        Replay {
            base: self.versions.base.bundle(),
            head: self.versions.head.bundle(),
            decisions: self.changes.decisions(),
            first: self.span.map(|(first, _)| first),
            last: self.span.map(|(_, last)| last),
            outside: self.outside,
            other_records: self.other_records,
            damaged: self.damaged,
            matrix: self.changes.matrix(),
            actions: self.changes.actions(),
            gain: self.automation.gain(),
            lose: self.automation.lose(),
            host_minutes: self.host_time.report(),
            unreproduced: self.unlikes.report(),
            leases: self.leases.report(),
        }
    }
}

impl Origin<'_> {
    fn damaged(self, error: &serde_json::Error) -> ReplayError {
        // Each line was read by itself, so that to the parser it was the first.
        let reason = error.to_string().replace(" at line 1 column ", " at column ");
        ReplayError::Damaged { file: self.block.file.to_string(), line: self.line, reason }
    }

    fn unlike(self, recorded: &Recorded, base: Tier) -> Unlike {
        Unlike {
            file: self.block.file.to_string(),
            line: self.line,
            run_id: recorded.run_id.clone(),
            step: recorded.step,
            recorded: recorded.tier,
            base,
            bundle: recorded.bundle,
        }
    }
}

type Span = Option<(Timestamp, Timestamp)>;

/// From the earlier beginning to the later end.
fn both(one: Span, other: Span) -> Span {
    let spans = [one, other].into_iter().flatten();
    spans.reduce(|(first, last), (earlier, later)| (first.min(earlier), last.max(later)))
}
