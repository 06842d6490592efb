//! A site's accounts, addresses and calendar, as its profile sets them.

use shared::Timestamp;

use super::draw::Draw;
use super::profile::SiteProfile;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Someone or something that logs in.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Account {
    /// The database role.
    pub(super) name: String,
    /// Where it usually connects from.
    pub(super) ip: String,
    /// Its usual client program.
    pub(super) application: String,
}

/// The unchanging part of a site.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) profile: SiteProfile,
}

impl Site {
    /// Seconds after local midnight of `day`, as an instant.
    pub(super) fn at(&self, day: u32, seconds: u64) -> Timestamp {
        let elapsed = i64::try_from(u64::from(day) * DAY + seconds).unwrap_or(i64::MAX / 2_000_000);
        let utc = elapsed - i64::from(self.profile.utc_offset_hours) * 3600;
        Timestamp::from_micros(self.profile.start.as_micros() + utc * 1_000_000)
    }

    /// An instant within the staff's ten hours of `day`.
    pub(super) fn office_time(&self, day: u32, draw: &mut Draw) -> Timestamp {
        let opens = self.profile.opens_at * HOUR;
        self.at(day, draw.between(opens, opens + 8 * HOUR))
    }

    /// Any instant of `day`.
    pub(super) fn any_time(&self, day: u32, draw: &mut Draw) -> Timestamp {
        self.at(day, draw.below(DAY))
    }

    /// Whether `day` is a Saturday or Sunday.
    pub(super) fn is_weekend(day: u32) -> bool {
        day % 7 >= 5
    }

    /// The service account `role`, such as `web`, on its machine.
    pub(super) fn service(&self, role: &str, host: u64, application: &str) -> Account {
        let ip = format!("10.20.{}.{host}", self.profile.subnet);
        Account { name: format!("{}_{role}", self.profile.name), ip, application: application.to_owned() }
    }

    /// Person `n` of a role at their desk; `application` is the program they work with.
    pub(super) fn person(&self, role: &str, n: u64, desk: u64, application: &str) -> Account {
        let name = format!("{}_{role}{}", self.profile.name, n + 1);
        Account { name, ip: self.desk(desk + n), application: application.to_owned() }
    }

    /// One of the clerks, with their customer program.
    pub(super) fn clerk(&self, draw: &mut Draw) -> Account {
        self.person("support", draw.below(self.profile.support), 100, "crm")
    }

    /// One of the analysts, with a client program of the day.
    pub(super) fn analyst(&self, draw: &mut Draw) -> Account {
        let application = draw.pick(&["psql", "DBeaver", "python"]);
        self.person("analyst", draw.below(self.profile.analysts), 50, application)
    }

    /// One of the administrators.
    pub(super) fn admin(&self, draw: &mut Draw) -> Account {
        self.person("dba", draw.below(self.profile.admins), 40, "psql")
    }

    /// An address of the staff's network.
    pub(super) fn desk(&self, host: u64) -> String {
        format!("10.30.{}.{host}", self.profile.subnet)
    }

    /// Where an intruder connects from: mostly outside, at times a machine of the staff's network that nobody uses.
    pub(super) fn foothold(&self, draw: &mut Draw) -> String {
        if draw.chance(40) { self.desk(draw.between(205, 239)) } else { outside(draw) }
    }
}

/// An address of the internet (the documentation ranges of RFC 5737).
pub(super) fn outside(draw: &mut Draw) -> String {
    let network = draw.pick(&["192.0.2", "198.51.100", "203.0.113"]);
    format!("{network}.{}", draw.between(2, 254))
}
