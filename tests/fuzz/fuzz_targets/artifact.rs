//! Files of models.
#![no_main]

use dunlin_models::artifact::Artifact;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(artifact) = Artifact::from_bytes(bytes) {
        let written = artifact.to_bytes().expect("what was read can be written");
        let again = Artifact::from_bytes(&written).expect("and read");
        assert_eq!(again.to_bytes().expect("and written"), written);
    }
});
