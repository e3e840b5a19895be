//! The clock: whether the kernel vouches for it, and whether it can be right at all.

use std::{fs, path::Path};

use super::Findings;
use crate::{
    config::settings::Settings,
    record::clock::{EARLIEST_NS, LATEST_NS, TimeSource},
};

const ABOUT: &str = "clock";
const SET_IT: &str = "set it and keep it: timedatectl set-ntp true, or install chrony";

pub(super) fn examine(
    source: &dyn TimeSource,
    sys: &Path,
    settings: &Settings,
    found: &mut Findings,
) {
    let wall_ns = source.wall_ns();
    let shown = jiff::Timestamp::from_nanosecond(i128::from(wall_ns));
    let shown = shown.map_or_else(|_| format!("{wall_ns} ns"), |time| format!("{time:.0}"));
    let hold_s = settings.clock.hold.as_secs();
    if (EARLIEST_NS..LATEST_NS).contains(&wall_ns) {
        match source.synchronised() {
            Some(true) => found.ok(ABOUT, format!("shows {shown}, synchronised")),
            Some(false) => found.warning(
                ABOUT,
                format!(
                    "shows {shown}, and the kernel says it is not synchronised; uploads are held \
                     for {hold_s} s (clock.hold_s)"
                ),
                SET_IT,
            ),
            None => found.note(
                ABOUT,
                format!("shows {shown}; whether it is synchronised cannot be found out here"),
                "",
            ),
        }
    } else {
        found.problem(
            ABOUT,
            format!(
                "shows {shown}, which cannot be: this program was made in 2026; the agent runs on \
                 from its newest record, unsynchronised, and holds uploads for {hold_s} s \
                 (clock.hold_s)"
            ),
            SET_IT,
        );
    }
    let clocks = fs::read_dir(sys.join("class/rtc")).map(Iterator::count);
    if clocks.unwrap_or(0) == 0 {
        found.note(
            ABOUT,
            "no battery-backed clock: after a power cut the time comes from the network alone",
            "records taken before that are corrected once it has come; see clock.hold_s",
        );
    }
}
