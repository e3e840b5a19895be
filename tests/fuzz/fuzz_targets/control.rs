//! Requests on the control socket.
#![no_main]

use dunlin_agent::admin::operations::Request;
use dunlin_sync::files::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(request) = frame::from_bytes::<Request>(&frame::seal(body)) {
        let bytes = frame::to_bytes(&request).expect("what was read can be written");
        let again = frame::from_bytes::<Request>(&bytes).expect("and read");
        // Not the requests themselves: a NaN is not equal to itself.
        assert_eq!(frame::to_bytes(&again).expect("and written"), bytes);
    }
});
