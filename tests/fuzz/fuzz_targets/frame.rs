//! Frames around everything that is kept in a small file.
#![no_main]

use dunlin_sync::{cursor::Cursor, files::frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = frame::unseal(bytes) {
        assert_eq!(frame::unseal(&frame::seal(body)), Ok(body));
    }
    // As if the checksum were right.
    let sealed = frame::seal(bytes);
    assert_eq!(frame::unseal(&sealed), Ok(bytes));
    let _cursor = frame::from_bytes::<Cursor>(&sealed);
    let _texts = frame::from_bytes::<Vec<(String, u64)>>(&sealed);
});
