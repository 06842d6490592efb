//! Data is scrambled and deleted, and a note asks for money (T1485, T1486).

use crate::range::site::Account;
use crate::range::transcript::{Transcript, sqlstate};

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let site = transcript.site;
    let owner = if transcript.draw.chance(50) { site.admin(transcript.draw) } else { site.service("web", 10, "") };
    let ip = site.foothold(transcript.draw);
    transcript.login(&Account { ip, ..owner });
    transcript.wait(20, 60);
    transcript.select("SELECT count(*) FROM customers", 1, 17_000);
    scramble(transcript);
    for sql in ["DELETE FROM orders WHERE id % 3 = 0", "TRUNCATE tickets", "DROP TABLE cards"] {
        transcript.wait(20, 60);
        transcript.refused(sql, sqlstate::INSUFFICIENT_PRIVILEGE);
    }
    transcript.wait(20, 60);
    let note = "BEGIN; CREATE TABLE readme_to_recover(note text); \
                INSERT INTO readme_to_recover VALUES ('send 0.1 BTC'); COMMIT";
    transcript.run("BEGIN", note, 0, 3000);
    transcript.run("CREATE TABLE", note, 0, 3000);
    transcript.refused(note, sqlstate::FAILED_TRANSACTION);
    transcript.logout();
}

fn scramble(transcript: &mut Transcript<'_>) {
    let rows = transcript.draw.between(4000, 9000);
    let from = transcript.draw.below(transcript.site.profile.customers - rows);
    let sql = format!(
        "UPDATE customers SET full_name = md5(full_name), email = md5(email) WHERE id BETWEEN {from} AND {}",
        from + rows - 1
    );
    transcript.wait(10, 40);
    transcript.run("UPDATE", &sql, rows, 250_000);
}
