//! How commands are told of a grid.

use clap::Args;

use super::Exit;
use crate::{base::text::names, config::millis, grid::GridSpec};

const NS_PER_MS: u64 = 1_000_000;

/// A grid in words.
#[derive(Args, Clone, Debug, Default)]
pub struct GridArgs {
    /// Rows of a regular grid in place of the records, by the time of measurement: '1 s', '15 min'
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Grid")]
    every: Option<u64>,
    /// What becomes of a field within a step: last, mean, min, max or interpolate; FIELD=HOW for one field
    #[arg(
        long,
        value_name = "HOW,..",
        default_value = "",
        hide_default_value = true,
        requires = "every",
        help_heading = "Grid"
    )]
    how: String,
    /// So long a value stands for those missing [default: one step]
    #[arg(long, value_name = "TIME", value_parser = millis, requires = "every", help_heading = "Grid")]
    fill_ms_max: Option<u64>,
    /// So long a step waits for records with a time of their own; later ones are left out
    #[arg(long, value_name = "TIME", value_parser = millis, requires = "every", help_heading = "Grid")]
    late_ms_max: Option<u64>,
}

impl GridArgs {
    /// The grid, if one is wanted.
    ///
    /// # Errors
    /// [`Exit::Usage`] if it cannot be.
    pub(super) fn spec(&self) -> Result<Option<GridSpec>, Exit> {
        let Some(every) = self.every else {
            return Ok(None);
        };
        let ns = |ms: u64| i64::try_from(ms.saturating_mul(NS_PER_MS)).unwrap_or(i64::MAX);
        let mut grid = GridSpec::every(ns(every));
        let how = grid.set_how(&names(&self.how));
        how.map_err(|why| Exit::Usage(format!("--how: {why}")))?;
        grid.fill_ns_max = self.fill_ms_max.map_or(grid.fill_ns_max, ns);
        grid.late_ns_max = self.late_ms_max.map_or(grid.late_ns_max, ns);
        match grid.mistake() {
            Some(mistake) => Err(Exit::Usage(format!("--every: {mistake}"))),
            None => Ok(Some(grid)),
        }
    }
}
