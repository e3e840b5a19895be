//! Products of matrices that are views of plain slices, on one thread.
//!
//! nalgebra's own loops for a matrix with a side of 5 or less read beyond the end of a view with a
//! stride (0.34.2), so those are ours; from 6 on it hands over to the `matrixmultiply` crate.

use nalgebra::{DMatrixView, DMatrixViewMut};

/// Shortest side that goes to nalgebra.
const SIDE_MIN: usize = 6;

/// A matrix in a slice, row after row, or turned over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// All of `data`, `columns` numbers a row.
    pub(super) const fn new(data: &'a [f32], columns: usize) -> Self {
        Self {
            data,
            rows: data.len() / columns,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// Rows for columns.
    pub(super) const fn turned(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// `self * other`, row after row, in place of `to` or added to it.
    pub(super) fn times(self, other: Matrix<'_>, adds: bool, to: &mut [f32]) {
        debug_assert_eq!(self.columns, other.rows);
        debug_assert_eq!(to.len(), self.rows * other.columns);
        let sides = [self.rows, self.columns, other.columns];
        if sides.into_iter().any(|side| side < SIDE_MIN) {
            self.times_small(other, adds, to);
            return;
        }
        // nalgebra counts columns first: the same slices are the matrices turned over to it.
        let (a, b) = (other.columns_first(), self.columns_first());
        let beta = if adds { 1.0 } else { 0.0 };
        DMatrixViewMut::from_slice(to, other.columns, self.rows).gemm(1.0, &a, &b, beta);
    }

    fn columns_first(self) -> DMatrixView<'a, f32, nalgebra::Dyn, nalgebra::Dyn> {
        DMatrixView::from_slice_with_strides(
            self.data,
            self.columns,
            self.rows,
            self.column_stride,
            self.row_stride,
        )
    }

    fn times_small(self, other: Matrix<'_>, adds: bool, to: &mut [f32]) {
        if !adds {
            to.fill(0.0);
        }
        if other.columns == 0 {
            return;
        }
        for (row, to) in to.chunks_exact_mut(other.columns).enumerate() {
            for inner in 0..self.columns {
                let factor = self.at(row, inner);
                for (column, to) in to.iter_mut().enumerate() {
                    *to += factor * other.at(inner, column);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|x| (x * step % 23) as f32 - 11.0).collect()
    }

    proptest! {
        #[test]
        fn any_shape_turned_or_not_is_the_sum_of_products(
            (m, k, n) in (1usize..12, 1usize..12, 1usize..12),
            (a_turned, b_turned, adds) in any::<(bool, bool, bool)>(),
        ) {
            let (a, b) = (numbers(m * k, 7), numbers(k * n, 5));
            let a = if a_turned { Matrix::new(&a, m).turned() } else { Matrix::new(&a, k) };
            let b = if b_turned { Matrix::new(&b, k).turned() } else { Matrix::new(&b, n) };
            let mut found = vec![3.0; m * n];
            a.times(b, adds, &mut found);
            for row in 0..m {
                for column in 0..n {
                    let sum: f32 = (0..k).map(|i| a.at(row, i) * b.at(i, column)).sum();
                    let expected = sum + if adds { 3.0 } else { 0.0 };
                    // Whole numbers: exact in whatever order.
                    prop_assert_eq!(found[row * n + column], expected);
                }
            }
        }
    }
}
