//! Passwords leaked elsewhere are tried on every account that can be guessed; now and then one fits (T1110.004).

use crate::range::site::{Account, outside};
use crate::range::transcript::Transcript;

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let addresses: Vec<String> = (0..4).map(|_| outside(transcript.draw)).collect();
    for _ in 0..transcript.draw.between(60, 120) {
        transcript.wait(0, 12);
        let ip = transcript.draw.pick(&addresses);
        let target = target(transcript, ip);
        if transcript.draw.chance(1) {
            transcript.login(&target);
            transcript.wait(1, 5);
            transcript.select("SELECT current_user", 1, 300);
            transcript.logout();
        } else {
            transcript.fail_login(&target);
        }
    }
}

fn target(transcript: &mut Transcript<'_>, ip: String) -> Account {
    let (site, draw) = (transcript.site, &mut *transcript.draw);
    let name = match draw.below(5) {
        0 => site.clerk(draw).name,
        1 => site.analyst(draw).name,
        2 => site.admin(draw).name,
        3 => format!("{}_{}", site.profile.name, draw.pick(&["admin", "root", "test", "app", "sa"])),
        _ => draw.pick(&["postgres", "admin", "root", "replicator"]).to_owned(),
    };
    Account { name, ip, application: String::new() }
}
