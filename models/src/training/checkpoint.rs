//! All that a job needs to go on as if it had never been interrupted, as bytes.
//!
//! Layout, little-endian: magic, format version (u32), fingerprint of the job (u64), epochs done (u32),
//! epochs without a better one (u32), steps of the optimiser (u64), best loss (f64), number of
//! parameters (u64), then parameters, best parameters and the optimiser's two moments (f32 each), and
//! the XXH3 of all of it (u64).

use xxhash_rust::xxh3::xxh3_64;

use super::adam::Adam;

const MAGIC: &[u8; 8] = b"dunlinck";
const FORMAT: u32 = 1;

/// Where a job stands between two epochs. Every random order follows from the seed and the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) epochs: u32,
    pub(super) epochs_without_better: u32,
    pub(super) best_loss: f64,
    pub(super) parameters: Vec<f32>,
    pub(super) best: Vec<f32>,
    pub(super) adam: Adam,
}

impl Progress {
    pub(super) fn new(parameters: Vec<f32>) -> Self {
        Self {
            epochs: 0,
            epochs_without_better: 0,
            best_loss: f64::INFINITY,
            best: parameters.clone(),
            adam: Adam::new(parameters.len()),
            parameters,
        }
    }

    pub(super) fn to_bytes(&self, fingerprint: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + 16 * self.parameters.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&fingerprint.to_le_bytes());
        bytes.extend_from_slice(&self.epochs.to_le_bytes());
        bytes.extend_from_slice(&self.epochs_without_better.to_le_bytes());
        bytes.extend_from_slice(&self.adam.steps.to_le_bytes());
        bytes.extend_from_slice(&self.best_loss.to_le_bytes());
        bytes.extend_from_slice(&(self.parameters.len() as u64).to_le_bytes());
        let adam = &self.adam;
        for values in [&self.parameters, &self.best, &adam.mean, &adam.square] {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    /// `None` if the bytes are damaged, of another format, of another job or of another size.
    pub(super) fn from_bytes(bytes: &[u8], fingerprint: u64, parameters: usize) -> Option<Self> {
        let (body, hash) = bytes.split_last_chunk::<8>()?;
        if xxh3_64(body) != u64::from_le_bytes(*hash) {
            return None;
        }
        let mut reader = Reader(body);
        let is_ours = reader.take::<8>()? == *MAGIC
            && u32::from_le_bytes(reader.take()?) == FORMAT
            && u64::from_le_bytes(reader.take()?) == fingerprint;
        let epochs = u32::from_le_bytes(reader.take()?);
        let epochs_without_better = u32::from_le_bytes(reader.take()?);
        let steps = u64::from_le_bytes(reader.take()?);
        let best_loss = f64::from_le_bytes(reader.take()?);
        let fits = u64::from_le_bytes(reader.take()?) == parameters as u64
            && reader.0.len() == parameters.checked_mul(16)?;
        if !is_ours || !fits {
            return None;
        }
        Some(Self {
            epochs,
            epochs_without_better,
            best_loss,
            parameters: reader.floats(parameters)?,
            best: reader.floats(parameters)?,
            adam: Adam {
                steps,
                mean: reader.floats(parameters)?,
                square: reader.floats(parameters)?,
            },
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn floats(&mut self, count: usize) -> Option<Vec<f32>> {
        let (floats, rest) = self.0.split_at_checked(count.checked_mul(4)?)?;
        self.0 = rest;
        let (floats, _) = floats.as_chunks::<4>();
        Some(floats.iter().map(|f| f32::from_le_bytes(*f)).collect())
    }
}

#[cfg(test)]
mod tests;
