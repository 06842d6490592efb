//! What came from an address, and what the whole site meets, lately: for credential stuffing and automated injection.

use super::flow::{Flow, Window};
use super::memory::Memory;
use super::novelty::Novelty;
use super::observation::Observation;
use super::operation::{Class, Outcome};
use super::scale::{flag, log};
use super::vector::Row;

const EVENTS: usize = 0;
const FAILURES: usize = 1;
const LOG_INS: usize = 2;
const REJECTIONS: usize = 3;
const PRINCIPALS: usize = 4;
const ODDITIES: usize = 5;
const QUANTITIES: usize = 6;

type PlaceFlow = Flow<QUANTITIES>;

/// All addresses, and the site as a whole.
pub(super) struct Places {
    addresses: Memory<u64, PlaceFlow>,
    site: PlaceFlow,
}

impl Places {
    /// Remembers at most `capacity` addresses.
    pub(super) fn new(capacity: usize) -> Self {
        Self { addresses: Memory::new(capacity), site: PlaceFlow::default() }
    }

    /// Writes the features of the event's address and of the site as of this event, which counts too.
    pub(super) fn observe(&mut self, seen: &Observation<'_>, novelty: &Novelty, row: &mut impl Row) {
        let address = self.addresses.recall(seen.address);
        count(address, seen, novelty);
        count(&mut self.site, seen, novelty);
        row.put("address_outside", flag(seen.from_outside));
        write_address(address, row);
        write_site(&self.site, row);
    }
}

fn count(flow: &mut PlaceFlow, seen: &Observation<'_>, novelty: &Novelty) {
    flow.advance(seen.at);
    flow.add(EVENTS, 1.0);
    flow.add(FAILURES, flag(seen.outcome.failed()));
    flow.add(LOG_INS, flag(seen.class == Class::LogIn));
    flow.add(REJECTIONS, flag(seen.class == Class::LogInFailed || seen.outcome == Outcome::NotAuthenticated));
    flow.add(PRINCIPALS, flag(novelty.principal_new_at_address));
    flow.add(ODDITIES, flag(seen.odd()));
}

fn write_address(flow: &PlaceFlow, row: &mut impl Row) {
    use Window::{Day, Hour, Minute, TenMinutes};
    let rate = |quantity, window, top| log(flow.get(quantity, window), top);
    row.put("address_events_1m", rate(EVENTS, Minute, 100.0));
    row.put("address_events_1d", rate(EVENTS, Day, 1e5));
    row.put("address_failures_1h", rate(FAILURES, Hour, 100.0));
    row.put("address_log_ins_1m", rate(LOG_INS, Minute, 50.0));
    row.put("address_rejections_10m", rate(REJECTIONS, TenMinutes, 100.0));
    row.put("address_rejections_1d", rate(REJECTIONS, Day, 100.0));
    row.put("address_principals_10m", rate(PRINCIPALS, TenMinutes, 50.0));
    row.put("address_principals_1d", rate(PRINCIPALS, Day, 50.0));
    row.put("address_odd_10m", rate(ODDITIES, TenMinutes, 100.0));
}

fn write_site(flow: &PlaceFlow, row: &mut impl Row) {
    use Window::{Hour, Minute, TenMinutes};
    let rate = |quantity, window, top| log(flow.get(quantity, window), top);
    row.put("site_events_1m", rate(EVENTS, Minute, 1e3));
    row.put("site_log_ins_1m", rate(LOG_INS, Minute, 100.0));
    row.put("site_rejections_10m", rate(REJECTIONS, TenMinutes, 100.0));
    row.put("site_rejections_1h", rate(REJECTIONS, Hour, 100.0));
    row.put("site_odd_1m", rate(ODDITIES, Minute, 100.0));
    row.put("site_odd_10m", rate(ODDITIES, TenMinutes, 100.0));
}
