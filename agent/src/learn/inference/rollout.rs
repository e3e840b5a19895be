//! Which version answers on which stream.
//!
//! Promises: what the registry says is looked at between two rounds of records, so a version is
//! swapped between two of them; one that cannot serve is told once, and the one before takes its
//! place.

use std::{sync::Arc, time::Instant};

use dunlin_models::{
    data::{Columns, InMemory, Rows, scale::Scale},
    drift::population::{InputDrift, InputDriftSettings, Population},
    registry::{ModelKey, RegistryError, Version},
};
use dunlin_sync::{
    buffer::Query,
    sample::{Schema, Stream, StreamId, TimeRange, Timestamp},
};

use crate::{
    base::glob::means,
    cohort::Labels,
    config::settings::RecipeRule,
    learn::{
        inference::{
            Answering, REFRESH_GAP, SCALE_ROWS_MAX,
            predictor::{Line, Serving, guarded},
            rows::classes,
            snapshot::KeptLine,
        },
        tables::{Event, PREDICTIONS, own_stream},
    },
    record::writer::OWN_TABLE_PREFIX,
};

/// Why a version does not serve.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    /// It may later: what is in the way is not the version itself.
    #[error("{0}")]
    Now(String),
    /// This recipe, or this stream, can do nothing with it.
    #[error("{0}")]
    ForGood(String),
}

impl Answering<'_> {
    /// Makes lines for new streams and versions, swaps versions, and ends lines without one.
    pub(in crate::learn) fn refresh(&mut self) {
        let shared = self.shared;
        // Before the catalog: what comes later may be of a stream that it lacks.
        self.looked_to = shared.buffer.next_seq();
        let (changes, catalog) = (shared.models.changes(), shared.buffer.catalog());
        let now = Instant::now();
        if self.registry_seen == Some(changes)
            && self.catalog_seen == catalog.changes()
            && (!self.must_retry || now < self.next_refresh)
        {
            return;
        }
        self.must_retry = false;
        if self.catalog_seen != catalog.changes() {
            self.catalog_seen = catalog.changes();
            // One that comes back has another number.
            self.lines
                .retain(|stream, _| catalog.stream(*stream).is_some());
        }
        self.next_refresh = now + REFRESH_GAP;
        for rule in &shared.rules {
            for stream in catalog.streams() {
                let schema = catalog.schema(stream.schema);
                if let Some(schema) = schema
                    && !schema.name.starts_with(OWN_TABLE_PREFIX)
                    && catalog.is_here(stream)
                    && means(&rule.streams, &catalog, stream)
                {
                    self.settle(rule, stream, schema);
                }
            }
        }
        self.registry_seen = Some(changes);
    }

    /// Lets the version that should serve do so; if it cannot, the one that has taken its place.
    fn settle(&mut self, rule: &Arc<RecipeRule>, stream: &Stream, schema: &Schema) {
        let key = ModelKey::new(&rule.name, &stream.name);
        let shared = self.shared;
        let models = &shared.models;
        let among = || models.number_among(&key, &rule.available_status);
        let lines = self.lines.get(&stream.id).into_iter().flatten();
        let serves = lines.into_iter().find(|line| line.key == key);
        let serves = serves.map(Line::version);
        let Some(number) = among() else {
            if let Some(version) = serves {
                self.end(&key, stream.id, version);
            }
            return;
        };
        if serves == Some(number) {
            return;
        }
        let Err(unfit) = self.serve(&key, rule, stream, schema, number) else {
            return;
        };
        self.must_retry = true;
        if let Unfit::ForGood(_) = unfit {
            // What comes of it shows below.
            self.take_out(&key, number);
        }
        let mut why = unfit.to_string();
        // If it was damaged or is of no use, the version before has taken its place.
        if let Some(before) = among().filter(|before| *before != number) {
            let is_served = serves == Some(before)
                || match self.serve(&key, rule, stream, schema, before) {
                    Ok(()) => true,
                    Err(too) => {
                        why = format!("{why}; nor can version {before}: {too}");
                        false
                    }
                };
            if is_served {
                why = format!("{why}; version {before} serves");
            }
        }
        self.tell_unusable(&key, number, why);
    }

    /// No version is left that may serve: records go unanswered until there is one.
    fn end(&mut self, key: &ModelKey, stream: StreamId, version: u64) {
        if let Some(lines) = self.lines.get_mut(&stream) {
            lines.retain(|line| line.key != *key);
            if lines.is_empty() {
                self.lines.remove(&stream);
            }
        }
        let what = "no version has a status that may serve".to_owned();
        tracing::warn!(%key, version, what, "answers no more");
        let event = Event {
            kind: "ended",
            version: Some(version),
            what,
            figures: None,
        };
        self.shared.journal.event(key, &event);
    }

    fn serve(
        &mut self,
        key: &ModelKey,
        rule: &Arc<RecipeRule>,
        stream: &Stream,
        schema: &Schema,
        number: u64,
    ) -> Result<(), Unfit> {
        let loaded = self.load(key, rule, schema, number)?;
        let (scale, drift) = self
            .trained_on(&loaded.version, stream.id, &loaded.fields)
            .map_err(Unfit::Now)?;
        let lines = self.lines.entry(stream.id).or_default();
        let at = lines.iter().position(|line| &line.key == key);
        let answered_to = at.map(|at| lines[at].answered_to);
        if let Some(at) = at
            && lines[at].fields == loaded.fields
        {
            let line = &mut lines[at];
            // One that was gone back to is not put on trial again.
            let is_newer = number > line.version();
            line.swap(loaded.serving, drift, is_newer);
            line.scale = scale;
            return Ok(());
        }
        let label = rule.label.as_deref().and_then(|label| schema.field(label));
        // A version that looks at other fields begins a line of its own where the other one ends.
        let from = answered_to.unwrap_or_else(|| self.start_of(key, &loaded.version));
        let mut line = Line::new(
            key.clone(),
            Arc::clone(rule),
            loaded.fields,
            label,
            loaded.serving,
            scale,
            drift,
            from,
        );
        line.topic = topic(rule, stream, schema);
        if let Some(kept) = self.kept.get(key) {
            self.take_up(&mut line, kept.clone(), schema);
        }
        self.prefill(&mut line, stream.id).map_err(Unfit::Now)?;
        if line.seen_to < self.read_to {
            self.rewind(line.seen_to).map_err(Unfit::Now)?;
        }
        self.resume.remove(&own_stream(PREDICTIONS, key));
        self.kept.remove(key);
        let lines = self.lines.entry(stream.id).or_default();
        lines.retain(|line| &line.key != key);
        lines.push(line);
        tracing::info!(%key, version = number, "serves");
        Ok(())
    }

    /// A line goes on with what it had taken along when the agent ended. A version that was promoted
    /// while nobody answered is put on trial against the one that answered before.
    fn take_up(&self, line: &mut Line, kept: KeptLine, schema: &Schema) {
        let (number, rule) = (line.version(), Arc::clone(&line.rule));
        let before = match kept.version {
            same if same == number => kept.on_trial_against(),
            // One that was gone back to is not put on trial again.
            other => Some(other).filter(|other| *other < number),
        };
        let before = before.and_then(|before| {
            let loaded = self.load(&line.key, &rule, schema, before);
            let loaded = loaded.inspect_err(|why| {
                let key = &line.key;
                tracing::info!(%key, version = before, %why, "no longer there to compare with");
            });
            let loaded = loaded.ok().filter(|before| before.fields == line.fields);
            Some(loaded?.serving)
        });
        if kept.version == number {
            line.take_up(kept, before);
        } else if let Some(before) = before {
            line.put_on_trial(before);
        }
    }

    fn load(
        &self,
        key: &ModelKey,
        rule: &RecipeRule,
        schema: &Schema,
        number: u64,
    ) -> Result<Loaded, Unfit> {
        let now = |error: RegistryError| Unfit::Now(error.to_string());
        let models = &self.shared.models;
        let version = models.version(key, number).map_err(now)?;
        let artifact = models.load(&version).map_err(now)?;
        let recipe = rule.recipe.build().map_err(Unfit::Now)?;
        let model = guarded(|| recipe.load(&artifact));
        let model = model.map_err(|what| Unfit::ForGood(format!("reading it panicked: {what}")))?;
        let model = model.map_err(|error| Unfit::ForGood(error.to_string()))?;
        let fields = artifact.features.iter().map(|name| {
            let field = schema.field(name);
            field.ok_or_else(|| Unfit::ForGood(format!("the stream has no field {name:?}")))
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

    /// The scale of the training records, and bins to compare live inputs with.
    fn trained_on(
        &self,
        version: &Version,
        stream: StreamId,
        fields: &[usize],
    ) -> Result<(Scale, Option<InputDrift>), String> {
        let query = Query {
            range: TimeRange {
                from: Timestamp(version.lineage.first_ts),
                to: Timestamp(version.lineage.last_ts),
            },
            ..Query::last(stream, fields.to_vec(), SCALE_ROWS_MAX)
        };
        let matrix = self.shared.buffer.matrix(&query)?;
        let rows = matrix.ts.len();
        let values = (0..rows).flat_map(|row| matrix.columns.iter().map(move |c| c[row]));
        let source = InMemory {
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
        };
        let failed = |error: dunlin_models::data::DataError| error.to_string();
        let scale = Scale::fit(&source).map_err(failed)?;
        if rows == 0 {
            // Its training records are gone: it serves, and its inputs are compared with nothing.
            return Ok((scale, None));
        }
        let population = Population::fit(&source).map_err(failed)?;
        Ok((
            scale,
            Some(InputDrift::new(InputDriftSettings::default(), population)),
        ))
    }

    /// The records that the line has seen already, as far as a window reaches.
    fn prefill(&self, line: &mut Line, stream: StreamId) -> Result<(), String> {
        let rows_max = line.window_rows().saturating_sub(1);
        let query = Query {
            range: TimeRange {
                from: Timestamp::MIN,
                to: Timestamp(line.seen_to),
            },
            ..Query::last(stream, line.fields.clone(), rows_max)
        };
        let matrix = self.shared.buffer.matrix(&query)?;
        for row in (0..matrix.ts.len()).rev() {
            let values: Vec<f32> = matrix.columns.iter().map(|column| column[row]).collect();
            line.recall(matrix.ts[row], &values);
        }
        Ok(())
    }
}

/// A version ready to serve on a stream.
struct Loaded {
    version: Version,
    /// Positions of its features in the stream's schema.
    fields: Vec<usize>,
    serving: Serving,
}

/// Where answers about `stream` are published, if they are.
fn topic(rule: &RecipeRule, stream: &Stream, schema: &Schema) -> Option<String> {
    let topic = rule.publish.as_ref()?;
    let of = topic.of(&rule.name, stream, schema);
    if of.is_none() {
        let stream = &stream.name;
        tracing::warn!(stream, %topic, "no tag of that name; its predictions are not published");
    }
    of
}
