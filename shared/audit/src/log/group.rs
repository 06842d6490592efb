//! Group commit: while one write is on its way to the disk, the next group gathers behind it.
//!
//! Whoever finds the queue empty leads the next group: it waits for the write before, takes all that has queued up, and
//! writes it. The others wait until they are settled, so that the queue is never longer than there are threads that append.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::AuditError;

/// A part of a group is written by itself before it exceeds this many bytes.
const MAX_WRITE: usize = 8 * 1024 * 1024;

/// The entries of one call, and what became of them.
pub(super) struct Submission {
    entries: Vec<Vec<u8>>,
    first: OnceLock<Result<u64, AuditError>>,
}

impl Submission {
    pub(super) fn new(entries: Vec<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self { entries, first: OnceLock::new() })
    }

    pub(super) fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Waits until the entries are settled; their indices.
    pub(super) fn wait(&self) -> Result<Range<u64>, AuditError> {
        let first = self.first.wait().clone()?;
        Ok(first..first.saturating_add(self.len()))
    }

    fn settle(&self, outcome: Result<u64, AuditError>) {
        // The first outcome stands: a group that is dropped settles only what its leader has not.
        let _settled_before = self.first.set(outcome);
    }

    fn len(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(Vec::len).sum()
    }
}

/// What waits to be written, in order.
#[derive(Default)]
pub(super) struct Queue(Mutex<Vec<Arc<Submission>>>);

impl Queue {
    /// Queues a submission; whether its caller leads the next group.
    pub(super) fn push(&self, submission: Arc<Submission>) -> bool {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(submission);
        queue.len() == 1
    }

    /// All that has queued up; only the leader takes it.
    pub(super) fn take(&self) -> Group {
        Group(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Submissions that are written together. None of them waits for ever: what is not settled when the group is dropped,
/// because a write panicked, is settled as interrupted.
pub(super) struct Group(Vec<Arc<Submission>>);

impl Group {
    /// The group in parts of bounded size.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[Arc<Submission>]> {
        let mut bytes = self.0.first().map_or(0, |submission| submission.bytes());
        self.0.chunk_by(move |_, next| {
            bytes = bytes.saturating_add(next.bytes());
            let joins = bytes <= MAX_WRITE;
            bytes = if joins { bytes } else { next.bytes() };
            joins
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.0.iter().for_each(|submission| submission.settle(Err(AuditError::Interrupted)));
    }
}

/// Tells every submission of a write what became of it; `first` is the index of the first entry of the first.
pub(super) fn settle(part: &[Arc<Submission>], first: &Result<u64, AuditError>) {
    let mut next = first.clone();
    for submission in part {
        submission.settle(next.clone());
        next = next.map(|index| index.saturating_add(submission.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(sizes: &[usize]) -> (Queue, Vec<Arc<Submission>>) {
        let queue = Queue::default();
        let submissions: Vec<_> = sizes.iter().map(|size| Submission::new(vec![vec![0; *size]])).collect();
        for (place, submission) in submissions.iter().enumerate() {
            assert_eq!(queue.push(submission.clone()), place == 0);
        }
        (queue, submissions)
    }

    #[test]
    fn a_group_is_cut_into_parts_of_bounded_size_in_order() {
        let (queue, submissions) = queued(&[MAX_WRITE - 1, 1, 1, MAX_WRITE, MAX_WRITE + 1, 5, 5]);
        let group = queue.take();
        let parts: Vec<Vec<usize>> =
            group.parts().map(|part| part.iter().map(|submission| submission.bytes()).collect()).collect();
        let expected = [vec![MAX_WRITE - 1, 1], vec![1], vec![MAX_WRITE], vec![MAX_WRITE + 1], vec![5, 5]];
        assert_eq!(parts, expected);
        settle(&submissions, &Ok(40));
        assert_eq!(submissions[6].wait().unwrap(), 46..47);
    }

    #[test]
    fn a_dropped_group_leaves_nobody_waiting() {
        let (queue, submissions) = queued(&[1, 1]);
        let group = queue.take();
        settle(&submissions[..1], &Ok(7));
        drop(group);
        assert_eq!(submissions[0].wait().unwrap(), 7..8);
        assert!(matches!(submissions[1].wait(), Err(AuditError::Interrupted)));
        assert!(queue.push(Submission::new(Vec::new())), "the next one leads");
    }
}
