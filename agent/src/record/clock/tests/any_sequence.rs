//! Whatever the clocks do.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Issue(usize),
    Run(u64),
    Step(i64),
    SetWall(i64),
    Kernel(Option<bool>),
    Upload,
    Restart(Loss),
    Reboot(i64, Loss),
}

fn any_wall() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(i64::MAX),
        Just(i64::MIN),
        any::<i64>(),
        NOW - 2 * YEAR_NS..NOW + 20 * YEAR_NS,
    ]
}

fn any_step() -> impl Strategy<Value = i64> {
    prop_oneof![
        -2 * SECOND_NS..2 * SECOND_NS,
        -2 * HOUR_NS..2 * HOUR_NS,
        -11 * YEAR_NS..11 * YEAR_NS,
    ]
}

fn any_loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        2 => Just(Loss::Nothing),
        1 => Just(Loss::Newest),
        1 => Just(Loss::All),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..2000_usize).prop_map(Op::Issue),
        6 => (1..120_u64).prop_map(Op::Run),
        4 => any_step().prop_map(Op::Step),
        1 => any_wall().prop_map(Op::SetWall),
        2 => any::<Option<bool>>().prop_map(Op::Kernel),
        1 => Just(Op::Upload),
        1 => any_loss().prop_map(Op::Restart),
        1 => (any_wall(), any_loss()).prop_map(|(wall, loss)| Op::Reboot(wall, loss)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Unique and strictly increasing, below the durable ceiling, what is uploaded unmoved.
    #[test]
    fn is_strictly_increasing(wall in any_wall(), ops in prop::collection::vec(any_op(), 1..60)) {
        let hands = Manual::new(wall, None);
        let mut device = Device::new(&hands);
        let mut uploaded = Vec::new();
        // Nothing runs further ahead than the furthest offset that was ever on show.
        let mut reach = EARLIEST_NS.max(if plausible(wall) { wall } else { 0 });
        for op in ops {
            match op {
                Op::Issue(count) => { device.issue_many(count); }
                Op::Run(seconds) => {
                    device.run(seconds);
                    reach += seconds as i64 * SECOND_NS;
                }
                Op::Step(by) => hands.step_wall(by),
                Op::SetWall(wall) => hands.set_wall(wall),
                Op::Kernel(answer) => hands.set_synchronised(answer),
                Op::Upload => device.uploaded = device.issued.len(),
                Op::Restart(loss) => device.restart(loss),
                Op::Reboot(wall, loss) => {
                    hands.reboot(wall);
                    device.restart(loss);
                }
            }
            if device.left.is_some() && matches!(op, Op::Restart(_) | Op::Reboot(..)) {
                // What was lost may have been anything up to the ceiling; none of it is moved.
                device.uploaded = device.issued.len();
                reach += CEILING_AHEAD_NS + 120 * SECOND_NS;
            }
            if plausible(hands.wall_ns()) {
                reach = reach.max(hands.wall_ns());
            }
            device.check_order();
            let last = device.issued.last().copied().unwrap_or(0);
            prop_assert!(last <= reach + SECOND_NS, "{} s beyond", (last - reach) / SECOND_NS);
            prop_assert_eq!(&device.issued[..uploaded.len()], &uploaded[..]);
            uploaded = device.issued[..device.uploaded].to_vec();
        }
    }

    /// However many wild readings there are, timestamps stay with the true time.
    #[test]
    fn wild_readings_never_move_it(
        readings in prop::collection::vec((1..20_u64, any_wall()), 1..80),
        kernel in any::<Option<bool>>(),
    ) {
        let hands = Manual::new(NOW, kernel);
        let mut device = Device::new(&hands);
        for (seconds, wild) in readings {
            device.run(seconds);
            let truth = hands.wall_ns();
            hands.set_wall(wild);
            device.tick();
            let ts = device.issue();
            hands.set_wall(truth);
            prop_assert!((ts - truth).abs() <= SECOND_NS);
        }
        prop_assert_eq!(device.clock.stats().steps, 0);
    }
}
