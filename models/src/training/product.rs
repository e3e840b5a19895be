//! Products of matrices that are views of plain slices, on one thread.
//!
//! Promises: every number of a product is one sum, from the first to the last, however many are
//! computed at a time; so the same factors give the same bits on all processors that multiply and add
//! with one rounding (x86-64 with AVX2 and FMA, with or without AVX-512; aarch64), and the same bits
//! on all others. Nothing is allocated but two buffers that are kept: a product is often done in less
//! time than memory can be had from the system and given back.
#![allow(clippy::inline_always)]

use pulp::{Arch, Scalar128b, Simd, WithSimd};

/// A matrix in a slice, row after row, or turned over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    is_turned: bool,
}

impl<'a> Matrix<'a> {
    /// All of `data`, `columns` numbers a row.
    pub(super) const fn new(data: &'a [f32], columns: usize) -> Self {
        Self {
            data,
            rows: data.len() / columns,
            columns,
            is_turned: false,
        }
    }

    /// Rows for columns.
    pub(super) const fn turned(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            is_turned: !self.is_turned,
        }
    }

    /// The numbers row after row; in `room` if they do not lie like that already.
    fn by_row<'b>(self, room: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        if !self.is_turned {
            return self.data;
        }
        // What is there already is overwritten.
        room.resize(self.data.len(), 0.0);
        turn(self.data, self.columns, room);
        room
    }
}

/// Multiplies; keeps the room for it.
#[derive(Debug, Default)]
pub(super) struct Multiplier {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Multiplier {
    /// Puts `left * right` into `to`, row after row; `first` is added to every row.
    pub(super) fn put(
        &mut self,
        left: Matrix<'_>,
        right: Matrix<'_>,
        first: Option<&[f32]>,
        to: &mut [f32],
    ) {
        debug_assert_eq!(left.columns, right.rows);
        debug_assert_eq!(to.len(), left.rows * right.columns);
        if to.is_empty() {
            return;
        }
        let product = Product {
            left: left.turned().by_row(&mut self.left),
            rows: left.rows,
            right: right.by_row(&mut self.right),
            columns: right.columns,
            first,
            to,
        };
        Arch::new().dispatch(product);
    }
}

/// Turns over the matrix `from` of so many rows: a square at a time, of numbers that lie together
/// before and after.
fn turn(from: &[f32], rows: usize, to: &mut [f32]) {
    const SIDE: usize = 16;
    let columns = from.len() / rows;
    for row in (0..rows).step_by(SIDE) {
        for column in (0..columns).step_by(SIDE) {
            if row + SIDE > rows || column + SIDE > columns {
                for row in row..rows.min(row + SIDE) {
                    for column in column..columns.min(column + SIDE) {
                        to[column * rows + row] = from[row * columns + column];
                    }
                }
                continue;
            }
            let mut square = [[0.0; SIDE]; SIDE];
            for (at, line) in square.iter_mut().enumerate() {
                line.copy_from_slice(&from[(row + at) * columns + column..][..SIDE]);
            }
            for at in 0..SIDE {
                let to = &mut to[(column + at) * rows + row..][..SIDE];
                for (to, line) in to.iter_mut().zip(&square) {
                    *to = line[at];
                }
            }
        }
    }
}

/// Both factors with the side that is summed over first.
struct Product<'a> {
    left: &'a [f32],
    rows: usize,
    right: &'a [f32],
    columns: usize,
    first: Option<&'a [f32]>,
    to: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    // Sums that fit into the registers: 32 of 16 numbers, 16 of 8, 32 of 4 (aarch64), 16 of 4.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 8, 3, true>(simd),
            8 => self.run::<S, 6, 2, true>(simd),
            4 => self.run::<S, 8, 2, true>(simd),
            _ => self.run::<Scalar128b, 4, 2, false>(Scalar128b),
        }
    }
}

impl Product<'_> {
    /// Tile after tile of `ROWS` rows and `WIDTH` vectors; tiles at the ends overlap the ones before,
    /// which writes the same numbers again.
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const WIDTH: usize, const FUSED: bool>(mut self, simd: S) {
        if self.rows < ROWS {
            for row in 0..self.rows {
                self.row_of_tiles::<S, 1, WIDTH, FUSED>(simd, row);
            }
            return;
        }
        for row in (0..self.rows).step_by(ROWS) {
            let row = row.min(self.rows - ROWS);
            self.row_of_tiles::<S, ROWS, WIDTH, FUSED>(simd, row);
        }
    }

    #[inline(always)]
    fn row_of_tiles<S: Simd, const ROWS: usize, const WIDTH: usize, const FUSED: bool>(
        &mut self,
        simd: S,
        row: usize,
    ) {
        let (lanes, columns) = (S::F32_LANES, self.columns);
        let mut column = 0;
        while column + WIDTH * lanes <= columns {
            self.tile::<S, ROWS, WIDTH, FUSED>(simd, row, column);
            column += WIDTH * lanes;
        }
        while column < columns {
            let last = columns.saturating_sub(lanes);
            self.tile::<S, ROWS, 1, FUSED>(simd, row, column.min(last));
            column += lanes;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const WIDTH: usize, const FUSED: bool>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
    ) {
        // Fewer only where a matrix is narrower than a vector.
        let width = (WIDTH * S::F32_LANES).min(self.columns);
        let mut sums = [[simd.splat_f32s(0.0); WIDTH]; ROWS];
        if let Some(first) = self.first {
            sums = [load::<S, WIDTH>(simd, &first[column..][..width]); ROWS];
        }
        let left = self.left[row..].chunks(self.rows);
        let right = self.right[column..].chunks(self.columns);
        for (left, right) in left.zip(right) {
            let Some(left) = left.first_chunk::<ROWS>() else {
                break;
            };
            let right = load::<S, WIDTH>(simd, &right[..width]);
            for (sums, left) in sums.iter_mut().zip(left) {
                let left = simd.splat_f32s(*left);
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = if FUSED {
                        simd.mul_add_f32s(left, right, *sum)
                    } else {
                        simd.add_f32s(simd.mul_f32s(left, right), *sum)
                    };
                }
            }
        }
        for (at, sums) in sums.iter().enumerate() {
            let to = &mut self.to[(row + at) * self.columns + column..][..width];
            store::<S, WIDTH>(simd, sums, to);
        }
    }
}

/// Numbers as vectors; there are fewer than fit only if it is one vector.
#[inline(always)]
fn load<S: Simd, const WIDTH: usize>(simd: S, from: &[f32]) -> [S::f32s; WIDTH] {
    match S::as_simd_f32s(from).0.first_chunk::<WIDTH>() {
        Some(whole) => *whole,
        None => [simd.partial_load_f32s(from); WIDTH],
    }
}

/// Takes [`load`] back.
#[inline(always)]
fn store<S: Simd, const WIDTH: usize>(simd: S, vectors: &[S::f32s; WIDTH], to: &mut [f32]) {
    match S::as_mut_simd_f32s(to).0.first_chunk_mut::<WIDTH>() {
        Some(whole) => *whole = *vectors,
        None => simd.partial_store_f32s(to, vectors[0]),
    }
}

#[cfg(test)]
mod tests;
