#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use super::*;

/// Whatever bytes come, there is an error and no panic.
#[test]
fn a_damaged_file_ends_with_an_error() {
    let bytes = b"PAR1 nothing of a file PAR1";
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    assert!(Columns::open(file, None, &Hints::default()).is_err());
}
