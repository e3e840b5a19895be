//! The upstream: whether it is there and fit to take records.

use dunlin_sync::upstream::{Description, UpstreamError};

use super::Findings;
use crate::config::settings::Settings;

const ABOUT: &str = "upstream";
/// What tables and statements are made for.
const TDENGINE_FROM: (u32, u32) = (3, 3);

pub(super) async fn examine(settings: &Settings, found: &mut Findings) {
    let upstream = match crate::upstream::connect(settings) {
        Ok(upstream) => upstream,
        Err(error) => return found.problem(ABOUT, error.to_string(), "see [upstream]"),
    };
    let location = upstream.location();
    match upstream.describe().await {
        Ok(description) => describe(&location, &description, found),
        Err(UpstreamError::Unavailable(why)) => found.problem(
            ABOUT,
            format!("{location} is not reached: {why}"),
            "see upstream.url, the network and the server; until it is back, records wait in the \
             buffer",
        ),
        Err(UpstreamError::Rejected(why)) => found.problem(
            ABOUT,
            format!("{location} refuses us: {why}"),
            "somebody has to change this: the agent cannot; records wait in the buffer",
        ),
    }
}

fn describe(location: &str, description: &Description, found: &mut Findings) {
    let product = &description.product;
    let Some(database) = &description.database else {
        return found.ok(
            ABOUT,
            format!("{location}: {product}; made at the first upload"),
        );
    };
    if let Some(precision) = &database.coarse_precision {
        return found.problem(
            ABOUT,
            format!(
                "{location}: {product} keeps time in {precision}, which cannot hold timestamps in \
                 nanoseconds"
            ),
            "name another database in upstream.url, or create it anew with PRECISION 'ns'",
        );
    }
    let keep = database.keep.as_ref();
    let keep = keep.map_or_else(String::new, |keep| {
        format!("; rows older than {keep} (KEEP) are not taken, and go to quarantine")
    });
    found.ok(ABOUT, format!("{location}: {product}, precision ns{keep}"));
    if is_old(product) {
        let (major, minor) = TDENGINE_FROM;
        found.warning(
            ABOUT,
            format!("{product} is older than what this is tested with"),
            format!("use TDengine {major}.{minor} or later"),
        );
    }
}

/// `TDengine 3.0.7.1` is, `TDengine 3.3.6.0` is not; what is not understood is not.
fn is_old(product: &str) -> bool {
    let Some(version) = product.strip_prefix("TDengine ") else {
        return false;
    };
    let mut numbers = version.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < TDENGINE_FROM,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
