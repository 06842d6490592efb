//! Somebody who has got in asks what there is: tables, columns, roles, settings, and which doors are open
//! (T1087, T1082).

use crate::range::pg_dump::TABLES;
use crate::range::site::Account;
use crate::range::transcript::{Transcript, sqlstate};

/// What a clerk or analyst may not read.
const CLOSED: [&str; 4] = ["employees", "api_keys", "sessions", "daily_stats"];

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let site = transcript.site;
    let person = if transcript.draw.chance(50) { site.clerk(transcript.draw) } else { site.analyst(transcript.draw) };
    let ip = if transcript.draw.chance(50) { site.foothold(transcript.draw) } else { person.ip.clone() };
    let application = transcript.draw.pick(&["psql", "DBeaver", "python"]).to_owned();
    transcript.login(&Account { ip, application, ..person });
    for _ in 0..transcript.draw.between(20, 45) {
        transcript.wait(2, 20);
        look_around(transcript);
    }
    transcript.logout();
}

fn look_around(transcript: &mut Transcript<'_>) {
    let (table, columns) = transcript.draw.pick(TABLES);
    let closed = CLOSED.contains(&table);
    match transcript.draw.below(9) {
        0 => transcript.select("SELECT inet_server_addr(), inet_server_port()", 1, 300),
        1 => transcript.select("SELECT name, setting FROM pg_settings WHERE name LIKE '%dir%'", 3, 1000),
        2 => transcript.select("SELECT rolname FROM pg_roles WHERE rolcanlogin", 112, 300),
        3 => transcript.select("SELECT datname FROM pg_database", 9, 300),
        4 => {
            let sql = format!("SELECT has_table_privilege(current_user, '{table}', 'SELECT')");
            transcript.select(&sql, 1, 100);
        }
        5 => {
            let sql = format!("SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0");
            let known = columns.split(", ").map(|_| 1).sum();
            transcript.select(&sql, known, 500);
        }
        6 => transcript.refused("SELECT pg_ls_dir('.')", sqlstate::INSUFFICIENT_PRIVILEGE),
        7 => knock(transcript, &format!("SELECT count(*) FROM {table}"), closed),
        _ => knock(transcript, &format!("SELECT * FROM {table} LIMIT 1"), closed),
    }
}

fn knock(transcript: &mut Transcript<'_>, sql: &str, closed: bool) {
    if closed {
        transcript.refused(sql, sqlstate::INSUFFICIENT_PRIVILEGE);
    } else {
        transcript.select(sql, 1, 2000);
    }
}
