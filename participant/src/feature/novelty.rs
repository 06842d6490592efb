//! First meetings: a principal with an address, a program, a table, a kind of statement. For stolen credentials, new
//! tools in old hands, reconnaissance and injection.

use super::observation::Observation;
use super::relation::Relation;
use super::scale::{DAY, HOUR, age, surprise};
use super::vector::Row;

/// One principal or address per site, so that `SITE` pairs with everything.
const SITE: u64 = 0;

/// What the rest of the engine needs to know of this event's novelty.
pub(super) struct Novelty {
    /// The principal has not used this shape within the hour.
    pub(super) shape_new_this_hour: bool,
    /// The principal has never used this shape.
    pub(super) shape_new: bool,
    /// How many of the event's tables the principal has not touched within the hour.
    pub(super) tables_new_this_hour: u16,
    /// The address has not been used by this principal within the day.
    pub(super) principal_new_at_address: bool,
    /// The principal has never come from this address.
    pub(super) address_surprise: f32,
    /// The principal has never used this program.
    pub(super) application_surprise: f32,
}

/// Memories of pairs.
pub(super) struct Novelties {
    principals: Relation,
    addresses: Relation,
    networks: Relation,
    applications: Relation,
    operations: Relation,
    tables: Relation,
    shapes: Relation,
    transitions: Relation,
    site_shapes: Relation,
    site_tables: Relation,
    table_users: Relation,
    visitors: Relation,
}

impl Novelties {
    /// Each memory holds at most `capacity` pairs.
    pub(super) fn new(capacity: usize) -> Self {
        let relation = || Relation::new(capacity);
        Self {
            principals: relation(),
            addresses: relation(),
            networks: relation(),
            applications: relation(),
            operations: relation(),
            tables: relation(),
            shapes: relation(),
            transitions: relation(),
            site_shapes: relation(),
            site_tables: relation(),
            table_users: relation(),
            visitors: relation(),
        }
    }

    /// Writes what is new in this event, then remembers it. `previous_shape` is the principal's last one.
    pub(super) fn observe(&mut self, seen: &Observation<'_>, previous_shape: u64, row: &mut impl Row) -> Novelty {
        let Observation { at, principal, address, .. } = *seen;
        let shape = seen.shape();
        let site_principal = self.principals.meet(SITE, principal, at);
        let from = self.addresses.meet(principal, address, at);
        let network = self.networks.meet(principal, seen.network, at);
        let operation = self.operations.meet(principal, seen.operation, at);
        let own_shape = self.shapes.meet(principal, shape, at);
        let site_shape = self.site_shapes.meet(SITE, shape, at);
        let transition = self.transitions.meet(principal, previous_shape.rotate_left(17) ^ shape, at);
        let visitor = self.visitors.meet(address, principal, at);
        let application = seen.application.map(|application| self.applications.meet(principal, application, at));
        row.put("new_principal", surprise(site_principal.count, site_principal.total));
        row.put("principal_known", age(site_principal.known_for));
        from.write(["new_address", "address_known"], row);
        network.write(["new_network", "network_known"], row);
        row.put("new_visitor", visitor.surprise());
        application.unwrap_or_default().write(["new_application", "application_known"], row);
        operation.write(["new_operation", "operation_known"], row);
        own_shape.write(["new_shape", "shape_known"], row);
        site_shape.write(["new_site_shape", "site_shape_known"], row);
        row.put("new_transition", transition.surprise());
        let tables_new_this_hour = self.meet_tables(seen, row);
        Novelty {
            shape_new_this_hour: own_shape.is_new_within(HOUR),
            shape_new: own_shape.count == 0,
            tables_new_this_hour,
            principal_new_at_address: visitor.is_new_within(DAY),
            address_surprise: from.surprise(),
            application_surprise: application.map_or(0.0, |met| met.surprise()),
        }
    }

    /// Of several tables the strangest one counts.
    fn meet_tables(&mut self, seen: &Observation<'_>, row: &mut impl Row) -> u16 {
        let mut strangest = [0.0_f32; 3];
        let mut new_this_hour = 0;
        for table in seen.tables.iter().flatten() {
            let own = self.tables.meet(seen.principal, *table, seen.at);
            let site = self.site_tables.meet(SITE, *table, seen.at);
            let user = self.table_users.meet(*table, seen.principal, seen.at);
            for (most, met) in strangest.iter_mut().zip([own, site, user]) {
                *most = most.max(met.surprise());
            }
            new_this_hour += u16::from(own.is_new_within(HOUR));
        }
        let [own, site, user] = strangest;
        row.put("new_table", own);
        row.put("new_site_table", site);
        row.put("new_table_user", user);
        new_this_hour
    }
}
