//! The buffer against a plain list in memory, over random sequences of operations.
//!
//! Invariants, after every operation: every block that must be there is there, row by row; timestamps
//! increase with `seq`; `first_row` has no gap; nothing that is not uploaded goes uncounted; numbers
//! are not used twice; catalog numbers stay. A damaged generation may lose blocks, and nothing else.
//!
//! `PROPTEST_CASES=1000` for more. A failing sequence is printed, and its seed is kept beside this
//! file and runs first the next time.

#![allow(clippy::unwrap_used, missing_docs)]

mod checks;
mod commit;
mod deeds;
mod device;
mod disk;
mod ops;

use dunlin_sync::buffer::WhenFull;
use proptest::{prelude::*, test_runner::FileFailurePersistence};

use crate::{
    device::{BYTES_MAX, Device},
    ops::{Harm, Kind, Op, Torn, any_op},
};

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(12),
        max_shrink_iters: 150,
        max_shrink_time: 120_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Does all of it to a new buffer.
fn run(ops: &[Op], drops: bool, replay_bytes_max: u64) {
    let when_full = if drops {
        WhenFull::DropOldest
    } else {
        WhenFull::Block
    };
    let mut device = Device::new(when_full, replay_bytes_max);
    for op in ops {
        device.run(op);
    }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn behaves_like_a_list(
        ops in prop::collection::vec(any_op(), 1..40),
        drops in prop::bool::weighted(0.3),
        replay in prop_oneof![Just(0_u64), Just(2 << 20), Just(BYTES_MAX / 2)],
    ) {
        run(&ops, drops, replay);
    }
}

#[test]
fn what_a_cut_leaves_to_the_file_of_the_catalog_alone_is_stored_again() {
    let ops = [
        Op::Commit {
            rows: 1,
            salt: 1_433_273_810_548,
        },
        Op::PowerCut {
            rows: 6,
            kind: Kind::Wide,
            salt: 37_809_690_634_920_952,
        },
        Op::PowerCut {
            rows: 9,
            kind: Kind::Wide,
            salt: 6_007_868_221_562_693_023,
        },
        Op::Commit {
            rows: 373,
            salt: 17_748_083_263_531_560_226,
        },
        Op::Harm(Harm::Catalog(Torn::Flipped), 136),
    ];
    run(&ops, true, 2 << 20);
}
