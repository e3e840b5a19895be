//! An agent with an upstream of its own: `cargo run --example own_upstream -- dunlin.toml lines.jsonl`, where
//! the configuration says
//!
//! ```toml
//! [upstream]
//! url = "custom:lines"
//! ```
//!
//! Each record becomes a line of JSON in that file. Everything else about delivery is the agent's: batches,
//! back-off, time-outs, streams that are held, the quarantine, what is still to be uploaded after a restart.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use dunlin_agent::{
    app::Agent,
    config::{self, Overrides, settings::Settings},
    own::Own,
};
use dunlin_sync::{
    rows::{Batch, TableRows},
    sample::{Schema, Stream, TimeRange, Timestamp, Value},
    upstream::{DatabaseDescription, Description, Upstream, UpstreamError, WriteReport},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

/// Lines of JSON in a file that stays small: it is read whole for each batch, so that nothing is written twice.
#[derive(Clone)]
struct Lines {
    path: PathBuf,
    /// Calls take turns: of those that were given up, one thread at most goes on.
    turn: Arc<Mutex<()>>,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    schema: String,
    device: String,
    stream: String,
    ts: i64,
    is_train: bool,
    fold: u8,
    source_ts: Option<i64>,
    tags: BTreeMap<String, String>,
    /// As texts: numbers of JSON do not hold what 64 bits do.
    fields: BTreeMap<String, String>,
}

/// What makes two lines the same record, of which the later one counts.
type Key = (String, String, String, i64);

impl Line {
    fn of(table: &TableRows, row: usize) -> Self {
        let (schema, stream, rows) = (&table.schema, &table.stream, &table.rows);
        let tags = schema.tag_names.iter().cloned();
        let fields = rows.columns.iter().filter_map(|(field, column)| {
            let value = text(&column.get(row)?);
            Some((schema.fields[field].name.clone(), value))
        });
        Self {
            schema: schema.name.clone(),
            device: stream.device().to_owned(),
            stream: stream.plain_name().to_owned(),
            ts: rows.ts[row],
            is_train: rows.is_train[row],
            fold: rows.fold[row],
            source_ts: rows.source_ts[row],
            tags: tags.zip(stream.tags.iter().cloned()).collect(),
            fields: fields.collect(),
        }
    }

    fn key(&self) -> Key {
        let names = (&self.schema, &self.device, &self.stream);
        (names.0.clone(), names.1.clone(), names.2.clone(), self.ts)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::I64(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
    }
}

impl Lines {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            turn: Arc::default(),
        }
    }

    /// The records; a line that a power cut has torn is none.
    fn read(&self) -> io::Result<BTreeMap<Key, Line>> {
        let lines = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            lines => lines?,
        };
        let records = lines.lines().filter_map(|line| {
            let line: Line = serde_json::from_str(line).ok()?;
            Some((line.key(), line))
        });
        Ok(records.collect())
    }

    /// Adds what is not there yet; on the disk when this returns.
    fn append(&self, lines: &[Line]) -> io::Result<()> {
        let known = self.read()?;
        // A line of its own, whatever was torn before.
        let mut text = String::from("\n");
        for line in lines {
            if known.get(&line.key()) != Some(line) {
                text.push_str(&serde_json::to_string(line)?);
                text.push('\n');
            }
        }
        let mut file = File::options().append(true).create(true).open(&self.path)?;
        if text.len() > 1 {
            file.write_all(text.as_bytes())?;
        }
        file.sync_data()
    }

    /// Does what blocks on a thread for that, which has the turn until it is done, even if nobody waits for it any
    /// more; who waits for the turn has no thread yet. Every error may pass: a full disk, a directory that comes back.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let lines = self.clone();
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&lines);
            drop(turn);
            done
        });
        let done = done.await;
        let done = done.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        done.map_err(|error| UpstreamError::Unavailable(format!("{}: {error}", self.location())))
    }
}

#[async_trait]
impl Upstream for Lines {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        let tables = batch.tables.iter();
        let lines: Vec<Line> = tables
            .flat_map(|table| (0..table.rows.len()).map(|row| Line::of(table, row)))
            .collect();
        let rows_written = lines.len() as u64;
        self.blocking(move |file| file.append(&lines)).await?;
        // Any name and any value can be in a line: nothing is rejected, no table refused.
        Ok(WriteReport {
            rows_written,
            ..WriteReport::default()
        })
    }

    async fn count(
        &self,
        stream: &Stream,
        schema: &Schema,
        range: TimeRange,
    ) -> Result<u64, UpstreamError> {
        let (schema, device) = (schema.name.clone(), stream.device().to_owned());
        let stream = stream.plain_name().to_owned();
        let known = self.blocking(Self::read).await?;
        let ours = known.keys().filter(|(its_schema, its_device, its, ts)| {
            (its_schema, its_device, its) == (&schema, &device, &stream)
                && range.contains(Timestamp(*ts))
        });
        Ok(ours.count() as u64)
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let is_there = self.blocking(|file| fs::exists(&file.path)).await?;
        Ok(Description {
            product: "lines of JSON".into(),
            database: is_there.then(DatabaseDescription::default),
        })
    }

    fn location(&self) -> String {
        format!("lines in {}", self.path.display())
    }
}

/// The configuration, in which `[upstream]` may name ours.
fn settings(path: &Path, lines: &Path) -> Result<Settings, String> {
    let own = Own::default().with_upstream("lines", Lines::new(lines));
    config::load_with(Some(path), &Overrides::default(), &own).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args().skip(1).map(PathBuf::from);
    let (Some(path), Some(lines)) = (paths.next(), paths.next()) else {
        return Err("name the configuration file and the file for the lines".into());
    };
    let settings = settings(&path, &lines)?;
    dunlin_agent::app::logging::init(&settings.log)?;
    let mut agent = Agent::start(settings).await?;
    tokio::select! {
        error = agent.failed() => return Err(error.into()),
        done = tokio::signal::ctrl_c() => done?,
    }
    agent.stop().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use dunlin_agent::record::writer::{Request, RequestContent};
    use dunlin_sync::conformance::{self, Cells, Target};

    use super::*;

    const CONFIG: &str = r#"
device = "example"
data_dir = "data"
[mqtt]
url = "mqtt://127.0.0.1:1"
[upstream]
url = "custom:lines"
[http]
listen = ""
[clock]
hold_s = 0
[[stream]]
name = "vibration"
topic = "plant/+machine/vibration"
"#;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_published_is_in_the_lines() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lines) = (dir.path().join("dunlin.toml"), dir.path().join("lines"));
        fs::write(&path, CONFIG).unwrap();
        let agent = Agent::start(settings(&path, &lines).unwrap())
            .await
            .unwrap();
        let (reply, answers) = mpsc::channel();
        for step in 0..100 {
            let content = RequestContent::Publish {
                wanted: None,
                at_ns: None,
                topic: b"plant/press/vibration".to_vec(),
                payload: format!("{{\"x\":{step}.5}}").into_bytes(),
            };
            let reply = reply.clone();
            assert!(agent.requests().send(Request { content, reply }).is_ok());
        }
        drop(reply);
        tokio::task::block_in_place(|| assert!(answers.iter().all(|stored| stored == Ok(1))));
        // What is left is uploaded before the end.
        agent.stop().await.unwrap();
        let known = Lines::new(&lines).read().unwrap();
        let ours = known.values().filter(|line| line.schema == "vibration");
        let x: Vec<&str> = ours.map(|line| &*line.fields["x"]).collect();
        let expected: Vec<String> = (0..100).map(|step| format!("{step}.5")).collect();
        assert_eq!(x, expected);
    }

    /// A file of its own for each scenario.
    #[derive(Default)]
    struct Files(Option<tempfile::TempDir>);

    impl Files {
        fn lines(&self) -> Lines {
            Lines::new(&self.0.as_ref().unwrap().path().join("lines"))
        }
    }

    #[async_trait]
    impl Target for Files {
        async fn begin(&mut self) -> Result<(), String> {
            self.0 = Some(tempfile::tempdir().unwrap());
            Ok(())
        }

        fn connect(&self) -> Result<Arc<dyn Upstream>, String> {
            Ok(Arc::new(self.lines()))
        }

        async fn read(&self, schema: &str, columns: &[&str]) -> Result<Option<Cells>, String> {
            let known = self.lines().read().unwrap();
            let lines = known.values().filter(|line| line.schema == schema);
            let cell = |line: &Line, column: &str| match column {
                "ts" => Some(line.ts.to_string()),
                "is_train" => Some(line.is_train.to_string()),
                "fold" => Some(line.fold.to_string()),
                "source_ts" => line.source_ts.map(|ts| ts.to_string()),
                name => line.tags.get(name).or(line.fields.get(name)).cloned(),
            };
            let row = |line| columns.iter().map(|column| cell(line, column)).collect();
            Ok(Some(lines.map(row).collect()))
        }

        async fn drop_tables(&self, _: &str) -> Result<bool, String> {
            fs::remove_file(self.lines().path).unwrap();
            Ok(true)
        }
    }

    #[tokio::test]
    async fn lines_hold_what_every_upstream_must() {
        let report = conformance::upstream(&mut Files::default()).await;
        assert!(report.is_passed(), "{report}");
        assert_eq!(report.unseen, []);
    }
}
