//! Durations of work that takes turns, and their medians.

use std::time::Instant;

/// Rounds that warm caches and allocators and are not counted.
const WARM_UP: u16 = 2;

/// The median milliseconds of each of the tasks, over `rounds` rounds in which each is done once.
pub(crate) fn medians<const N: usize>(
    rounds: u16,
    mut tasks: [&mut dyn FnMut() -> anyhow::Result<()>; N],
) -> anyhow::Result<[f64; N]> {
    let mut taken = [const { Vec::new() }; N];
    for round in 0..rounds.saturating_add(WARM_UP) {
        for (task, taken) in tasks.iter_mut().zip(&mut taken) {
            let since = now();
            task()?;
            if round >= WARM_UP {
                taken.push(since.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    Ok(taken.map(median))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_take_turns_and_each_is_done_as_often() {
        let order = std::cell::RefCell::new(String::new());
        let note = |name| {
            order.borrow_mut().push(name);
            Ok(())
        };
        medians(2, [&mut || note('a'), &mut || note('b')]).unwrap();
        assert_eq!(*order.borrow(), "ab".repeat(4));
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }
}
