//! A vibration-like signal and a buffer full of it, for the measurements.

use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::Buffer,
    sample::{Field, FieldType, Sample, Schema, Split, Timestamp, Value},
};

/// Fields of a record, all `f32`.
pub const FIELDS: usize = 4;
/// Time between two records, nanoseconds.
const STEP_NS: i64 = 1_000_003;
const FIRST_TS: i64 = 1_800_000_000_000_000_000;

/// A few harmonics and noise; the same records every time.
pub struct Vibration {
    state: u64,
    step: u64,
}

impl Default for Vibration {
    fn default() -> Self {
        Self { state: 1, step: 0 }
    }
}

impl Vibration {
    /// The fields of a record.
    pub fn fields() -> Vec<Field> {
        let names = (0..FIELDS).map(|i| format!("c{i}"));
        let kind = FieldType::F32;
        names.map(|name| Field { name, kind }).collect()
    }

    /// Declares `streams` streams of it in `buffer`.
    ///
    /// # Errors
    /// If they exist with other fields.
    pub fn declare(
        buffer: &Buffer,
        streams: u32,
    ) -> Result<(std::sync::Arc<Schema>, Vec<u32>), dunlin_sync::buffer::CatalogError> {
        let schema = buffer.declare_schema("bench", &["device".into()], &Self::fields())?;
        let declare = |i| buffer.declare_stream(schema.id, &format!("bench/{i}"), &["d".into()]);
        let ids = (0..streams).map(|i| declare(i).id).collect();
        Ok((schema, ids))
    }

    /// The next record, of `stream`.
    pub fn sample(&mut self, stream: u32) -> Sample {
        let row = self.step;
        Sample {
            stream,
            ts: Timestamp(FIRST_TS + row as i64 * STEP_NS),
            split: Split {
                is_train: !row.is_multiple_of(5),
                fold: 0,
            },
            source_ts: None,
            values: self
                .values()
                .map(|v| Some(Value::F32(v)))
                .into_iter()
                .collect(),
        }
    }

    fn values(&mut self) -> [f32; FIELDS] {
        self.step += 1;
        let t = self.step as f32 * 0.01;
        std::array::from_fn(|channel| {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695);
            let noise = (self.state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            // Sensors have a resolution; 1/4096 is a 16-bit converter over +-8.
            let value = (t * (channel + 1) as f32).sin() + 0.1 * noise;
            (value * 4096.0).round() / 4096.0
        })
    }
}

/// Fills a buffer with `rows` records in commits of about a thousand; every commit durable.
///
/// # Errors
/// The buffer's.
pub fn fill(buffer: &Buffer, rows: u64, streams: u32) -> Result<(), Box<dyn std::error::Error>> {
    let (schema, ids) = Vibration::declare(buffer, streams)?;
    let mut builder = BlockBuilder::new(Compression::default());
    let mut signal = Vibration::default();
    for row in 0..rows {
        let stream = ids[(row % u64::from(streams)) as usize];
        builder.push(&schema, signal.sample(stream))?;
        // What arrives at full speed while one commit waits for the disk.
        if builder.full_bytes() >= 64 << 10 {
            buffer.commit(&builder.finish(), &[])?;
        }
    }
    buffer.commit(&builder.finish(), &[])?;
    Ok(())
}
