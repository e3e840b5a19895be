//! What the clock tells its caller.

use super::ClockRecord;

/// Why no timestamp was issued; nothing was used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Store this record durably, call [`super::Clock::stored`] with it, ask again.
    #[error("the stored ceiling of timestamps must be raised to {} first", .0.ceiling_ns)]
    RaiseCeiling(Box<ClockRecord>),
    /// The year 2262: 64-bit nanoseconds end here.
    #[error(
        "no timestamps are left: 64-bit nanoseconds end in the year 2262; set the device's clock and start with an empty data directory"
    )]
    Exhausted,
}

/// Something the caller logs, counts or acts on. All durations in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// The clock is not synchronised from here on; said at the start of each boot too.
    Unsynchronised,
    /// The clock is synchronised.
    Synchronised,
    /// The wall clock is off by this much and is not believed yet. Once for each step.
    StepSeen {
        /// Wall clock minus belief.
        step_ns: i64,
    },
    /// A step was believed: ahead at once, back by running at half speed.
    Stepped {
        /// Wall clock minus the belief so far.
        step_ns: i64,
    },
    /// Move what is not uploaded; see the module's text. Repeated by every tick until
    /// [`super::Clock::apply_correction`] is called.
    Correct {
        /// No record older than this is wrong.
        from_ts: i64,
        /// What to add to each timestamp, before [`super::safe_delta`].
        delta_ns: i64,
    },
    /// Timestamps are more than a day ahead of what is believed. An error; repeated.
    FarAhead {
        /// How far.
        lead_ns: i64,
    },
}

/// Figures for metrics and status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStats {
    /// Timestamps minus the wall clock, now.
    pub skew_ns: i64,
    /// Steps believed since the start.
    pub steps: u64,
    /// Steps that went away before they were believed.
    pub withdrawn: u64,
    /// Running at half speed to let a lead of more than a millisecond die out.
    pub slewing: bool,
    /// Not synchronised, see the module's text.
    pub unsynchronised: bool,
    /// Uploads are held.
    pub uploads_held: bool,
}
