//! Who is invited to a round: a fair draw that anybody can repeat, in which those who are there come first.

use std::collections::BTreeSet;

use shared::task::Task;
use shared::{Digest, ParticipantId, RoundNumber};
use shared_crypto::DigestWriter;

/// As many of the task's cohort as its participation terms say. The root participant, if there is one, is always among
/// them; the others are drawn by the order of the digests of seed, round and id.
pub(crate) fn invited(
    task: &Task,
    number: RoundNumber,
    is_present: impl Fn(&ParticipantId) -> bool,
) -> BTreeSet<ParticipantId> {
    let count = task.participation.invited(task.cohort.len());
    if count >= task.cohort.len() {
        return task.cohort.clone();
    }
    let root = task.root();
    let mut drawn: Vec<_> = task.cohort.iter().collect();
    drawn.sort_by_cached_key(|id| (root.as_ref() != Some(*id), !is_present(id), lot(task.seed, number, id)));
    drawn.into_iter().take(count).cloned().collect()
}

fn lot(seed: u64, number: RoundNumber, participant_id: &ParticipantId) -> Digest {
    let mut writer = DigestWriter::new();
    writer.update(&seed.to_be_bytes());
    writer.update(&number.0.to_be_bytes());
    writer.update(participant_id.as_str().as_bytes());
    writer.finish()
}

#[cfg(test)]
mod tests {
    use shared::participation::Participation;

    use super::*;

    fn task(goal: u32) -> Task {
        let cohort = (0..100).map(|index| ParticipantId::new(format!("s{index}")).unwrap()).collect();
        let participation = Participation { goal: Some(goal), over_selection: 1.5, ..Participation::default() };
        Task { cohort, participation, ..crate::testing::task() }
    }

    #[test]
    fn each_round_draws_anew_and_the_same_round_the_same() {
        let task = task(20);
        let draw = |number| invited(&task, RoundNumber(number), |_| true);
        assert_eq!((draw(1).len(), draw(1)), (30, draw(1)));
        assert_ne!(draw(1), draw(2));
        let ever: BTreeSet<_> = (1..=20).flat_map(draw).collect();
        assert_eq!(ever.len(), 100, "nobody is left out for ever");
    }

    #[test]
    fn those_who_are_there_come_first() {
        let task = task(20);
        let present: BTreeSet<_> = task.cohort.iter().take(25).cloned().collect();
        let invited = invited(&task, RoundNumber(1), |id| present.contains(id));
        assert!(invited.is_superset(&present));
    }

    #[test]
    fn without_a_goal_everybody_is_invited() {
        let task = Task { participation: Participation::default(), ..task(20) };
        assert_eq!(invited(&task, RoundNumber(1), |_| false), task.cohort);
    }
}
