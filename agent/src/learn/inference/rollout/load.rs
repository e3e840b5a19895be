//! A version out of the registry, made ready to serve on a stream.

use std::sync::Arc;

use dunlin_models::{
    data::{Columns, DataError, InMemory, Rows, Source, WindowShape, scale::Scale},
    drift::population::{InputDrift, InputDriftSettings, Population},
    registry::{RegistryError, Version},
};
use dunlin_sync::{
    buffer::{Matrix, Query},
    sample::{TimeRange, Timestamp},
};

use crate::{
    base::glob,
    cohort::{self, CohortQuery, Labels},
    learn::{
        Shared,
        guarded::guarded,
        inference::{
            predictor::{Reference, Serving},
            rollout::target::Target,
        },
    },
};

/// Training records from which scale and bins are taken.
const SCALE_ROWS_MAX: usize = 5_000;

/// Rows one by one.
const ROW: WindowShape = WindowShape {
    lookback: 1,
    horizon: 0,
};

/// Why a version does not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// It may later: what is in the way is not the version itself.
    #[error("{0}")]
    Transient(String),
    /// This recipe, or this stream, can do nothing with it.
    #[error("{0}")]
    Permanent(String),
}

/// A version ready to serve on a stream.
pub(super) struct Loaded {
    pub(super) version: Version,
    /// Positions of its features in the stream's schema.
    pub(super) fields: Vec<usize>,
    pub(super) serving: Serving,
}

pub(super) fn load(shared: &Shared, target: &Target<'_>, number: u64) -> Result<Loaded, Unfit> {
    let now = |error: RegistryError| Unfit::Transient(error.to_string());
    let models = &shared.models;
    let version = models.version(&target.key, number).map_err(now)?;
    let artifact = models.load(&version).map_err(now)?;
    let recipe = target.rule.recipe.build().map_err(Unfit::Transient)?;
    let model = guarded(|| recipe.load(&artifact));
    let model = model.map_err(|what| Unfit::Permanent(format!("reading it panicked: {what}")))?;
    let model = model.map_err(|error| Unfit::Permanent(error.to_string()))?;
    let fields = artifact.features.iter().map(|name| {
        let field = target.schema.field(name);
        field.ok_or_else(|| Unfit::Permanent(format!("the stream has no field {name:?}")))
    });
    let classes = classes(&artifact.settings);
    Ok(Loaded {
        version,
        fields: fields.collect::<Result<_, _>>()?,
        serving: Serving {
            version: number,
            model: Arc::from(model),
            labels: Arc::new(if classes.is_empty() {
                Labels::Number
            } else {
                Labels::classes(&classes)
            }),
            classes,
        },
    })
}

/// Names of the classes, where a classifier's settings hold them.
fn classes(settings: &str) -> Arc<[String]> {
    let settings: serde_json::Value = serde_json::from_str(settings).unwrap_or_default();
    let classes = settings.get("classes").cloned().unwrap_or_default();
    let classes: Vec<String> = serde_json::from_value(classes).unwrap_or_default();
    classes.into()
}

/// What the training records of a version were like.
///
/// # Errors
/// A text for people if they cannot be read now.
pub(super) fn reference(
    shared: &Shared,
    target: &Target<'_>,
    loaded: &Loaded,
) -> Result<Reference, String> {
    let lineage = &loaded.version.lineage;
    if let Some(grid) = &target.rule.grid {
        let names = loaded.fields.iter().map(|f| &target.schema.fields[*f].name);
        let shown = shared.buffer.catalog().name_shown(&target.stream.name);
        let query = CohortQuery {
            features: names.cloned().collect(),
            grid: Some(grid.clone()),
            from: Some(lineage.first_ts),
            to: Some(lineage.last_ts),
            last: Some(SCALE_ROWS_MAX as u64),
            ..CohortQuery::of(glob::exactly(&shown))
        };
        let rows = cohort::resolve(&shared.buffer, &query, ROW).map_err(|e| e.to_string())?;
        return like(&rows, rows.lineage().rows == 0);
    }
    let query = Query {
        range: TimeRange {
            from: Timestamp(lineage.first_ts),
            to: Timestamp(lineage.last_ts),
        },
        ..Query::last(target.stream.id, loaded.fields.clone(), SCALE_ROWS_MAX)
    };
    let matrix = shared.buffer.matrix(&query)?;
    let is_gone = matrix.ts.is_empty();
    like(&source(matrix, &loaded.fields), is_gone)
}

/// What these rows are like.
fn like(rows: &dyn Source, is_gone: bool) -> Result<Reference, String> {
    let failed = |error: DataError| error.to_string();
    let scale = Scale::fit(rows).map_err(failed)?;
    if is_gone {
        // Its training records are gone: it serves, and its inputs are compared with nothing.
        let inputs = None;
        return Ok(Reference { scale, inputs });
    }
    let population = Population::fit(rows).map_err(failed)?;
    let inputs = InputDrift::new(InputDriftSettings::default(), population);
    Ok(Reference {
        scale,
        inputs: Some(inputs),
    })
}

fn source(matrix: Matrix, fields: &[usize]) -> InMemory {
    let rows = matrix.ts.len();
    let values = (0..rows).flat_map(|row| matrix.columns.iter().map(move |c| c[row]));
    InMemory {
        columns: Columns {
            features: fields.iter().map(ToString::to_string).collect(),
            ..Columns::default()
        },
        chunks: vec![Arc::new(Rows {
            values: values.collect(),
            is_train: vec![true; rows],
            ts: matrix.ts,
            ..Rows::default()
        })],
        ..InMemory::default()
    }
}
