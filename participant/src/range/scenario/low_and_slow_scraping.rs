//! A clerk's account walks through the customers one by one, at a clerk's pace (T1213). No single event is odd: the
//! numbers follow each other, and the full card number is asked for where clerks read four digits.

use crate::range::transcript::Transcript;

pub(super) fn strike(transcript: &mut Transcript<'_>) {
    let clerk = transcript.site.clerk(transcript.draw);
    let mut customer = transcript.draw.below(transcript.site.profile.customers / 2);
    transcript.login(&clerk);
    for _ in 0..transcript.draw.between(60, 120) {
        transcript.wait(15, 60);
        customer += transcript.draw.between(1, 2);
        if transcript.draw.chance(50) {
            transcript.select(&format!("SELECT * FROM customers WHERE id = {customer}"), 1, 300);
        } else {
            transcript.select(&format!("SELECT pan, exp FROM cards WHERE customer_id = {customer}"), 1, 300);
        }
    }
    transcript.logout();
}
