//! An analyst with every right to read takes far more than the work needs (T1213).

use crate::range::site::Account;
use crate::range::statement::REGIONS;
use crate::range::transcript::Transcript;

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let site = transcript.site;
    let analyst = site.analyst(transcript.draw);
    let ip = if transcript.draw.chance(50) { site.desk(transcript.draw.between(150, 155)) } else { analyst.ip.clone() };
    transcript.login(&Account { ip, ..analyst });
    transcript.wait(5, 60);
    transcript.select("SELECT count(*) FROM customers", 1, 17_000);
    for slice in 0..transcript.draw.between(5, 9) {
        transcript.wait(20, 240);
        take(transcript, slice);
    }
    transcript.logout();
}

fn take(transcript: &mut Transcript<'_>, slice: u64) {
    let customers = transcript.site.profile.customers;
    match transcript.draw.below(3) {
        0 => transcript.select("SELECT * FROM customers", customers, 90_000),
        1 => {
            let step = customers / 9;
            let (from, to) = (slice * step, (slice + 1) * step);
            let sql = format!(
                "SELECT id, full_name, email, phone, national_id FROM customers WHERE id BETWEEN {from} AND {to}"
            );
            transcript.select(&sql, step + 1, 5000);
        }
        _ => {
            let region = transcript.draw.between(20, REGIONS - 1);
            let query = format!("SELECT full_name, email, national_id FROM customers WHERE region < {region}");
            transcript.copy_query(&query, customers * region / REGIONS, 50_000);
        }
    }
}
