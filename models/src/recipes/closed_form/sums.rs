//! The sums of a model: those of all its rows, or where a window is a row for each feature, those of each
//! feature apart. Features change their scales by factors of their own, which sums of all of them together
//! would not allow.

use std::borrow::Cow;

use super::normal::{NormalEquations, Size};
use crate::artifact::{Artifact, ArtifactError};

/// Most memory for sums apart, bytes. With more, those of all together are kept; such models can be merged
/// where their scales are the same, or differ by one factor.
const APART_BYTES_MAX: usize = 4 << 20;

/// At least one; if more, one a feature.
#[derive(Clone, Debug)]
pub(super) struct Sums(Vec<NormalEquations>);

impl Sums {
    /// Over no row yet, apart for each of `parts` if there is room.
    pub(super) fn new(size: Size, parts: usize) -> Self {
        let parts = if is_room(size, parts) { parts } else { 1 };
        Self(vec![NormalEquations::new(size); parts.max(1)])
    }

    /// Of all rows together.
    pub(super) fn together(sums: NormalEquations) -> Self {
        Self(vec![sums])
    }

    /// See [`NormalEquations::add`].
    pub(super) fn add(&mut self, fill: impl FnOnce(&mut [f64], &mut [f64])) -> bool {
        self.add_to(0, fill)
    }

    /// Adds a row of this part.
    pub(super) fn add_to(
        &mut self,
        part: usize,
        fill: impl FnOnce(&mut [f64], &mut [f64]),
    ) -> bool {
        let part = part.min(self.0.len() - 1);
        self.0[part].add(fill)
    }

    /// See [`NormalEquations::flush`].
    pub(super) fn flush(&mut self) {
        self.0.iter_mut().for_each(NormalEquations::flush);
    }

    /// Lets what was added so far count `weight`.
    pub(super) fn forget(&mut self, weight: f64) {
        self.0.iter_mut().for_each(|part| part.forget(weight));
    }

    /// Sums apart; one if they are together.
    pub(super) fn parts(&self) -> &[NormalEquations] {
        &self.0
    }

    /// Every part become another.
    pub(super) fn map(&self, of: impl Fn(usize, &NormalEquations) -> NormalEquations) -> Self {
        Self(self.0.iter().enumerate().map(|(at, p)| of(at, p)).collect())
    }

    /// Adds the rows of `other`; apart only while both are.
    pub(super) fn add_all(&mut self, other: &Self) {
        if self.0.len() != other.0.len() {
            *self = Self::together(self.total().into_owned());
            self.0[0].add_all(&other.total());
            return;
        }
        for (part, other) in self.0.iter_mut().zip(&other.0) {
            part.add_all(other);
        }
    }

    /// Of all rows.
    pub(super) fn total(&self) -> Cow<'_, NormalEquations> {
        if self.0.len() == 1 {
            return Cow::Borrowed(&self.0[0]);
        }
        let mut total = self.0[0].clone();
        self.0[1..].iter().for_each(|part| total.add_all(part));
        Cow::Owned(total)
    }

    /// Keeps them in `artifact`: those of all rows, and those apart beside them.
    pub(super) fn save(&self, artifact: &mut Artifact) {
        self.total().save(artifact);
        let [first, _, ..] = self.0.as_slice() else {
            return;
        };
        let (parts, n, outputs) = (self.0.len(), first.gram.nrows(), first.cross.ncols());
        let all =
            |of: fn(&NormalEquations) -> &[f64]| self.0.iter().flat_map(of).copied().collect();
        artifact.insert_f64(APART[0], &[parts, n, n], all(|part| part.gram.as_slice()));
        let cross = all(|part| part.cross.as_slice());
        artifact.insert_f64(APART[1], &[parts, outputs, n], cross);
        let squares = self.0.iter().map(|part| part.squares).collect();
        artifact.insert_f64(APART[2], &[parts], squares);
    }

    /// Takes them back; a model that was saved before there were sums apart has those of all rows.
    pub(super) fn load(
        artifact: &Artifact,
        size: Size,
        parts: usize,
    ) -> Result<Self, ArtifactError> {
        let all = NormalEquations::load(artifact, size)?;
        if !APART
            .iter()
            .any(|name| artifact.tensors.contains_key(*name))
        {
            return Ok(Self::together(all));
        }
        let n = size.inputs + 1;
        let grams = artifact.f64(APART[0], &[parts, n, n])?;
        let crosses = artifact.f64(APART[1], &[parts, size.outputs, n])?;
        let squares = artifact.f64(APART[2], &[parts])?;
        let apart = squares.iter().enumerate().map(|(at, squares)| {
            let gram = grams[at * n * n..][..n * n].to_vec();
            let cross = crosses[at * size.outputs * n..][..size.outputs * n].to_vec();
            NormalEquations::of(size, gram, cross, *squares)
        });
        let apart: Vec<_> = apart.collect();
        if apart.is_empty() || !is_room(size, parts) {
            return Ok(Self::together(all));
        }
        Ok(Self(apart))
    }
}

/// Names of sums apart in an artifact.
const APART: [&str; 3] = ["feature_gram", "feature_cross", "feature_squares"];

/// Whether the sums of each part, and the rows that wait for them, are not too much.
fn is_room(size: Size, parts: usize) -> bool {
    size.numbers()
        .saturating_mul(parts)
        .saturating_mul(size_of::<f64>())
        <= APART_BYTES_MAX
}
