//! The bytes of each request, by which agents and commands of different versions understand each other.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use dunlin_sync::{
    files::frame,
    sample::{Field, FieldType, Split, TimeRange, Timestamp, Value},
};

use crate::{
    admin::operations::*,
    record::{decode::Record, writer::Imported},
};

/// The request of `operation`, without what every frame has; what is read of it says the same.
fn body(operation: impl Operation) -> String {
    let request = operation.into_request();
    let bytes = frame::to_bytes(&request).unwrap();
    assert_eq!(frame::from_bytes::<Request>(&bytes).unwrap(), request);
    let mut hex = String::new();
    for byte in frame::unseal(&bytes).unwrap() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

#[test]
fn requests_keep_their_bytes() {
    let stream = || "s".to_owned();
    let range = TimeRange {
        from: Timestamp(-3),
        to: Timestamp(5),
    };
    let selection = || Selection {
        ids: vec![7],
        reason: Some("r".into()),
        before_ns: Some(9),
    };
    let export = ExportRecords {
        stream: stream(),
        range,
        format: ExportFormat::Parquet,
        grid: None,
    };
    let batch = ImportBatch {
        stream: stream(),
        fields: vec![Field {
            name: "x".into(),
            kind: FieldType::F64,
        }],
        records: vec![Record {
            source_ts: Some(4),
            values: vec![Some(Value::F64(1.5))].into(),
        }],
        splits: vec![Split {
            is_train: true,
            fold: 2,
        }],
        tags: vec![("line".into(), "1".into())],
        rows: Some(FileRows {
            content: 7,
            from: Imported {
                rows: 1,
                ..Imported::default()
            },
            to: Imported {
                rows: 2,
                ..Imported::default()
            },
        }),
    };
    let list = ListItems {
        selection: selection(),
        items_max: 6,
    };
    let again = UploadAgain {
        stream: Some(stream()),
        range,
    };
    assert_eq!(body(Verify), "00");
    assert_eq!(body(export), "010173050a0100");
    let target = ImportTarget {
        stream: stream(),
        content: Some(7),
    };
    assert_eq!(body(target), "0201730107");
    assert_eq!(
        body(batch),
        "03017301017800010108010002000000000000f83f01010201046c696e6501310107010000020000"
    );
    assert_eq!(body(list), "040107010172011206");
    assert_eq!(body(ShowItem { id: 8 }), "0508");
    assert_eq!(body(CountItems(selection())), "0601070101720112");
    assert_eq!(body(RetryItems(selection())), "0701070101720112");
    assert_eq!(body(PurgeItems(selection())), "0801070101720112");
    assert_eq!(body(again), "09010173050a");
}

#[cfg(feature = "learning")]
#[test]
fn requests_about_learning_keep_their_bytes() {
    use dunlin_models::registry::ModelKey;

    use crate::cohort::CohortQuery;

    let key = || ModelKey::new("r", "s");
    let which = || Which {
        key: key(),
        number: Some(2),
    };
    let view = ViewCohort {
        query: CohortQuery {
            rows_per_chunk_max: 9,
            ..CohortQuery::of("s")
        },
        since_training: Some("r".into()),
        view: CohortView::Show(3),
    };
    let evaluate = Evaluate {
        recipe: "r".into(),
        stream: "s".into(),
        folds: Some(4),
    };
    let list = ListModels {
        recipe: Some("r".into()),
        stream: None,
    };
    let promote = PromoteModel {
        key: key(),
        number: 2,
        status: Some("a".into()),
        replaced: None,
    };
    let roll_back = RollBackModel {
        key: key(),
        status: Some("a".into()),
    };
    let import = ImportModel {
        key: key(),
        bytes: vec![1, 2, 3],
        status: None,
    };
    assert_eq!(
        body(view),
        "0a0001730000000000000000000000000000000000f03f0000000900000101720103"
    );
    assert_eq!(body(evaluate), "0a01017201730104");
    assert_eq!(body(list), "0a020001017200");
    assert_eq!(body(ShowModel(which())), "0a0201017201730102");
    assert_eq!(body(promote), "0a0202017201730201016100");
    assert_eq!(body(roll_back), "0a020301720173010161");
    assert_eq!(body(ExportModel(which())), "0a0204017201730102");
    assert_eq!(body(import), "0a0205017201730301020300");
}
