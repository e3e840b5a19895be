//! `[clock]`: when the wall clock is believed.

use std::time::Duration;

use super::DAY_S;
use crate::config::schema::{key::Key, kind::seconds};

pub(in crate::config) const HOLD_S: Key<Duration> = Key::new(
    "clock.hold_s",
    seconds(0, DAY_S),
    "60",
    "How long uploads wait for the kernel to call its clock synchronised; 0 for not at all",
);

pub(in crate::config) const STEP_S_MAX: Key<Duration> = Key::new(
    "clock.step_s_max",
    seconds(1, 365 * DAY_S),
    "3600",
    "A larger step of the wall clock is not believed until it has stood for confirm_s",
);

pub(in crate::config) const CONFIRM_S: Key<Duration> = Key::new(
    "clock.confirm_s",
    seconds(0, DAY_S),
    "30",
    "How long a large step of the wall clock must stand",
);
