//! What a demo needs before it begins: a directory, a broker, a configuration file.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::DemoArgs;
use crate::{
    cli::commands::Exit,
    simulate::broker::{EmbeddedBroker, LOG_DIRECTIVE},
};

/// Directory and broker of one demo. A temporary directory goes with it.
pub(super) struct Setup {
    dir: PathBuf,
    temporary: Option<TempDir>,
    broker: EmbeddedBroker,
}

impl Setup {
    /// Makes the directory, starts the broker, writes the configuration of the one device. Blocks for a moment.
    pub(super) fn new(args: &DemoArgs) -> Result<Self, Exit> {
        let setup = Self::open(args)?;
        setup.write("dunlin.toml", &config(args, &setup.broker.url()))?;
        Ok(setup)
    }

    /// Makes the directory and starts the broker. Blocks for a moment.
    pub(super) fn open(args: &DemoArgs) -> Result<Self, Exit> {
        let (dir, temporary) = if let Some(dir) = &args.dir {
            claim(dir)?;
            (dir.clone(), None)
        } else {
            let temporary = tempfile::Builder::new().prefix("dunlin-demo-").tempdir();
            let temporary = temporary.map_err(|error| {
                Exit::Failed(format!(
                    "no temporary directory: {error}; name one with --dir"
                ))
            })?;
            (temporary.path().to_owned(), Some(temporary))
        };
        let broker = EmbeddedBroker::start(None).map_err(|e| Exit::Failed(e.to_string()))?;
        Ok(Self {
            dir,
            temporary,
            broker,
        })
    }

    /// Writes a file of the demo's directory, and the directories above it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Exit> {
        let path = self.path(name);
        let written = match path.parent() {
            Some(dir) => std::fs::create_dir_all(dir),
            None => Ok(()),
        };
        written
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| Exit::Failed(format!("{}: {error}", path.display())))?;
        Ok(path)
    }

    /// A file of the demo's directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.path("dunlin.toml")
    }

    pub(super) fn database_path(&self) -> PathBuf {
        self.path(DATABASE)
    }

    pub(super) fn broker(&self) -> &EmbeddedBroker {
        &self.broker
    }

    /// Where everything lies, if it stays.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.temporary.is_none().then_some(&*self.dir)
    }
}

/// What the agent runs on, against the broker at `url`. Its paths are relative to its own directory.
pub(super) fn config(args: &DemoArgs, url: &str) -> String {
    let (start, seed) = (learn_rows(args), args.seed);
    let update = start * 3 / 2;
    let device = device("demo", url, DATABASE);
    format!(
        r#"# What `dunlin demo` ran on. Its broker is gone: name yours to go on with `dunlin run`.
{device}
[http]
listen = "127.0.0.1:0"

[log]
level = "warn,{LOG_DIRECTIVE}"

[[stream]]
name = "{STREAM}"
topic = "plant/+line/+machine/vibration"
time = "/time"
time_unit = "ms"
split = {{ method = "random", train = 0.8, seed = {seed} }}

[learn]
scan_ms = 500

[[recipe]]
name = "{RECIPE}"
streams = "{STREAM}/*"
algorithm = "pca"
features = ["vibration_mm_s", "peak_mm_s", "temperature_c", "current_a", "rpm"]
lookback = 8
false_alarm_rate = 0.005
variance_kept = 0.95
margin = 0.1
min_start_count = {start}
min_update_count = {update}
windows_min = 30
outputs = false
"#
    )
}

/// What every device of a demo has in its configuration, before anything else: its name, the broker at `url`, and
/// the `SQLite` file that it uploads to.
pub(super) fn device(name: &str, url: &str, database: &str) -> String {
    format!(
        r#"device = "{name}"
shutdown_ms_max = 120000

[mqtt]
url = "{url}"
receive_maximum = {BROKER_WINDOW}

[clock]
hold_s = 0

[buffer]
commit_gap_ms_min = 100

[upstream]
url = "sqlite:{database}"
"#
    )
}

/// What rumqttd sends before a PUBACK, whatever it is told: half of it must make a commit at once.
const BROKER_WINDOW: u16 = 100;
/// File in the directory that stands for the central database.
pub(super) const DATABASE: &str = "central.db";
/// Name of the one recipe: what is usual for each machine.
pub(super) const RECIPE: &str = "health";
/// Part of the demo in which machines are healthy, so that there is something usual to learn.
pub(super) const HEALTHY_SHARE: f64 = 0.35;

/// Records of a machine from which its first model is made: what it publishes while it is healthy,
/// less some time to make it in.
fn learn_rows(args: &DemoArgs) -> u64 {
    let rows = args.rate * args.seconds as f64 / f64::from(args.machines);
    ((rows * HEALTHY_SHARE * 0.7) as u64).clamp(100, 5_000)
}

/// Name of the one stream rule, and so of the table.
pub(super) const STREAM: &str = "vibration";

/// An earlier demo's records would be counted along, and somebody's files are none of ours.
fn claim(dir: &Path) -> Result<(), Exit> {
    let failed = |error| Exit::Failed(format!("{}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    match std::fs::read_dir(dir).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(Exit::Usage(format!(
            "{} is not empty, and a demo starts afresh; name a new directory",
            dir.display()
        ))),
    }
}
