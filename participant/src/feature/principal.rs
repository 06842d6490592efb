//! What a principal has done lately and usually does: for bulk exports, scraping through ids, and bursts.

use super::flow::{Flow, Window};
use super::memory::Memory;
use super::novelty::Novelty;
use super::observation::Observation;
use super::operation::Class;
use super::scale::{age, bulk, flag, log, wide};
use super::vector::Row;

const EVENTS: usize = 0;
const FAILURES: usize = 1;
const ROWS: usize = 2;
const TABLES: usize = 3;
const SHAPES: usize = 4;
const NEW_SHAPES: usize = 5;
const STEPS: usize = 6;
const CATALOGS: usize = 7;
const ODDITIES: usize = 8;
const SENSITIVES: usize = 9;
const LOOKUPS: usize = 10;
const QUANTITIES: usize = 11;

/// The farthest that the next id of a scan lies from the last.
const MAX_STEP: u64 = 8;

/// What is known of one principal.
#[derive(Default)]
pub(super) struct Principal {
    flow: Flow<QUANTITIES>,
    last_at: i64,
    last_shape: u64,
    last_id: Option<i64>,
    /// Events in a row whose id lies just beyond the one before.
    run: u16,
    rows: Usual,
    durations: Usual,
    gaps: Usual,
}

/// What is usual of a quantity on a logarithmic scale: fading mean and mean deviation.
#[derive(Default)]
struct Usual {
    mean: f32,
    deviation: f32,
    count: u16,
}

impl Usual {
    /// The weight of the newest value once enough have been seen.
    const WEIGHT: f32 = 0.02;

    /// How far above (or below) the usual `value` is, in mean deviations over four, within [-1, 1]. Then learns it.
    fn observe(&mut self, value: f32) -> f32 {
        let off = value - self.mean;
        let strange = if self.count < 8 { 0.0 } else { (off / (self.deviation + 0.1) / 4.0).clamp(-1.0, 1.0) };
        self.count = self.count.saturating_add(1);
        let weight = (1.0 / f32::from(self.count)).max(Self::WEIGHT);
        self.mean += weight * off;
        self.deviation += weight * (off.abs() - self.deviation);
        strange
    }
}

/// All principals.
pub(super) struct Principals {
    known: Memory<u64, Principal>,
}

impl Principals {
    /// Remembers at most `capacity` principals.
    pub(super) fn new(capacity: usize) -> Self {
        Self { known: Memory::new(capacity) }
    }

    /// The shape of the principal's last statement.
    pub(super) fn last_shape(&mut self, principal: u64) -> u64 {
        self.known.recall(principal).last_shape
    }

    /// Writes the principal's features as of this event, which counts too.
    pub(super) fn observe(&mut self, seen: &Observation<'_>, novelty: &Novelty, row: &mut impl Row) {
        let principal = self.known.recall(seen.principal);
        principal.flow.advance(seen.at);
        let gap = if principal.last_at == 0 { 0 } else { seen.at.saturating_sub(principal.last_at).max(0) };
        principal.last_at = principal.last_at.max(seen.at);
        principal.last_shape = seen.shape();
        principal.count(seen, novelty);
        row.put("principal_gap", age(gap));
        row.put("principal_gap_off", principal.gaps.observe(age(gap) * 10.0));
        principal.write_usual(seen, row);
        principal.write_rates(row);
    }
}

impl Principal {
    fn count(&mut self, seen: &Observation<'_>, novelty: &Novelty) {
        let flow = &mut self.flow;
        flow.add(EVENTS, 1.0);
        flow.add(FAILURES, flag(seen.outcome.failed()));
        flow.add(ROWS, wide(seen.rows));
        flow.add(TABLES, f32::from(novelty.tables_new_this_hour));
        flow.add(SHAPES, flag(novelty.shape_new_this_hour));
        flow.add(NEW_SHAPES, flag(novelty.shape_new));
        flow.add(ODDITIES, flag(seen.odd()));
        let Some(statement) = &seen.statement else { return };
        flow.add(CATALOGS, flag(statement.catalogs.any() || statement.probes.any()));
        flow.add(SENSITIVES, flag(statement.sensitive.any()));
        if seen.class == Class::Read
            && let Some(id) = statement.first_number.filter(|_| statement.filtered)
        {
            flow.add(LOOKUPS, 1.0);
            let steps_on = self.last_id.is_some_and(|last| id > last && id.abs_diff(last) <= MAX_STEP);
            flow.add(STEPS, flag(steps_on));
            self.run = if steps_on { self.run.saturating_add(1) } else { 0 };
            self.last_id = Some(id);
        }
    }

    /// Rows, durations and gaps against what is usual for this principal.
    fn write_usual(&mut self, seen: &Observation<'_>, row: &mut impl Row) {
        let statement = seen.statement.is_some() && !seen.outcome.failed();
        let rows_off = if statement { self.rows.observe(libm::log1pf(wide(seen.rows))) } else { 0.0 };
        let duration = seen.duration.filter(|_| statement);
        let duration_off = duration.map_or(0.0, |micros| self.durations.observe(libm::log1pf(wide(micros))));
        row.put("principal_rows_off", rows_off);
        row.put("principal_duration_off", duration_off);
        row.put("principal_id_run", log(f32::from(self.run), 50.0));
    }

    fn write_rates(&self, row: &mut impl Row) {
        use Window::{Day, Hour, Minute, TenMinutes};
        let rate = |quantity, window, top| log(self.flow.get(quantity, window), top);
        row.put("principal_events_1m", rate(EVENTS, Minute, 100.0));
        row.put("principal_events_1h", rate(EVENTS, Hour, 1e4));
        row.put("principal_events_1d", rate(EVENTS, Day, 1e5));
        row.put("principal_failures_10m", rate(FAILURES, TenMinutes, 100.0));
        row.put("principal_failures_1h", rate(FAILURES, Hour, 100.0));
        row.put("principal_failures_1d", rate(FAILURES, Day, 100.0));
        row.put("principal_rows_10m", rate(ROWS, TenMinutes, 1e6));
        row.put("principal_rows_1h", rate(ROWS, Hour, 1e6));
        row.put("principal_bulk_1h", bulk(self.flow.get(ROWS, Hour)));
        row.put("principal_rows_1d", rate(ROWS, Day, 1e7));
        row.put("principal_tables_1h", rate(TABLES, Hour, 50.0));
        row.put("principal_shapes_10m", rate(SHAPES, TenMinutes, 100.0));
        row.put("principal_shapes_1h", rate(SHAPES, Hour, 100.0));
        row.put("principal_new_shapes_10m", rate(NEW_SHAPES, TenMinutes, 100.0));
        row.put("principal_new_shapes_1h", rate(NEW_SHAPES, Hour, 100.0));
        row.put("principal_odd_1m", rate(ODDITIES, Minute, 100.0));
        row.put("principal_odd_10m", rate(ODDITIES, TenMinutes, 100.0));
        row.put("principal_odd_1h", rate(ODDITIES, Hour, 100.0));
        row.put("principal_catalogs_1h", rate(CATALOGS, Hour, 100.0));
        row.put("principal_sensitive_1h", rate(SENSITIVES, Hour, 100.0));
        row.put("principal_sensitive_1d", rate(SENSITIVES, Day, 1e3));
        row.put("principal_id_steps_10m", rate(STEPS, TenMinutes, 100.0));
        row.put("principal_id_steps_1h", rate(STEPS, Hour, 100.0));
        row.put("principal_id_steps_1d", rate(STEPS, Day, 1e3));
        row.put("principal_id_step_share", self.share(STEPS, LOOKUPS, Hour));
    }

    /// The share of `part` in `whole`, drawn towards 0 while there is little.
    fn share(&self, part: usize, whole: usize, window: Window) -> f32 {
        self.flow.get(part, window) / (self.flow.get(whole, window) + 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_does_not_surprise_and_the_unusual_does() {
        let mut usual = Usual::default();
        for n in 0_u8..100 {
            let strange = usual.observe(3.0 + f32::from(n % 3) * 0.1);
            assert!(strange.abs() < 0.5, "{n}: {strange}");
        }
        assert!(usual.observe(10.0) > 0.9);
        assert!(usual.observe(0.0) < -0.5);
    }
}
