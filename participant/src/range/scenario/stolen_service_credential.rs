//! A service's password in a person's hands: another machine, another client, questions no service asks (T1078).

use crate::range::site::Account;
use crate::range::transcript::{Transcript, sqlstate};

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let site = transcript.site;
    let role = transcript.draw.pick(&["web", "report", "etl"]);
    let service = site.service(role, 0, transcript.draw.pick(&["psql", "DBeaver", ""]));
    let ip = site.foothold(transcript.draw);
    transcript.login(&Account { ip, ..service });
    ask(transcript, "SELECT current_user, inet_server_addr()", 1, 500);
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN \
                  ('pg_catalog','information_schema')";
    ask(transcript, tables, 4, 12_000);
    ask(transcript, "SELECT column_name FROM information_schema.columns WHERE table_name = 'customers'", 8, 25_000);
    ask(transcript, "SELECT count(*) FROM customers", 1, 17_000);
    refused(transcript, "SELECT * FROM api_keys");
    refused(transcript, "SELECT * FROM employees");
    ask(transcript, "SELECT id, full_name, email FROM customers ORDER BY id LIMIT 5000", 5000, 15_000);
    ask(transcript, "SELECT id, full_name, email FROM customers ORDER BY id LIMIT 5000 OFFSET 5000", 5000, 15_000);
    transcript.wait(20, 70);
    transcript.copy_query("SELECT * FROM orders", site.profile.orders, 200_000);
    refused(transcript, "SELECT pan, exp FROM cards LIMIT 10000");
    transcript.logout();
}

fn ask(transcript: &mut Transcript<'_>, sql: &str, rows: u64, micros: u64) {
    transcript.wait(10, 90);
    transcript.select(sql, rows, micros);
}

fn refused(transcript: &mut Transcript<'_>, sql: &str) {
    transcript.wait(10, 90);
    transcript.refused(sql, sqlstate::INSUFFICIENT_PRIVILEGE);
}
