//! Looking at a cohort: how many rows, the first and the last of them, all of them in a file.

use std::sync::Mutex;

use dunlin_models::{
    data::{Columns, Lineage, Source as _, WindowShape},
    registry::ModelKey,
};
use dunlin_sync::{buffer::Buffer, lock::unpoisoned};
use serde::{Deserialize, Serialize};

use super::{LearningRequest, Listener, Need, Operation, OperationError, OperationParts, Request};
use crate::{
    admin::operations::export::{Data, ExportFormat, File, SharedListener, failed},
    base::glob::means,
    cohort::{Cohort, CohortError, CohortQuery, StreamRows, resolve_telling},
};

/// Most rows shown at either end.
pub const SHOWN_ROWS_MAX: u64 = 1_000;

/// Looks at a cohort, perhaps with its rows as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewCohort {
    /// The cohort.
    pub query: CohortQuery,
    /// Only rows later than those from which the version that serves of this recipe was trained.
    pub since_training: Option<String>,
    /// What of it.
    pub view: CohortView,
}

/// What of a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CohortView {
    /// How many rows.
    Count,
    /// So many of the first rows and as many of the last.
    Show(u64),
    /// All rows as data, with their own types.
    Export(ExportFormat),
}

/// One row, as a model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownRow {
    /// Its stream.
    pub stream: String,
    /// Its timestamp, nanoseconds UTC.
    pub ts: i64,
    /// Training half or validation half.
    pub is_train: bool,
    /// One a feature; nothing where missing.
    pub values: Vec<Option<f32>>,
    /// The label, a class by its name.
    pub label: Option<String>,
}

/// A cohort as it was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CohortFound {
    /// Features, label, classes.
    pub columns: Columns,
    /// Query, time range, rows, hash.
    pub lineage: Lineage,
    /// Rows by stream.
    pub streams: Vec<StreamRows>,
    /// Records that are in no row of the grid because they came too late.
    #[serde(default)]
    pub late: u64,
    /// The first rows, where they are to be shown.
    pub first: Vec<ShownRow>,
    /// The last rows, none of which is among the first.
    pub last: Vec<ShownRow>,
}

impl From<CohortError> for OperationError {
    fn from(error: CohortError) -> Self {
        match error {
            CohortError::Asked(_) | CohortError::NoStream(_) => Self::Asked(error.to_string()),
            CohortError::Unreadable(_) => Self::Failed(error.to_string()),
        }
    }
}

impl Operation for ViewCohort {
    type Answer = CohortFound;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Cohort(Box::new(self)))
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<CohortFound, OperationError> {
        view(parts, self, listener)
    }
}

/// Resolves the cohort, row by row (no windows), and does with it what is asked.
fn view(
    parts: &OperationParts,
    wanted: ViewCohort,
    listener: &mut dyn Listener,
) -> Result<CohortFound, OperationError> {
    let (buffer, mut query) = (&parts.buffer, wanted.query);
    if let Some(recipe) = &wanted.since_training {
        query.after = last_training(parts, recipe, &query.streams)?;
    }
    let listener: SharedListener<'_> = Mutex::new(listener);
    let shape = WindowShape {
        lookback: 1,
        horizon: 0,
    };
    let tell = |done, total| {
        let told = unpoisoned(listener.lock()).progress(done, total);
        told.map_err(|error| CohortError::Unreadable(error.to_string()))
    };
    let cohort = resolve_telling(buffer, &query, shape, &tell)?;
    let mut found = CohortFound {
        columns: cohort.columns().clone(),
        lineage: cohort.lineage().clone(),
        streams: cohort.streams(),
        late: cohort.late(),
        ..CohortFound::default()
    };
    match wanted.view {
        CohortView::Count => {}
        CohortView::Show(rows) => {
            let rows = rows.min(SHOWN_ROWS_MAX).min(found.lineage.rows) as usize;
            let rest = (found.lineage.rows as usize - rows).min(rows);
            found.first = ends(&cohort, &mut (0..cohort.chunks()), rows, false)?;
            found.last = ends(&cohort, &mut (0..cohort.chunks()).rev(), rest, true)?;
            found.last.reverse();
        }
        CohortView::Export(format) => write(&cohort, buffer, format, &listener)?,
    }
    let catalog = buffer.catalog();
    for rows in &mut found.streams {
        rows.stream = catalog.name_shown(&rows.stream);
    }
    for row in found.first.iter_mut().chain(&mut found.last) {
        row.stream = catalog.name_shown(&row.stream);
    }
    Ok(found)
}

/// Timestamp of the last record from which the version that serves was trained; nothing if there is no
/// such stream.
fn last_training(
    parts: &OperationParts,
    recipe: &str,
    streams: &str,
) -> Result<Option<i64>, OperationError> {
    let catalog = parts.buffer.catalog();
    let all = catalog.streams();
    let mut named = all.filter(|stream| means(streams, &catalog, stream));
    let Some(stream) = named.next() else {
        return Ok(None);
    };
    if named.next().is_some() {
        let what = "every stream has a model of its own; name one stream";
        return Err(OperationError::Asked(what.into()));
    }
    let models = (parts.learning.models)()?;
    let serves = models.current(&ModelKey::new(recipe, &stream.name));
    match serves.map_err(OperationError::failed)? {
        Some(version) => Ok(Some(version.lineage.last_ts)),
        None => Err(OperationError::Asked(format!(
            "no model of recipe {} serves {} yet; `dunlin models list` shows those there are",
            recipe.escape_debug(),
            stream.name.escape_debug()
        ))),
    }
}

/// The first `rows` of the chunks that come, or the last of each if they come `backwards`.
fn ends(
    cohort: &Cohort,
    chunks: &mut dyn Iterator<Item = usize>,
    rows: usize,
    backwards: bool,
) -> Result<Vec<ShownRow>, OperationError> {
    let (columns, mut shown) = (cohort.columns(), Vec::new());
    while shown.len() < rows
        && let Some(index) = chunks.next()
    {
        let chunk = cohort.read(index).map_err(OperationError::failed)?;
        let count = chunk.len().min(rows - shown.len());
        for place in 0..count {
            let row = if backwards {
                chunk.len() - 1 - place
            } else {
                place
            };
            let values = chunk.values_of(row..row + 1, columns.features.len());
            let label = chunk
                .label
                .get(row)
                .copied()
                .filter(|label| label.is_finite());
            shown.push(ShownRow {
                stream: chunk.stream.to_string(),
                ts: chunk.ts[row],
                is_train: chunk.is_train[row],
                values: values.iter().map(|v| v.is_finite().then_some(*v)).collect(),
                label: label.map(|label| match columns.classes.get(label as usize) {
                    Some(class) => class.clone(),
                    None => label.to_string(),
                }),
            });
        }
    }
    Ok(shown)
}

fn write(
    cohort: &Cohort,
    buffer: &Buffer,
    format: ExportFormat,
    listener: &SharedListener<'_>,
) -> Result<(), OperationError> {
    let schema = cohort
        .schema(&buffer.catalog())
        .map_err(OperationError::Asked)?;
    let mut file = File::begin(format, Data(listener), &schema).map_err(failed)?;
    cohort.each(
        |done, total| {
            let told = unpoisoned(listener.lock()).progress(done, total);
            told.map_err(OperationError::failed)
        },
        |stream, rows| file.write(stream, rows).map_err(failed),
    )?;
    file.finish().map_err(failed)
}
