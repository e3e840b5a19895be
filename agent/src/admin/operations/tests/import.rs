//! Files that come again, are cut off, or come from an export.

use std::fmt::Write as _;

use dunlin_sync::sample::{Field, FieldType, Split, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::Device;
use crate::{
    admin::operations::{BATCH_RECORDS_MAX, ExportFormat, FileRows, ImportBatch, ImportTarget},
    cli::commands::{
        Exit,
        import::{Comment, Encoding, ImportArgs, Imported},
    },
    record::{decode::Record, writer::Imported as Done},
};

fn numbers(imported: &Imported) -> [u64; 4] {
    let Imported {
        read,
        records,
        already,
        ..
    } = *imported;
    let refused = imported.refused();
    assert_eq!(read, records + already + refused);
    [read, records, already, refused]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_again_stores_nothing_twice() {
    for running in [true, false] {
        let mut device = Device::new(running).await;
        let mut text = "x,ok\n".to_owned();
        for row in 0..5_000 {
            writeln!(text, "{row},true").unwrap();
        }
        text += "lunch,true\n";
        let first = device.import("plant/m1", &text).await.unwrap();
        assert_eq!(numbers(&first), [5_001, 5_000, 0, 1], "running: {running}");
        device.stop().await;
        if running {
            device.start().await;
        }
        let again = device.import("plant/m1", &text).await.unwrap();
        assert_eq!(numbers(&again), [5_001, 0, 5_000, 1]);
        let (_, rows) = device.export("plant/m1", ExportFormat::Csv).await.unwrap();
        assert_eq!(rows, 5_000);
        // Another stream, or another file, is another matter.
        let other = device.import("plant/m2", &text).await.unwrap();
        assert_eq!(numbers(&other), [5_001, 5_000, 0, 1]);
        text += "1,true\n";
        let longer = device.import("plant/m2", &text).await.unwrap();
        assert_eq!(numbers(&longer), [5_002, 5_001, 0, 1]);
        let args = ImportArgs {
            stream: Some("plant/m1".into()),
            again: true,
            ..ImportArgs::default()
        };
        let forced = device.import_bytes(text.as_bytes(), args).await.unwrap();
        assert_eq!(numbers(&forced), [5_002, 5_001, 0, 1]);
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_cut_off_goes_on_where_it_was() {
    for running in [true, false] {
        let mut device = Device::new(running).await;
        let rows = 2 * BATCH_RECORDS_MAX as u64 + 500;
        let mut text = "x\n".to_owned();
        for row in 0..rows {
            writeln!(text, "{row}").unwrap();
        }
        let content = xxh3_128(text.as_bytes());
        // The names of the columns are on line 0.
        let at = |rows: u64| Done {
            rows: rows + u64::from(rows > 0),
            ..Done::default()
        };
        let part = |from: u64, to: u64| ImportBatch {
            stream: "plant/m1".into(),
            fields: vec![Field {
                name: "x".into(),
                kind: FieldType::F64,
            }],
            records: (from..to)
                .map(|row| Record {
                    source_ts: None,
                    values: vec![Some(Value::F64(row as f64))].into(),
                })
                .collect(),
            rows: Some(FileRows {
                content,
                from: at(from),
                to: at(to),
            }),
            ..ImportBatch::default()
        };
        // A command that is killed after its first batch.
        let stored = device.request(part(0, 1_500)).await.unwrap();
        assert_eq!(stored, 1_500);
        let target = ImportTarget {
            stream: "plant/m1".into(),
            content: Some(content),
        };
        assert_eq!(device.request(target).await.unwrap().done, at(1_500));
        let rest = device.import("plant/m1", &text).await.unwrap();
        assert_eq!(numbers(&rest), [rows, rows - 1_500, 1_500, 0]);
        // One that was slow, and comes after somebody else has gone on.
        let late = device.request(part(1_500, 1_600)).await.unwrap_err();
        assert!(
            matches!(&late, Exit::Usage(why) if why.contains("start again")),
            "{late}"
        );
        let (csv, count) = device.export("plant/m1", ExportFormat::Csv).await.unwrap();
        assert_eq!(count, rows);
        let csv = String::from_utf8(csv).unwrap();
        let values = csv
            .lines()
            .skip(1)
            .map(|line| line.rsplit_once(',').unwrap().1);
        let expected: Vec<String> = (0..rows).map(|row| format!("{row}.0")).collect();
        assert!(
            values.eq(expected.iter().map(String::as_str)),
            "each once, in order"
        );
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_refused_is_stored_once_it_fits() {
    let device = Device::new(false).await;
    let into = |stream: &str| ImportArgs {
        stream: Some(stream.into()),
        ..ImportArgs::default()
    };
    let mut bytes = b"x,t\n".to_vec();
    for row in 0..3_000 {
        let text: &[u8] = if row % 1_000 == 5 { b"\xfc" } else { b"a" };
        bytes.extend_from_slice(format!("{row},").as_bytes());
        bytes.extend_from_slice(text);
        bytes.push(b'\n');
    }
    for (stream, strict, already) in [("m1", false, 2_997), ("m2", true, 5)] {
        let stream = format!("plant/{stream}");
        let args = |encoding| ImportArgs {
            encoding,
            strict,
            ..into(&stream)
        };
        let first = device.import_bytes(&bytes, args(Encoding::Auto)).await;
        assert_eq!(first.is_err(), strict);
        assert_eq!(first.map_or(3, |first| first.refused()), 3);
        for stored in [3_000 - already, 0] {
            let again = args(Encoding::Windows1252);
            let again = device.import_bytes(&bytes, again).await.unwrap();
            assert_eq!(numbers(&again), [3_000, stored, 3_000 - stored, 0]);
        }
        let (_, rows) = device.export(&stream, ExportFormat::Csv).await.unwrap();
        assert_eq!(rows, 3_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_found_again_however_the_file_is_read() {
    let device = Device::new(false).await;
    let args = |missing: &[&str]| ImportArgs {
        stream: Some("plant/m1".into()),
        missing: missing.iter().map(|word| (*word).to_owned()).collect(),
        types: vec![("x".into(), FieldType::F64), ("y".into(), FieldType::F64)],
        ..ImportArgs::default()
    };
    let text = b"# made by hand\nx,y\n1,1\n\n\"line\nbreak\",2\n3,bad\n# note\nbad,4\n5,5\n";
    let first = device.import_bytes(text, args(&[])).await.unwrap();
    assert_eq!(numbers(&first), [5, 2, 0, 3]);
    let uncommented = ImportArgs {
        comment: Comment(None),
        skip_lines: 1,
        ..args(&["bad"])
    };
    let second = device.import_bytes(text, uncommented).await.unwrap();
    assert_eq!(numbers(&second), [6, 2, 2, 2]);
    let third = device.import_bytes(text, args(&[])).await.unwrap();
    assert_eq!(numbers(&third), [5, 0, 2, 3]);
    // What is refused now was stored before, and is not stored a second time.
    let fourth = device.import_bytes(text, args(&["bad"])).await.unwrap();
    assert_eq!(numbers(&fourth), [5, 0, 4, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_time_are_counted_or_refused() {
    let device = Device::new(false).await;
    let text = b"time,x\n2026-05-04,1\n,2\n# note\n2026-05-05,3\n";
    let args = |stream: &str, strict| ImportArgs {
        stream: Some(stream.into()),
        strict,
        ..ImportArgs::default()
    };
    let imported = device
        .import_bytes(text, args("plant/m1", false))
        .await
        .unwrap();
    assert_eq!((numbers(&imported), imported.timeless), ([3, 3, 0, 0], 1));
    let autumn = b"time,x\n2026-10-25T01:30,1\n2026-10-25T02:30,2\n2026-10-25T02:30,3\n";
    let local = ImportArgs {
        time_zone: Some("CET-1CEST,M3.5.0,M10.5.0/3".into()),
        ..args("plant/m3", false)
    };
    let imported = device.import_bytes(autumn, local).await.unwrap();
    assert_eq!((imported.records, imported.doubtful_times), (3, 2));
    let error = device
        .import_bytes(text, args("plant/m2", true))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Exit::Failed(why) if why.contains("line 3: its time is empty")),
        "{error}"
    );
}

const TEXTS: [&str; 20] = [
    "=1+1",
    "'=1",
    "''@",
    "'x",
    "a\nb",
    "a\r\nb",
    "tab\there",
    "\tx",
    "quo\"te",
    "\"",
    " blank ",
    "",
    "21",
    "true",
    "NaN",
    "007",
    "#none",
    "ü😀",
    "it's; a, b",
    "-",
];

/// Two streams with every type, and values that are missing.
async fn filled(device: &Device) {
    let kinds = [
        ("ts", FieldType::F64),
        ("g", FieldType::F32),
        ("tag.i", FieldType::I64),
        ("b", FieldType::Bool),
        ("field.t", FieldType::Text),
        ("whole", FieldType::F64),
    ];
    let fields = kinds.map(|(name, kind)| Field {
        name: name.into(),
        kind,
    });
    for (number, stream) in ["plant/m1", "plant/m2"].into_iter().enumerate() {
        let records = TEXTS.iter().enumerate().map(|(row, text)| Record {
            source_ts: (row % 3 > 0).then_some(1_700_000_000_123_456_789 + row as i64),
            values: vec![
                Some(Value::F64(0.1 + row as f64 / 3.0)),
                Some(Value::F32(0.1 + row as f32 / 3.0)),
                (row % 2 == 0).then_some(Value::I64(i64::MAX - row as i64)),
                (row % 4 > 0).then_some(Value::Bool(row % 8 > 4)),
                (row % 7 != 6).then_some(Value::Text((*text).into())),
                Some(Value::F64(if row == 0 { -0.0 } else { 1e300 * row as f64 })),
            ]
            .into(),
        });
        let splits = (0..TEXTS.len()).map(|row| Split {
            is_train: row % 5 != number,
            fold: (row % 6) as u8,
        });
        let batch = ImportBatch {
            stream: stream.into(),
            fields: fields.to_vec(),
            records: records.collect(),
            splits: splits.collect(),
            ..ImportBatch::default()
        };
        device.request(batch).await.unwrap();
    }
}

/// Lines of an export without what cannot come back: each with its timestamp, which becomes a source time where
/// there is none.
fn comparable(csv: &[u8], is_original: bool) -> String {
    let text = std::str::from_utf8(csv).unwrap();
    // Texts with line breaks go on where no timestamp begins a line.
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let cells: Vec<&str> = line.splitn(6, ',').collect();
        let [ts, time, is_train, fold, source_ts, rest] = cells[..] else {
            lines.push(line.to_owned());
            continue;
        };
        if ts.parse::<i64>().is_err() || time.is_empty() {
            lines.push(line.to_owned());
            continue;
        }
        let source_ts = if source_ts.is_empty() && is_original {
            ts
        } else {
            source_ts
        };
        lines.push(format!("{is_train},{fold},{source_ts},{rest}"));
    }
    lines.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_comes_back_as_it_was() {
    let device = Device::new(false).await;
    filled(&device).await;
    let (original, _) = device.export("plant/*", ExportFormat::Csv).await.unwrap();
    let (parquet, _) = device
        .export("plant/*", ExportFormat::Parquet)
        .await
        .unwrap();
    let f32s = ImportArgs {
        types: vec![("g".into(), FieldType::F32)],
        ..ImportArgs::default()
    };
    for (file, args) in [(&original, f32s), (&parquet, ImportArgs::default())] {
        let other = Device::new(false).await;
        let imported = other.import_bytes(file, args.clone()).await.unwrap();
        let rows = 2 * TEXTS.len() as u64;
        assert_eq!(
            numbers(&imported),
            [rows, rows, 0, 0],
            "{:?}",
            imported.bad_lines
        );
        let (back, _) = other.export("plant/*", ExportFormat::Csv).await.unwrap();
        assert_eq!(comparable(&back, false), comparable(&original, true));
        let again = other.import_bytes(file, args).await.unwrap();
        assert_eq!(numbers(&again), [rows, 0, rows, 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_names_no_stream_needs_one() {
    let device = Device::new(false).await;
    let error = device
        .import_bytes(b"x\n1\n", ImportArgs::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Exit::Usage(why) if why.contains("--stream NAME")),
        "{error}"
    );
}
