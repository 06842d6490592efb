//! The machines' share of a site's traffic: web application, dashboard, nightly load, nightly backup.

use super::pg_dump;
use super::site::Site;
use super::statement::{Rows, Statement, issue};
use super::transcript::Transcript;

const HOUR: u64 = 3600;

/// Share of the web traffic by local hour, from midnight.
const DAY_CURVE: [u64; 24] = [4, 3, 3, 3, 3, 4, 6, 10, 16, 22, 24, 26, 26, 25, 24, 23, 22, 20, 18, 16, 14, 11, 8, 5];

const WEB: &[Statement] = &[
    Statement {
        weight: 33,
        operation: "SELECT",
        sql: "SELECT id, name, price FROM products WHERE category = {category} LIMIT 20",
        rows: Rows::Exactly(20),
        micros: 300,
    },
    Statement {
        weight: 20,
        operation: "SELECT",
        sql: "SELECT id, name, price, descr FROM products WHERE id = {product}",
        rows: Rows::Exactly(1),
        micros: 200,
    },
    Statement {
        weight: 15,
        operation: "SELECT",
        sql: "SELECT id, full_name, email, tier FROM customers WHERE id = {customer}",
        rows: Rows::Exactly(1),
        micros: 250,
    },
    Statement {
        weight: 10,
        operation: "SELECT",
        sql: "SELECT id, amount, status FROM orders WHERE customer_id = {customer} ORDER BY id DESC LIMIT 10",
        rows: Rows::Between(2, 4),
        micros: 300,
    },
    Statement {
        weight: 6,
        operation: "INSERT",
        sql: "INSERT INTO orders(id, customer_id, amount, status, created_at, product_id) \
              VALUES ({new_order}, {customer}, {cents}, 'new', now(), {product})",
        rows: Rows::Exactly(1),
        micros: 350,
    },
    Statement {
        weight: 8,
        operation: "INSERT",
        sql: "INSERT INTO sessions(customer_id, token) VALUES ({customer}, '{token}')",
        rows: Rows::Exactly(1),
        micros: 250,
    },
    Statement {
        weight: 4,
        operation: "UPDATE",
        sql: "UPDATE customers SET phone = '+{phone}' WHERE id = {customer}",
        rows: Rows::Exactly(1),
        micros: 350,
    },
    Statement {
        weight: 2,
        operation: "SELECT",
        sql: "SELECT id, name FROM products WHERE name LIKE '%{category}%' LIMIT 50",
        rows: Rows::Between(30, 50),
        micros: 500,
    },
    Statement {
        weight: 2,
        operation: "SELECT",
        sql: "SELECT pan, exp FROM cards WHERE customer_id = {customer}",
        rows: Rows::Exactly(1),
        micros: 300,
    },
];

const DASHBOARD: &[Statement] = &[
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT status, count(*), sum(amount) FROM orders GROUP BY status",
        rows: Rows::Exactly(5),
        micros: 150_000,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT p.category, sum(o.amount) FROM orders o JOIN products p ON p.id = o.product_id GROUP BY 1",
        rows: Rows::Exactly(40),
        micros: 230_000,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT tier, count(*) FROM customers GROUP BY tier",
        rows: Rows::Exactly(4),
        micros: 45_000,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT region, count(*) FROM customers GROUP BY region ORDER BY 2 DESC",
        rows: Rows::Exactly(50),
        micros: 45_000,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT date_trunc('day', created_at), count(*) FROM orders GROUP BY 1 ORDER BY 1 DESC LIMIT 30",
        rows: Rows::Exactly(30),
        micros: 200_000,
    },
];

/// Extracts of a tenth or a fifth of a table: bulk reads, and quite in order.
const LOAD: &[Statement] = &[
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT * FROM customers WHERE id % 10 = {part}",
        rows: Rows::CustomersOver(10),
        micros: 13_000,
    },
    Statement {
        weight: 1,
        operation: "COPY",
        sql: "COPY (SELECT * FROM customers WHERE id % 10 = {part}) TO STDOUT",
        rows: Rows::CustomersOver(10),
        micros: 18_000,
    },
    Statement {
        weight: 1,
        operation: "SELECT",
        sql: "SELECT * FROM orders WHERE id % 10 = {part}",
        rows: Rows::OrdersOver(10),
        micros: 35_000,
    },
    Statement {
        weight: 2,
        operation: "COPY",
        sql: "COPY (SELECT * FROM orders WHERE id % 10 = {part}) TO STDOUT",
        rows: Rows::OrdersOver(10),
        micros: 60_000,
    },
    Statement {
        weight: 2,
        operation: "COPY",
        sql: "COPY (SELECT * FROM tickets WHERE id % 10 = {part}) TO STDOUT",
        rows: Rows::Exactly(1000),
        micros: 4000,
    },
];

/// One session of the web application in each hour, busier by day.
pub(super) fn web(day: u32, transcript: &mut Transcript<'_>) {
    let profile = &transcript.site.profile;
    let percent = if Site::is_weekend(day) { profile.weekend_percent } else { 100 };
    let whole_day = profile.web_statements * percent / 100;
    for (hour, share) in (0..).zip(DAY_CURVE) {
        let statements = whole_day * share / DAY_CURVE.iter().sum::<u64>();
        let account = transcript.site.service("web", transcript.draw.between(10, 12), "gunicorn");
        transcript.go_to(transcript.site.at(day, hour * HOUR));
        transcript.wait(1, 120);
        transcript.login(&account);
        for _ in 0..statements {
            transcript.wait(0, 2 * (HOUR - 240) / (statements + 2));
            issue(transcript, WEB);
        }
        transcript.logout();
    }
}

/// The dashboard refreshes four of its reports every hour, day and night. From the fifth day on it has a new one.
pub(super) fn dashboard(day: u32, transcript: &mut Transcript<'_>) {
    let account = transcript.site.service("report", 21, "Metabase");
    for hour in 0..24 {
        transcript.go_to(transcript.site.at(day, hour * HOUR + 300));
        transcript.login(&account);
        for _ in 0..4 {
            transcript.wait(3, 9);
            issue(transcript, DASHBOARD);
        }
        if day >= 4 && hour % 6 == 0 {
            let sql = "SELECT c.region, c.tier, sum(o.amount) FROM orders o JOIN customers c ON c.id = o.customer_id \
                       WHERE o.status = 'returned' GROUP BY 1, 2";
            transcript.select(sql, 200, 300_000);
        }
        transcript.logout();
    }
}

/// The load into the warehouse, at two in the night.
pub(super) fn load(day: u32, transcript: &mut Transcript<'_>) {
    let account = transcript.site.service("etl", 20, "airflow");
    transcript.go_to(transcript.site.at(day, 2 * HOUR));
    transcript.wait(0, 600);
    transcript.login(&account);
    for _ in 0..transcript.draw.between(3, 5) {
        transcript.wait(20, 90);
        issue(transcript, LOAD);
    }
    transcript.wait(20, 90);
    let day = format!("2026-03-{:02}", day % 28 + 1);
    transcript.run("DELETE", &format!("DELETE FROM daily_stats WHERE day = '{day}'"), 0, 500);
    let insert = format!("INSERT INTO daily_stats SELECT '{day}', status, sum(amount) FROM orders GROUP BY status");
    transcript.run("INSERT", &insert, 5, 55_000);
    transcript.logout();
}

/// The nightly backup with pg_dump, at three: every table leaves the server, and quite in order.
pub(super) fn backup(day: u32, transcript: &mut Transcript<'_>) {
    let account = transcript.site.service("backup", 22, "pg_dump");
    transcript.go_to(transcript.site.at(day, 3 * HOUR));
    transcript.wait(0, 300);
    pg_dump::run(transcript, &account, pg_dump::TABLES);
}
