//! The people's share of a site's traffic: clerks, analysts, administrators, and what is odd about them but harmless.

use super::site::{Account, Site};
use super::statement::{Rows, Statement, issue};
use super::transcript::{Transcript, sqlstate};

const CLERK: &[Statement] = &[
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT * FROM orders WHERE customer_id = {customer}",
        rows: Rows::Between(2, 4),
        micros: 450,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT * FROM customers WHERE email = 'user{customer}@example.org'",
        rows: Rows::Exactly(1),
        micros: 350,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT * FROM customers WHERE id = {customer}",
        rows: Rows::Exactly(1),
        micros: 300,
    },
    Statement {
        weight: 1,
        operation: "UPDATE",
        sql: "UPDATE tickets SET status = 'closed' WHERE id = {ticket}",
        rows: Rows::Exactly(1),
        micros: 350,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT right(pan, 4), exp FROM cards WHERE customer_id = {customer}",
        rows: Rows::Exactly(1),
        micros: 400,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT * FROM tickets WHERE customer_id = {customer}",
        rows: Rows::Between(0, 1),
        micros: 1200,
    },
];

const ANALYST: &[Statement] = &[
    Statement {
        weight: 26,
        operation: "SELECT",
        sql: "SELECT count(*) FROM orders WHERE created_at > now() - interval '{days} days'",
        rows: Rows::Exactly(1),
        micros: 95_000,
    },
    Statement {
        weight: 19,
        operation: "SELECT",
        sql: "SELECT id, full_name, tier FROM customers WHERE region = {region} LIMIT {limit}",
        rows: Rows::Limit,
        micros: 6000,
    },
    Statement {
        weight: 13,
        operation: "SELECT",
        sql: "SELECT c.tier, avg(o.amount) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY 1",
        rows: Rows::Exactly(4),
        micros: 400_000,
    },
    Statement {
        weight: 13,
        operation: "SELECT",
        sql: "SELECT * FROM orders WHERE product_id = {product}",
        rows: Rows::Between(58, 62),
        micros: 36_000,
    },
    Statement {
        weight: 9,
        operation: "SELECT",
        sql: "SELECT * FROM orders WHERE status = 'returned' LIMIT {limit}0",
        rows: Rows::Between(1000, 10_000),
        micros: 15_000,
    },
    Statement {
        weight: 9,
        operation: "SELECT",
        sql: "SELECT category, count(*) FROM products GROUP BY category",
        rows: Rows::Exactly(40),
        micros: 800,
    },
    Statement {
        weight: 5,
        operation: "SELECT",
        sql: "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
        rows: Rows::Between(27, 29),
        micros: 18_000,
    },
];

/// The export of closed books: whole tables, by the people who should.
const MONTH_END: &[Statement] = &[
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT id, customer_id, amount, status FROM orders",
        rows: Rows::OrdersOver(1),
        micros: 190_000,
    },
    Statement {
        weight: 1,
        operation: "COPY",
        sql: "COPY (SELECT id, tier, region FROM customers) TO STDOUT",
        rows: Rows::CustomersOver(1),
        micros: 58_000,
    },
];

const ADMIN: &[Statement] = &[
    Statement {
        weight: 3,
        operation: "SELECT",
        sql: "SELECT count(*) FROM customers",
        rows: Rows::Exactly(1),
        micros: 17_000,
    },
    Statement {
        weight: 3,
        operation: "SELECT",
        sql: "SELECT pg_size_pretty(pg_database_size(current_database()))",
        rows: Rows::Exactly(1),
        micros: 1100,
    },
    Statement {
        weight: 3,
        operation: "SELECT",
        sql: "SELECT relname, n_live_tup FROM pg_stat_user_tables ORDER BY 2 DESC",
        rows: Rows::Between(9, 10),
        micros: 10_000,
    },
    Statement {
        weight: 2,
        operation: "SELECT",
        sql: "SELECT pid, usename, state, query FROM pg_stat_activity",
        rows: Rows::Between(20, 38),
        micros: 1600,
    },
    Statement {
        weight: 2,
        operation: "SELECT",
        sql: "SELECT rolname, rolsuper FROM pg_roles",
        rows: Rows::Between(120, 135),
        micros: 1000,
    },
    Statement {
        weight: 2,
        operation: "GRANT",
        sql: "GRANT SELECT ON products TO report",
        rows: Rows::Exactly(0),
        micros: 500,
    },
    Statement {
        weight: 2,
        operation: "SELECT",
        sql: "SELECT * FROM pg_locks",
        rows: Rows::Between(2, 41),
        micros: 1200,
    },
    Statement { weight: 1, operation: "ANALYZE", sql: "ANALYZE orders", rows: Rows::Exactly(0), micros: 340_000 },
];

/// The clerks' sessions of a day.
pub(super) fn clerks(day: u32, transcript: &mut Transcript<'_>) {
    let everyone = transcript.site.profile.support;
    let sessions = if Site::is_weekend(day) { everyone } else { everyone * 3 };
    in_turn(day, sessions, transcript, |transcript| {
        let clerk = transcript.site.clerk(transcript.draw);
        log_in(transcript, &clerk);
        for _ in 0..transcript.draw.between(4, 16) {
            transcript.wait(5, 90);
            issue(transcript, CLERK);
        }
        transcript.logout();
    });
}

/// The analysts' sessions of a day.
pub(super) fn analysts(day: u32, transcript: &mut Transcript<'_>) {
    let everyone = transcript.site.profile.analysts;
    let sessions = if Site::is_weekend(day) { 1 } else { everyone * 3 / 2 };
    in_turn(day, sessions, transcript, |transcript| {
        let analyst = transcript.site.analyst(transcript.draw);
        explore(transcript, &analyst);
    });
}

/// An analyst who works late, on two days of three.
pub(super) fn late_work(day: u32, transcript: &mut Transcript<'_>) {
    if day % 3 < 2 {
        let analyst = transcript.site.analyst(transcript.draw);
        transcript.go_to(transcript.site.at(day, 21 * 3600));
        transcript.wait(0, 7200);
        explore(transcript, &analyst);
    }
}

/// The month's closing: an analyst exports whole tables, on one day of four.
pub(super) fn month_end(day: u32, transcript: &mut Transcript<'_>) {
    if day % 4 == 1 {
        let analyst = transcript.site.analyst(transcript.draw);
        transcript.go_to_work(day);
        log_in(transcript, &analyst);
        for _ in 0..2 {
            transcript.wait(20, 90);
            issue(transcript, MONTH_END);
        }
        transcript.logout();
    }
}

/// The administrators' sessions of a day.
pub(super) fn admins(day: u32, transcript: &mut Transcript<'_>) {
    let sessions = transcript.draw.between(1, 2);
    in_turn(day, sessions, transcript, |transcript| {
        let admin = transcript.site.admin(transcript.draw);
        log_in(transcript, &admin);
        for _ in 0..transcript.draw.between(3, 8) {
            transcript.wait(10, 120);
            issue(transcript, ADMIN);
        }
        transcript.logout();
    });
}

/// Runs `sessions` at their own times within the office hours of `day`.
fn in_turn(day: u32, sessions: u64, transcript: &mut Transcript<'_>, mut session: impl FnMut(&mut Transcript<'_>)) {
    for _ in 0..sessions {
        transcript.go_to_work(day);
        session(transcript);
    }
}

fn explore(transcript: &mut Transcript<'_>, analyst: &Account) {
    log_in(transcript, analyst);
    for _ in 0..transcript.draw.between(5, 20) {
        transcript.wait(10, 180);
        if transcript.draw.chance(2) {
            transcript.refused("SELECT * FROM cards LIMIT 10", sqlstate::INSUFFICIENT_PRIVILEGE);
        } else {
            issue(transcript, ANALYST);
        }
    }
    transcript.logout();
}

/// Logs in, once in twenty times after a mistyped password.
fn log_in(transcript: &mut Transcript<'_>, account: &Account) {
    while transcript.draw.chance(5) {
        transcript.fail_login(account);
        transcript.wait(4, 20);
    }
    transcript.login(account);
}
