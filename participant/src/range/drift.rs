//! What changes at a site without being an attack: a newcomer, a migration.

use super::site::Account;
use super::transcript::{Transcript, sqlstate};

/// On the fourth day of a week a contractor gets an account, logs in from a new desk, and meets a closed table.
pub(super) fn newcomer(day: u32, transcript: &mut Transcript<'_>) {
    if day % 7 != 3 {
        return;
    }
    let site = transcript.site;
    let name = format!("{}_tmp{}", site.profile.name, transcript.draw.between(1, 99));
    let admin = site.admin(transcript.draw);
    transcript.go_to_work(day);
    transcript.login(&admin);
    transcript.wait(5, 60);
    transcript.run("CREATE ROLE", &format!("CREATE ROLE {name} LOGIN PASSWORD <REDACTED>"), 0, 17_000);
    transcript.wait(5, 60);
    transcript.run("GRANT", &format!("GRANT SELECT ON products, orders TO {name}"), 0, 400);
    transcript.logout();

    let desk = site.desk(transcript.draw.between(200, 204));
    transcript.wait(600, 3600);
    transcript.login(&Account { name, ip: desk, application: "DBeaver".to_owned() });
    transcript.wait(5, 60);
    transcript.select("SELECT count(*) FROM orders", 1, 50_000);
    transcript.wait(5, 60);
    transcript.refused("SELECT * FROM customers LIMIT 10", sqlstate::INSUFFICIENT_PRIVILEGE);
    transcript.wait(5, 60);
    transcript.select("SELECT * FROM orders WHERE status = 'new' LIMIT 200", 200, 4000);
    transcript.logout();
}

/// Once a week an administrator changes the schema with flyway: DDL and an update of a whole table.
pub(super) fn migration(day: u32, transcript: &mut Transcript<'_>) {
    if day % 7 != 1 {
        return;
    }
    let site = transcript.site;
    let column = format!("prio{}", transcript.draw.below(10));
    let admin = Account { application: "flyway".to_owned(), ..site.admin(transcript.draw) };
    transcript.go_to(site.at(day, 19 * 3600));
    transcript.wait(0, 3600);
    transcript.login(&admin);
    transcript.wait(1, 5);
    transcript.run("ALTER TABLE", &format!("ALTER TABLE tickets ADD COLUMN IF NOT EXISTS {column} int"), 0, 1300);
    transcript.wait(1, 5);
    transcript.run("UPDATE", &format!("UPDATE tickets SET {column} = 0"), 10_000, 300_000);
    transcript.wait(1, 5);
    transcript.run("CREATE INDEX", "CREATE INDEX IF NOT EXISTS idx_orders_status ON orders(status)", 0, 500_000);
    transcript.logout();
}
