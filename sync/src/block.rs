//! Blocks: what is committed, read and uploaded together.
//!
//! A block holds whatever arrived since the last commit: one [`Section`] a schema, and inside it the
//! rows of each stream in one run, in time order. So a thousand slow streams share one block.

pub mod builder;
pub mod codec;
pub mod pack;
mod section;

use std::ops::Range;

use crate::{
    rows::Rows,
    sample::{SchemaId, StreamId},
};

/// `rows` consecutive rows of one stream inside a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The stream.
    pub stream: StreamId,
    /// How many rows.
    pub rows: u32,
}

/// The rows of one schema in a block, sorted by stream, then by time.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The schema.
    pub schema: SchemaId,
    /// Whose rows they are; the rows of all runs add up to `rows.len()`.
    pub runs: Vec<Run>,
    /// The rows, run after run.
    pub rows: Rows,
}

/// A block without its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// First timestamp in the block, nanoseconds UTC, corrected.
    pub first_ts: i64,
    /// Last timestamp in the block, nanoseconds UTC, corrected.
    pub last_ts: i64,
    /// Whose rows are in it, section after section; a stream has at most one run.
    pub runs: Vec<Run>,
}

/// One decoded block. All its timestamps are later than those of the block before.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Its number: dense, increasing over the life of the device.
    pub seq: u64,
    /// Rows committed on this device before this block.
    pub first_row: u64,
    /// First timestamp in it, nanoseconds UTC, corrected.
    pub first_ts: i64,
    /// Last timestamp in it, nanoseconds UTC, corrected.
    pub last_ts: i64,
    /// One entry a schema.
    pub sections: Vec<Section>,
}

/// Records of one stream that lie one behind the other in a block.
pub struct StreamRun<'b> {
    /// The stream.
    pub stream: StreamId,
    /// Where they lie.
    pub section: &'b Section,
    /// Which rows of the section.
    pub rows: Range<usize>,
}

impl Block {
    /// The records, stream by stream.
    pub fn runs(&self) -> impl Iterator<Item = StreamRun<'_>> {
        self.sections.iter().flat_map(|section| {
            let mut start = 0;
            section.runs.iter().map(move |run| {
                let rows = start..start + run.rows as usize;
                start = rows.end;
                StreamRun {
                    stream: run.stream,
                    section,
                    rows,
                }
            })
        })
    }

    /// Rows over all sections.
    pub fn rows(&self) -> u64 {
        self.sections
            .iter()
            .map(|section| section.rows.len() as u64)
            .sum()
    }
}
