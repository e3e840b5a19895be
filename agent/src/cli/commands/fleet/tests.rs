//! Devices read at a real centre.

#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use dunlin_sync::{
    centre::Centre,
    rows::{Batch, Column, Rows, TableRows},
    sample::{Field, Origin, Schema, Stage, Stream},
    upstream::{self, UpstreamOptions},
};
use tempfile::TempDir;

use super::read;
use crate::{
    centre::{self, CentreOptions},
    observe::heartbeat::{DEVICES, Heartbeat},
};

const SECOND: i64 = 1_000_000_000;
const NOW_NS: i64 = 1_000 * SECOND;

struct Plant(TempDir);

impl Plant {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("central.db").display())
    }

    fn centre(&self) -> Arc<dyn Centre> {
        let options = CentreOptions {
            url: self.url(),
            ..CentreOptions::default()
        };
        centre::connect(&options).unwrap()
    }

    /// Uploads what a device has said on `stream`, the oldest first.
    async fn say(&self, device: &str, stream: &str, said: &[(i64, Heartbeat)]) {
        let mut columns: Vec<Column> = Vec::new();
        let mut fields = Vec::new();
        for (_, heartbeat) in said {
            let cells = heartbeat.cells();
            if columns.is_empty() {
                columns = cells
                    .iter()
                    .map(|(_, kind, _)| Column::empty(*kind))
                    .collect();
                let named = cells.iter().map(|(name, kind, _)| Field {
                    name: (*name).into(),
                    kind: *kind,
                });
                fields = named.collect();
            }
            for (column, (_, _, value)) in columns.iter_mut().zip(cells) {
                column.push(value).unwrap();
            }
        }
        let origin = Origin {
            since_ns: Some(1),
            stage: Stage::Begun,
            ..Origin::default()
        };
        let schema = Arc::new(Schema {
            id: 0,
            name: stream.split('/').next().unwrap().into(),
            tag_names: vec!["device".into()],
            origins: vec![origin; fields.len()],
            fields,
        });
        let stream = Arc::new(Stream {
            id: 0,
            schema: 0,
            name: stream.into(),
            tags: vec![device.into()],
            first_tags: None,
        });
        let rows = Rows {
            ts: said.iter().map(|(ts, _)| *ts).collect(),
            is_train: vec![true; said.len()],
            fold: vec![0; said.len()],
            source_ts: vec![None; said.len()],
            columns: columns.into(),
        };
        let batch = Batch {
            tables: vec![TableRows {
                stream,
                schema,
                rows,
            }],
        };
        let options = UpstreamOptions::new(self.url(), Duration::from_secs(20));
        let upstream = upstream::connect(&options).unwrap();
        upstream.write(&batch).await.unwrap();
    }
}

fn well() -> Heartbeat {
    Heartbeat {
        version: "1".into(),
        instance: Some("a".into()),
        every_s: 10,
        broker_connected: true,
        clock_synchronised: true,
        ..Heartbeat::default()
    }
}

#[tokio::test]
async fn the_newest_row_of_each_device_counts_and_trouble_comes_first() {
    let plant = Plant::new();
    assert!(
        read::all(&*plant.centre(), NOW_NS)
            .await
            .unwrap()
            .devices
            .is_empty()
    );
    let at = |age_s: i64| NOW_NS - age_s * SECOND;
    let older = Heartbeat {
        problem: Some("gone since".into()),
        ..well()
    };
    let newest = Heartbeat {
        committed: 7,
        ..well()
    };
    plant
        .say(
            "a-well",
            DEVICES,
            &[(at(15), older.clone()), (at(5), newest)],
        )
        .await;
    plant.say("b-silent", DEVICES, &[(at(100), well())]).await;
    plant.say("c-ill", DEVICES, &[(at(1), older)]).await;
    // Neither is a device's own row, whatever it is called.
    plant
        .say("d", "records/dunlin_devices", &[(at(1), well())])
        .await;
    plant.say("e", "dunlin_tasks/x", &[(at(1), well())]).await;
    let found = read::all(&*plant.centre(), NOW_NS).await.unwrap();
    let names: Vec<&str> = found.devices.iter().map(|seen| &*seen.device).collect();
    assert_eq!(names, ["b-silent", "c-ill", "a-well"]);
    assert!(!found.is_cut);
    let [silent, ill, is_well] = &found.devices[..] else {
        panic!("{names:?}");
    };
    assert!(silent.silent && !ill.silent && !is_well.silent);
    assert_eq!(ill.trouble, ["gone since"]);
    assert_eq!(
        (&is_well.trouble[..], is_well.heartbeat.committed),
        (&[][..], 7)
    );
    let json = serde_json::to_value(silent).unwrap();
    assert_eq!(
        (&json["device"], &json["silent"]),
        (&"b-silent".into(), &true.into())
    );
    assert_eq!(json["version"], "1");
}

#[tokio::test]
async fn one_device_by_its_name_and_none_by_another() {
    let plant = Plant::new();
    let other = Heartbeat {
        instance: Some("b".into()),
        ..well()
    };
    let said = [(1, well()), (2, other), (3, well())];
    plant.say("press-7", DEVICES, &said).await;
    let seen = read::one(&*plant.centre(), "press-7", 4)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.last_seen_ns, 3);
    assert_eq!(seen.trouble, ["two devices send under this name"]);
    assert_eq!(read::one(&*plant.centre(), "press", 4).await.unwrap(), None);
    let all = crate::cli::commands::release::verdicts_of(&*plant.centre(), "press-7").await;
    assert!(all.unwrap().is_empty());
}
