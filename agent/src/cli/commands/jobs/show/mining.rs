//! What a mining has found, as a table.

use crate::{
    base::text,
    jobs::document::mine::{Mined, Standing},
};

/// Digits of a model's hash that tell it from the others.
const HASH_DIGITS: usize = 12;

pub(super) fn lines(mined: &Mined) -> Vec<String> {
    let mut lines = vec![
        format!(
            "best       {} ({})",
            mined.model,
            text::bytes(mined.model_bytes as f64)
        ),
        format!(
            "data       {} of {}, {}",
            text::of(mined.windows, "window"),
            text::of(mined.lineage.rows, "row"),
            mined.lineage.query
        ),
    ];
    if let Some(continued) = &mined.continued {
        let from = if continued.from == mined.model {
            String::new()
        } else {
            format!(
                ", from {}, which was the best when it was submitted",
                continued.from
            )
        };
        lines.push(format!("continued  by job {}{from}", continued.job));
    }
    lines.push(String::new());
    lines.push(format!(
        "{:HASH_DIGITS$}  {:32}  {:4} {:>14} {:>14} {:>14}  {}",
        "model", "job", "seen", "error", "least", "most", "worst stream"
    ));
    lines.extend(mined.leaderboard.iter().map(line));
    lines.push(format!(
        "{:HASH_DIGITS$}  {:32}  {:4} {:14.6}",
        "baseline", "", "", mined.baseline_error
    ));
    lines
}

fn line(standing: &Standing) -> String {
    let model: String = standing.model.chars().take(HASH_DIGITS).collect();
    let seen = if standing.seen { "yes" } else { "no" };
    let figures = match (&standing.figures, &standing.reason) {
        (Some(figures), _) => format!(
            "{:14.6} {:14.6} {:14.6}  {}",
            figures.error, figures.least, figures.most, figures.worst
        ),
        (None, Some(reason)) => format!("{:>14} {reason}", "-"),
        (None, None) => String::new(),
    };
    format!(
        "{model:HASH_DIGITS$}  {:32}  {seen:4} {figures}",
        standing.job
    )
}
