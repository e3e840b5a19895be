//! Versions of models in words and columns.

use std::fmt::Write as _;

use dunlin_models::{judging::evaluation::Evaluation, registry::Version};

use crate::{admin::operations::ModelSummary, base::text};

/// A table of versions.
pub(super) fn listed(versions: &[ModelSummary]) -> String {
    if versions.is_empty() {
        return "there are no models\n".into();
    }
    let head = [
        "", "recipe", "stream", "version", "status", "made", "rows", "error", "baseline", "size",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(versions.iter().map(|version| {
        [
            if version.is_current { "*" } else { "" }.to_owned(),
            version.key.recipe.escape_debug().to_string(),
            version.key.stream.escape_debug().to_string(),
            version.number.to_string(),
            version.status.escape_debug().to_string(),
            text::time(version.created_ns),
            text::count(version.rows),
            figure(version.error),
            figure(version.baseline_error),
            text::bytes(version.artifact_bytes as f64),
        ]
    }));
    let mut text = columns(&rows);
    text.push_str("* serves\n");
    text
}

/// Cells below one another.
pub(in crate::cli::commands) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn figure(figure: Option<f64>) -> String {
    let figure = figure.filter(|figure| figure.abs() < f64::MAX / 2.0);
    figure.map_or_else(|| "-".into(), |figure| format!("{figure:.4}"))
}

/// What there is to say of a version, line by line.
pub(super) fn facts(version: &Version) -> [(&'static str, String); 17] {
    let lineage = &version.lineage;
    let span = if lineage.rows == 0 {
        "-".into()
    } else {
        format!(
            "{} to {}",
            text::time(lineage.first_ts),
            text::time(lineage.last_ts)
        )
    };
    let evaluations = &version.evaluations;
    let error = |of: &Option<Evaluation>| figure(of.as_ref().map(Evaluation::error));
    let windows = evaluations
        .candidate
        .as_ref()
        .map(|candidate| candidate.windows);
    let gate = version.decision.as_ref().map(|decision| {
        let said = if decision.promoted {
            "passed"
        } else {
            "refused"
        };
        format!("{said}: {}", decision.explain())
    });
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let one_line = |text: &str| text.escape_debug().to_string();
    let serves = if version.is_current { "yes" } else { "no" };
    [
        ("recipe", one_line(&version.key.recipe)),
        ("stream", one_line(&version.key.stream)),
        ("version", version.number.to_string()),
        ("status", one_line(&version.status)),
        ("serves", serves.into()),
        ("kind", one_line(&version.kind)),
        (
            "parent",
            or_none(version.parent.map(|parent| parent.to_string())),
        ),
        ("made", text::time(version.created_ns)),
        ("seed", version.seed.to_string()),
        (
            "cohort",
            if lineage.query.is_empty() {
                "-".into()
            } else {
                one_line(&lineage.query)
            },
        ),
        ("rows", format!("{}, {span}", text::count(lineage.rows))),
        (
            "error",
            format!(
                "{} on {} windows",
                error(&evaluations.candidate),
                windows.unwrap_or(0)
            ),
        ),
        ("incumbent", error(&evaluations.incumbent)),
        ("baseline", error(&evaluations.baseline)),
        ("gate", or_none(gate)),
        ("size", text::bytes(version.artifact_bytes as f64)),
        ("sha256", one_line(&version.sha256)),
    ]
}

/// Two versions side by side.
pub(super) fn compared(one: &Version, other: &Version) -> String {
    let pairs = facts(one).into_iter().zip(facts(other));
    let rows: Vec<_> = pairs
        .map(|((name, one), (_, other))| {
            let mark = if one == other { "" } else { "!" };
            [mark.to_owned(), name.to_owned(), one, other]
        })
        .collect();
    let mut text = columns(&rows);
    let same = one.lineage.rows > 0
        && one.lineage == other.lineage
        && one.evaluations.baseline == other.evaluations.baseline;
    if !same && one.number != other.number {
        let _ok = writeln!(
            text,
            "each was judged on the rows of its own time: compare each with its baseline"
        );
    }
    text
}

#[cfg(test)]
mod tests;
