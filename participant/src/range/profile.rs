//! What makes one site unlike another: its size, its people, its hours.

use shared::Timestamp;

/// 2026-03-02T00:00:00Z, a Monday.
const FIRST_MONDAY: i64 = 1_772_409_600_000_000;

/// Sizes, staff and rhythm of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteProfile {
    /// The site's name; it begins every account's name.
    pub name: String,
    /// Name of its database.
    pub database: String,
    /// Third byte of its private addresses.
    pub subnet: u8,
    /// Midnight of the first day in UTC. It should be a Monday, because the week begins there.
    pub start: Timestamp,
    /// Hours by which local time is ahead of UTC.
    pub utc_offset_hours: i8,
    /// Local hour at which the staff's day begins.
    pub opens_at: u64,
    /// Statements of the web application on a weekday.
    pub web_statements: u64,
    /// Percent of that on a Saturday or Sunday.
    pub weekend_percent: u64,
    /// Rows of `customers`.
    pub customers: u64,
    /// Rows of `orders`.
    pub orders: u64,
    /// Clerks who look up one customer at a time.
    pub support: u64,
    /// Analysts with queries of their own.
    pub analysts: u64,
    /// Database administrators.
    pub admins: u64,
}

impl SiteProfile {
    /// Site `n` of five unlike ones (retail, bank, clinic, software service, logistics), which come again under other
    /// names and addresses from the sixth on.
    pub fn example(n: u8) -> Self {
        let site = match n % 5 {
            0 => Self::retail(),
            1 => Self::bank(),
            2 => Self::clinic(),
            3 => Self::software(),
            _ => Self::logistics(),
        };
        let name = if n < 5 { site.name } else { format!("{}{}", site.name, n / 5 + 1) };
        Self { name, subnet: n.saturating_add(1), ..site }
    }

    fn retail() -> Self {
        Self {
            name: "shop".to_owned(),
            database: "retail".to_owned(),
            subnet: 1,
            start: Timestamp::from_micros(FIRST_MONDAY),
            utc_offset_hours: 1,
            opens_at: 9,
            web_statements: 1100,
            weekend_percent: 80,
            customers: 40_000,
            orders: 120_000,
            support: 6,
            analysts: 5,
            admins: 2,
        }
    }

    fn bank() -> Self {
        Self {
            name: "bank".to_owned(),
            database: "bank".to_owned(),
            utc_offset_hours: 0,
            opens_at: 8,
            web_statements: 1000,
            weekend_percent: 30,
            customers: 60_000,
            orders: 200_000,
            support: 7,
            analysts: 6,
            ..Self::retail()
        }
    }

    fn clinic() -> Self {
        Self {
            name: "clinic".to_owned(),
            database: "clinic".to_owned(),
            utc_offset_hours: 2,
            opens_at: 7,
            web_statements: 600,
            weekend_percent: 45,
            customers: 20_000,
            orders: 60_000,
            support: 5,
            analysts: 3,
            ..Self::retail()
        }
    }

    fn software() -> Self {
        Self {
            name: "saas".to_owned(),
            database: "saas".to_owned(),
            utc_offset_hours: -5,
            opens_at: 10,
            web_statements: 1200,
            weekend_percent: 60,
            customers: 30_000,
            orders: 90_000,
            support: 4,
            ..Self::retail()
        }
    }

    fn logistics() -> Self {
        Self {
            name: "freight".to_owned(),
            database: "logistics".to_owned(),
            utc_offset_hours: 8,
            opens_at: 6,
            web_statements: 700,
            weekend_percent: 70,
            customers: 15_000,
            orders: 80_000,
            support: 5,
            analysts: 4,
            ..Self::retail()
        }
    }
}
