//! Loops in the widest instructions that the processor has, found when the program runs.
//!
//! Promises: the same bits at any width. Each number is computed by itself and rounded after every
//! operation; sums run in a number of lanes that does not depend on the processor.
#![allow(clippy::inline_always)]

use pulp::{Arch, NullaryFnOnce};

const LANES: usize = 32;

/// Runs `work`, which is compiled once for each width. What it does must be inlined into it: a closure
/// of more than a few words would not be.
#[inline(always)]
pub(crate) fn widest<W: NullaryFnOnce>(work: W) -> W::Output {
    Arch::new().dispatch(work)
}

/// Puts `change(number)` in place of each number.
pub(crate) fn map(numbers: &mut [f32], change: impl Fn(f32) -> f32) {
    widest(Map { numbers, change });
}

struct Map<'a, F> {
    numbers: &'a mut [f32],
    change: F,
}

impl<F: Fn(f32) -> f32> NullaryFnOnce for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for number in self.numbers {
            *number = (self.change)(*number);
        }
    }
}

/// Puts `change(number, other)` in place of each number, with those of `others` that stand beside it.
pub(crate) fn map_with(numbers: &mut [f32], others: &[f32], change: impl Fn(f32, f32) -> f32) {
    widest(MapWith {
        numbers,
        others,
        change,
    });
}

struct MapWith<'a, F> {
    numbers: &'a mut [f32],
    others: &'a [f32],
    change: F,
}

impl<F: Fn(f32, f32) -> f32> NullaryFnOnce for MapWith<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (number, other) in self.numbers.iter_mut().zip(self.others) {
            *number = (self.change)(*number, *other);
        }
    }
}

/// Sum of products.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    widest(Dot(a, b))
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl NullaryFnOnce for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let (a_lanes, a_rest) = self.0.as_chunks::<LANES>();
        let (b_lanes, b_rest) = self.1.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for (a, b) in a_lanes.iter().zip(b_lanes) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        sums.iter().sum::<f32>() + rest
    }
}

#[cfg(test)]
mod tests;
