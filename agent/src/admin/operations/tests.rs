//! Each operation as a command asks for it: of a running agent over its control socket, and of the
//! directory of a stopped one.

#![allow(clippy::unwrap_used, clippy::format_collect)]

mod import;
mod quarantine;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use dunlin_sync::sample::{FieldType, TimeRange, Timestamp, Value};
use tempfile::TempDir;

use super::*;
use crate::{
    admin::protocol::{REQUEST_BYTES_MAX, TARGET},
    app::Agent,
    cli::commands::{
        Exit,
        connection::{Connection, ConnectionArgs},
        export::to_file,
        import::{ImportArgs, Imported, imported},
    },
    config::{self, Overrides},
};

/// A device whose broker is away; its agent runs or does not.
pub(super) struct Device {
    pub(super) dir: TempDir,
    args: ConnectionArgs,
    pub(super) agent: Option<Agent>,
}

impl Device {
    pub(super) async fn new(running: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let overrides = Overrides::default()
            .set("data_dir", dir.path().join("data").to_str().unwrap())
            .set("mqtt.url", "mqtt://127.0.0.1:1")
            .set("http.listen", "")
            .set("buffer.commit_gap_ms_min", "0")
            .set("clock.hold_s", "0")
            .set(
                "upstream.url",
                format!("sqlite:{}", dir.path().join("up.db").display()),
            )
            .topic("plant=plant/+machine/state");
        let args = ConnectionArgs {
            config: None,
            overrides,
        };
        let mut device = Self {
            dir,
            args,
            agent: None,
        };
        if running {
            device.start().await;
        }
        device
    }

    pub(super) async fn start(&mut self) {
        let settings = config::load(None, &self.args.overrides).unwrap();
        self.agent = Some(Agent::start(settings).await.unwrap());
    }

    pub(super) async fn stop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop().await.unwrap();
        }
    }

    pub(super) async fn connection(&self) -> Connection {
        let connection = Connection::open(&self.args).await.unwrap();
        assert_eq!(connection.status().is_some(), self.agent.is_some());
        connection
    }

    pub(super) async fn request<O: Operation>(&self, operation: O) -> Result<O::Answer, Exit> {
        let mut connection = self.connection().await;
        let answer = connection.request(operation).await;
        connection.close().await.unwrap();
        answer
    }

    /// What an export writes.
    async fn export(&self, stream: &str, format: ExportFormat) -> Result<(Vec<u8>, u64), Exit> {
        let export = ExportRecords {
            stream: stream.into(),
            range: TimeRange::ALL,
            format,
            grid: None,
        };
        let mut connection = self.connection().await;
        let taken = Taken::default();
        let answer = connection.request_with(export, taken.clone()).await;
        connection.close().await.unwrap();
        let bytes = std::mem::take(&mut *taken.0.lock().unwrap());
        answer.map(|(done, _)| (bytes, done.rows))
    }

    pub(super) async fn import(&self, stream: &str, text: &str) -> Result<Imported, Exit> {
        let args = ImportArgs {
            stream: Some(stream.into()),
            ..ImportArgs::default()
        };
        self.import_bytes(text.as_bytes(), args).await
    }

    /// Imports a file of these bytes.
    async fn import_bytes(&self, bytes: &[u8], args: ImportArgs) -> Result<Imported, Exit> {
        let file = self.dir.path().join("in.csv");
        std::fs::write(&file, bytes).unwrap();
        let args = ImportArgs {
            file,
            connection: self.args.clone(),
            ..args
        };
        let mut connection = self.connection().await;
        let imported = imported(&mut connection, &args).await;
        connection.close().await.unwrap();
        imported
    }
}

#[derive(Clone, Default)]
pub(super) struct Taken(pub(super) Arc<Mutex<Vec<u8>>>);

impl Listener for Taken {
    fn progress(&mut self, done: u64, total: u64) -> std::io::Result<()> {
        assert!(done <= total);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }
}

const FILE: &str = "time,x,ok\n2026-01-01T00:00:00Z,1.5,true\nnever,2,true\n\
                    2026-01-01T00:00:02Z,2.5,\n2026-01-01T00:00:03Z,3.5,false,9\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_can_be_exported() {
    for running in [true, false] {
        let mut device = Device::new(running).await;
        // A bad time among the first lines would make the column a text.
        let good: String = (0..4_999)
            .map(|i| format!("2026-01-01T00:00:00.{i:06}Z,{i}.5,true\n"))
            .collect();
        let text = FILE.replace("never,2,true\n", &good) + "never,2,true\n";
        let imported = device.import("plant/m1", &text).await.unwrap();
        assert_eq!(imported.records, 5_001, "running: {running}");
        let bad: Vec<_> = imported.bad.iter().map(|(r, n)| (r.as_str(), *n)).collect();
        assert_eq!(bad, [("not_csv", 1), ("bad_time", 1)]);
        assert_eq!(
            imported.bad_lines[0], "line 5003: 4 cells instead of 3",
            "the line is named"
        );
        // A second stream of the same kind, and one of another.
        device
            .import("plant/m2", "time,x\n2026-01-01,7\n")
            .await
            .unwrap();
        device.import("other", "y\n7\n").await.unwrap();

        let (csv, rows) = device.export("plant/*", ExportFormat::Csv).await.unwrap();
        let csv = String::from_utf8(csv).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!((rows, lines.len()), (5_002, 5_003));
        assert_eq!(
            lines[0],
            "ts,time,is_train,fold,source_ts,stream,tag.device,tag.machine,x,ok"
        );
        assert!(lines[1].ends_with(",m1,1.5,true"), "{}", lines[1]);
        assert!(
            lines[1].contains(",1767225600000000000,plant/m1,"),
            "{}",
            lines[1]
        );
        assert!(lines[5_001].ends_with(",m1,2.5,"), "{}", lines[5_001]);
        assert!(lines[5_002].contains(",plant/m2,"), "{}", lines[5_002]);
        let times: Vec<i64> = lines[1..]
            .iter()
            .map(|line| line.split(',').next().unwrap().parse().unwrap())
            .collect();
        assert!(times.is_sorted_by(|a, b| a < b), "unique and rising");
        let train = lines[1..].iter().filter(|l| l.contains(",true,0,")).count();
        assert!((3_800..4_200).contains(&train), "{train} of 5,002 train");

        let (parquet, rows) = device
            .export("plant/m1", ExportFormat::Parquet)
            .await
            .unwrap();
        assert_eq!(rows, 5_001);
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));

        let error = device.export("*", ExportFormat::Csv).await.unwrap_err();
        assert!(
            matches!(&error, Exit::Usage(text) if text.contains("one kind at a time")
                && text.contains("NAME are plant, other")),
            "{error}"
        );
        let error = device.export("none", ExportFormat::Csv).await.unwrap_err();
        assert!(
            matches!(&error, Exit::Usage(text) if text.contains("there are plant/m1, plant/m2")),
            "{error}"
        );
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_cannot_fit_says_why() {
    for running in [true, false] {
        let mut device = Device::new(running).await;
        device.import("plant/m1", "x\n1\n").await.unwrap();
        for (stream, file, hint) in [
            ("plant", "x\n1\n", "are called plant/machine"),
            ("plant/m1/more", "x\n1\n", "are called plant/machine"),
            ("pl`ant", "x\n1\n", "a back-tick in the name"),
            ("plant/*", "x\n1\n", "without wildcards"),
            ("a//b", "x\n1\n", "write NAME"),
            ("plant/m1", "1\n2\n", "names of the columns"),
        ] {
            let error = device.import(stream, file).await.unwrap_err();
            assert!(
                matches!(&error, Exit::Usage(text) if text.contains(hint)),
                "{stream}: {error}"
            );
        }
        // Held as a number: a text is a bad line, not a new type.
        let imported = device.import("plant/m1", "x\nlunch\n2\n").await.unwrap();
        assert_eq!((imported.records, imported.bad.len()), (1, 1));
        device.stop().await;
    }
}

#[test]
fn a_batch_is_checked_before_it_is_taken() {
    let field = |kind| dunlin_sync::sample::Field {
        name: "x".into(),
        kind,
    };
    let record = |value| crate::record::decode::Record {
        source_ts: None,
        values: vec![Some(value)].into(),
    };
    let batch = |kind, record: crate::record::decode::Record, count| ImportBatch {
        stream: "s".into(),
        fields: vec![field(kind)],
        records: vec![record; count],
        ..ImportBatch::default()
    };
    let one = || record(Value::F64(1.0));
    assert!(
        batch(FieldType::F64, one(), BATCH_RECORDS_MAX)
            .check()
            .is_ok()
    );
    assert!(
        batch(FieldType::F64, one(), BATCH_RECORDS_MAX + 1)
            .check()
            .is_err()
    );
    assert!(batch(FieldType::Text, one(), 1).check().is_err());
    let long = record(Value::Text("x".repeat(5_900).into()));
    assert!(batch(FieldType::Text, long, 120).check().is_err());
    let mut nameless = batch(FieldType::F64, one(), 1);
    nameless.fields[0].name = "`".into();
    assert!(nameless.check().is_err());
    nameless.fields.clear();
    assert!(nameless.check().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_upstream_is_named() {
    for running in [true, false] {
        let mut device = Device::new(true).await;
        let lines: String = (0..100).map(|i| format!("{i}\n")).collect();
        device
            .import("plant/m1", &format!("x\n{lines}"))
            .await
            .unwrap();
        // Stopping uploads what is left.
        device.stop().await;
        if running {
            device.start().await;
        }
        let whole = device.request(Verify).await.unwrap();
        assert_eq!((whole.rows_committed, whole.rows_upstream), (100, 100));
        assert!(whole.gaps.is_empty());
        device.stop().await;
        std::fs::remove_file(device.dir.path().join("up.db")).unwrap();
        for rest in ["up.db-wal", "up.db-shm"] {
            let _there_or_not = std::fs::remove_file(device.dir.path().join(rest));
        }
        if running {
            device.start().await;
        }
        let report = device.request(Verify).await.unwrap();
        assert_eq!((report.rows_committed, report.rows_upstream), (100, 0));
        assert_eq!(report.gaps[0].stream, "plant/m1");

        // Half of the gap, then all of it, then once more than needed.
        let gap = report.gaps[0].clone();
        let again = |stream: Option<&str>, to: Timestamp| UploadAgain {
            stream: stream.map(ToOwned::to_owned),
            range: TimeRange { from: gap.from, to },
        };
        let middle = Timestamp(gap.from.0.midpoint(gap.to.0));
        let nobody = device.request(again(Some("plant/m2"), gap.to)).await;
        assert!(matches!(nobody, Err(Exit::Usage(_))), "{nobody:?}");
        let half = device
            .request(again(Some("plant/*"), middle))
            .await
            .unwrap();
        assert!(half.sent > 0 && half.sent < 100, "{half:?}");
        let report = device.request(Verify).await.unwrap();
        assert_eq!(report.rows_upstream, half.sent);
        for _ in 0..2 {
            let all = device.request(again(None, gap.to)).await.unwrap();
            assert_eq!((all.sent, all.waiting, all.refused.len()), (100, 0, 0));
            let report = device.request(Verify).await.unwrap();
            assert_eq!(report.rows_upstream, 100);
            assert!(report.gaps.is_empty(), "{report:?}");
        }
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_where_nothing_ran_is_not_made() {
    let device = Device::new(false).await;
    let error = device.export("a", ExportFormat::Csv).await.unwrap_err();
    assert!(
        matches!(&error, Exit::Usage(text) if text.contains("--data-dir")),
        "{error}"
    );
    assert!(!Path::new(&device.dir.path().join("data")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_long_or_not_understood_is_refused() {
    let mut device = Device::new(true).await;
    let socket = crate::admin::protocol::socket_path(&device.dir.path().join("data"));
    let long = crate::admin::client::post(&socket, TARGET, vec![0; REQUEST_BYTES_MAX + 1]).await;
    assert!(long.is_err());
    let odd = crate::admin::client::post(&socket, TARGET, vec![1, 2, 3]).await;
    let error = odd.unwrap_err().to_string();
    assert!(error.contains("use a command of version"), "{error}");
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_file_appears_whole_or_not_at_all() {
    for running in [true, false] {
        let mut device = Device::new(running).await;
        device.import("plant/m1", "x\n1\n2\n").await.unwrap();
        let path = device.dir.path().join("out.csv");
        let mut export = ExportRecords {
            stream: "plant/m1".into(),
            range: TimeRange::ALL,
            format: ExportFormat::Csv,
            grid: None,
        };
        let mut connection = device.connection().await;
        let done = to_file(&mut connection, export.clone(), &path)
            .await
            .unwrap();
        assert_eq!((done.rows, done.streams), (2, 1));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        // One that fails leaves what was there, and nothing beside it.
        export.stream = "none".into();
        let refused = to_file(&mut connection, export, &path).await;
        assert!(refused.is_err());
        connection.close().await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let names = std::fs::read_dir(device.dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!names.into_iter().any(|name| name.starts_with(".dunlin")));
        device.stop().await;
    }
}
