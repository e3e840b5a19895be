//! The normal equations of a least-squares fit, added up row by row in f64.
//!
//! Promises: what was added is there exactly once, whatever the block size; memory depends on the
//! number of inputs and outputs only; duplicated or constant inputs leave it solvable.

use nalgebra::{Cholesky, DMatrix};

use crate::artifact::{Artifact, ArtifactError};

/// Most inputs of a closed form: the matrix of 2,048 takes 34 MB, solving it as much again.
pub(in crate::recipes) const INPUTS_MAX: usize = 2_048;
/// Rows added in one matrix product.
const BLOCK_ROWS: usize = 256;
/// A ridge that makes any matrix of finite sums solvable, beside its mean diagonal.
const RIDGE_LAST_RESORT: f64 = 1e-2;

/// What products of sums need to stay numbers.
const SUM_MAX: f64 = 1e100;

/// From a number to another: `factor * number + shift`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub factor: f64,
    pub shift: f64,
}

/// Numbers in a row of the fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Without the 1 for the bias.
    pub inputs: usize,
    pub outputs: usize,
}

impl Size {
    /// Numbers that sums of this size hold while rows are added.
    pub(super) const fn numbers(self) -> usize {
        let row = self.inputs + 1 + self.outputs;
        row.saturating_mul(self.inputs + 1 + BLOCK_ROWS)
    }
}

/// Sums over rows: `X'X`, `X'Y` and `Y'Y`. The last input is a 1, for the bias; so the last element
/// of `X'X` counts rows.
#[derive(Clone, Debug)]
pub(super) struct NormalEquations {
    /// `X'X`, `inputs + 1` squared.
    pub gram: DMatrix<f64>,
    /// `X'Y`, `inputs + 1` by `outputs`.
    pub cross: DMatrix<f64>,
    /// Sum of the squares of every output.
    pub squares: f64,
    /// Rows that wait, a column each; none while nothing is added.
    x: DMatrix<f64>,
    y: DMatrix<f64>,
    filled: usize,
}

impl NormalEquations {
    /// Sums over no row yet.
    pub(super) fn new(Size { inputs, outputs }: Size) -> Self {
        Self {
            gram: DMatrix::zeros(inputs + 1, inputs + 1),
            cross: DMatrix::zeros(inputs + 1, outputs),
            squares: 0.0,
            x: DMatrix::zeros(inputs + 1, 0),
            y: DMatrix::zeros(outputs, 0),
            filled: 0,
        }
    }

    /// Rows added, those forgotten discounted.
    pub(super) fn rows(&self) -> f64 {
        self.gram[(self.gram.nrows() - 1, self.gram.ncols() - 1)]
    }

    /// Adds a row: `fill` writes its inputs and outputs. Says whether a block went into the sums, which
    /// is when a job should ask for leave to go on.
    pub(super) fn add(&mut self, fill: impl FnOnce(&mut [f64], &mut [f64])) -> bool {
        let inputs = self.x.nrows() - 1;
        let outputs = self.y.nrows();
        if self.x.is_empty() {
            self.x = DMatrix::zeros(inputs + 1, BLOCK_ROWS);
            self.y = DMatrix::zeros(outputs, BLOCK_ROWS);
        }
        let x = &mut self.x.as_mut_slice()[self.filled * (inputs + 1)..][..=inputs];
        let y = &mut self.y.as_mut_slice()[self.filled * outputs..][..outputs];
        x[inputs] = 1.0;
        fill(&mut x[..inputs], y);
        self.filled += 1;
        let is_full = self.filled == BLOCK_ROWS;
        if is_full {
            self.take_in();
        }
        is_full
    }

    /// Takes the rows still waiting into the sums, and gives their room back.
    pub(super) fn flush(&mut self) {
        self.take_in();
        self.x = DMatrix::zeros(self.x.nrows(), 0);
        self.y = DMatrix::zeros(self.y.nrows(), 0);
    }

    fn take_in(&mut self) {
        if self.filled == 0 {
            return;
        }
        let (inputs, outputs) = (self.x.nrows(), self.y.nrows());
        self.x.as_mut_slice()[self.filled * inputs..].fill(0.0);
        self.y.as_mut_slice()[self.filled * outputs..].fill(0.0);
        self.gram.gemm(1.0, &self.x, &self.x.transpose(), 1.0);
        if outputs > 0 {
            self.cross.gemm(1.0, &self.x, &self.y.transpose(), 1.0);
            self.squares += self.y.norm_squared();
        }
        self.filled = 0;
    }

    /// Lets what was added so far count `weight`, 0..=1.
    pub(super) fn forget(&mut self, weight: f64) {
        self.flush();
        self.gram *= weight;
        self.cross *= weight;
        self.squares *= weight;
    }

    /// The same rows with other numbers: of each input and of all outputs, `factor * number + shift`; an
    /// output's shift is 0. Rows still waiting are not among them.
    pub(super) fn affine(&self, inputs: &[Affine], output_factor: f64) -> Self {
        let last = self.gram.nrows() - 1;
        let at = |i: usize| {
            let bias = Affine {
                factor: 1.0,
                shift: 0.0,
            };
            inputs.get(i).copied().unwrap_or(bias)
        };
        let gram = DMatrix::from_fn(last + 1, last + 1, |i, j| {
            let (a, b) = (at(i), at(j));
            a.factor * b.factor * self.gram[(i, j)]
                + a.factor * b.shift * self.gram[(i, last)]
                + a.shift * b.factor * self.gram[(last, j)]
                + a.shift * b.shift * self.gram[(last, last)]
        });
        let cross = DMatrix::from_fn(last + 1, self.cross.ncols(), |i, output| {
            let a = at(i);
            let sum = a.factor * self.cross[(i, output)] + a.shift * self.cross[(last, output)];
            sum * output_factor
        });
        Self {
            gram,
            cross,
            squares: self.squares * output_factor * output_factor,
            ..Self::new(self.size())
        }
    }

    /// Adds the rows of `other`, which has the same size.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.gram += &other.gram;
        self.cross += &other.cross;
        self.squares += other.squares;
    }

    /// Whether something can be solved from them; those of an artifact may be anything.
    pub(super) fn is_sound(&self) -> bool {
        let mut sums = self.gram.iter().chain(&self.cross).chain([&self.squares]);
        self.rows() > 0.0 && sums.all(|sum| sum.abs() < SUM_MAX)
    }

    fn size(&self) -> Size {
        Size {
            inputs: self.gram.nrows() - 1,
            outputs: self.cross.ncols(),
        }
    }

    /// Weights, `inputs + 1` by `outputs`, the bias last: least squares with `ridge` times the mean
    /// diagonal on every weight but the bias. `None` if the sums are not finite.
    pub(super) fn solve(&self, ridge: f64) -> Option<DMatrix<f64>> {
        let inputs = self.gram.nrows() - 1;
        let diagonal: f64 = (0..inputs).map(|i| self.gram[(i, i)]).sum();
        let mean = diagonal / inputs.max(1) as f64;
        let mean = if mean > 0.0 { mean } else { 1.0 };
        let with = |ridge: f64| {
            let mut matrix = self.gram.clone();
            for i in 0..inputs {
                matrix[(i, i)] += ridge * mean;
            }
            Some(Cholesky::new(matrix)?.solve(&self.cross))
        };
        let weights = with(ridge).or_else(|| with(RIDGE_LAST_RESORT.max(ridge)))?;
        weights.iter().all(|w| w.is_finite()).then_some(weights)
    }

    /// Mean squared error over rows and outputs of these weights, on the rows that were added.
    pub(super) fn loss(&self, weights: &DMatrix<f64>) -> f64 {
        let explained = weights.dot(&(2.0 * &self.cross - &self.gram * weights));
        let terms = self.rows() * self.cross.ncols() as f64;
        ((self.squares - explained) / terms).max(0.0)
    }

    /// Keeps the sums in `artifact`.
    pub(super) fn save(&self, artifact: &mut Artifact) {
        let n = self.gram.nrows();
        artifact.insert_f64("gram", &[n, n], self.gram.as_slice().to_vec());
        let shape = [self.cross.ncols(), n];
        artifact.insert_f64("cross", &shape, self.cross.as_slice().to_vec());
        artifact.insert_f64("squares", &[1], vec![self.squares]);
    }

    /// Takes them back.
    pub(super) fn load(artifact: &Artifact, size: Size) -> Result<Self, ArtifactError> {
        let Size { inputs, outputs } = size;
        let n = inputs + 1;
        let gram = artifact.f64("gram", &[n, n])?;
        let cross = artifact.f64("cross", &[outputs, n])?;
        let squares = artifact.f64("squares", &[1])?[0];
        Ok(Self::of(size, gram, cross, squares))
    }

    /// From their numbers, which are as many as `size` says, column by column.
    pub(super) fn of(size: Size, gram: Vec<f64>, cross: Vec<f64>, squares: f64) -> Self {
        let n = size.inputs + 1;
        Self {
            gram: DMatrix::from_vec(n, n, gram),
            cross: DMatrix::from_vec(n, size.outputs, cross),
            squares,
            ..Self::new(size)
        }
    }
}

#[cfg(test)]
mod tests;
