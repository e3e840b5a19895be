//! Blocks whose checksum is right and whose body is anything.
#![no_main]

use dunlin_sync::{block::codec, files::frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let stored = frame::seal(body);
    if let Ok(header) = codec::decode_header(&stored)
        && let Ok(block) = codec::decode(1, &stored, 0)
    {
        assert_eq!(block.rows(), u64::from(header.rows));
        for section in &block.sections {
            let rows: u64 = section.runs.iter().map(|run| u64::from(run.rows)).sum();
            assert_eq!(rows, section.rows.len() as u64);
        }
    }
});
