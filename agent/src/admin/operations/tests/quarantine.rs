//! What is in quarantine: looked at, sent again, deleted.

use std::sync::Arc;

use dunlin_sync::{
    quarantine::{Content, Item, REASON_UPSTREAM},
    sample::{FieldType, Split, TimeRange, Timestamp, Value},
    uploader::{NamedValue, RejectedRow},
};

use super::Device;
use crate::{
    admin::operations::{
        CountItems, ExportFormat, ListItems, PurgeItems, Quarantined, RetryItems, Selection,
        ShowItem, Summary, retry,
    },
    config,
};

impl Device {
    /// Puts items into quarantine, as the running agent would.
    async fn quarantine(&mut self, items: &[Item]) {
        let running = self.agent.is_some();
        if !running {
            self.start().await;
        }
        let view = Arc::clone(self.agent.as_ref().unwrap().view());
        view.quarantine.add(items).unwrap();
        drop(view);
        if !running {
            self.stop().await;
        }
    }

    async fn list(&self) -> Vec<Summary> {
        let list = ListItems {
            selection: Selection::default(),
            items_max: 100,
        };
        self.request(list).await.unwrap()
    }
}

fn publish(topic: &str, payload: &[u8], payload_bytes: u64) -> Item {
    Item {
        at_ns: 1_000,
        reason: "unknown_topic".into(),
        detail: "no stream then".into(),
        records: 1,
        content: Content::Publish {
            topic: topic.into(),
            payload: payload.to_vec(),
            payload_bytes,
        },
    }
}

fn rejected_row(ts: i64) -> Item {
    Item {
        at_ns: 2_000,
        reason: REASON_UPSTREAM.into(),
        detail: "out of range".into(),
        records: 1,
        content: Content::Row(RejectedRow {
            stream_id: 0,
            stream: "other/a".into(),
            tags: vec![("device".into(), "pi".into()), ("m".into(), "a".into())],
            ts: Timestamp(ts),
            split: Split {
                is_train: false,
                fold: 3,
            },
            source_ts: Some(5),
            values: vec![NamedValue {
                name: "x".into(),
                kind: FieldType::F64,
                value: Value::F64(1.5),
            }],
            reason: "out of range".into(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_again_leaves_the_quarantine_and_the_rest_stays() {
    for running in [true, false] {
        let mut device = Device::new(running).await;
        let good = publish("plant/m1/state", br#"{"x":1}"#, 7);
        let bad = publish("plant/m1/state", b"\x1b[2J", 4);
        let cut = publish("plant/m1/state", b"{\"x\":", 1_000_000);
        device.quarantine(&[good, bad, cut, rejected_row(77)]).await;
        let selection = Selection {
            ids: vec![1, 2, 3, 4, 9],
            ..Selection::default()
        };
        let retried = device.request(RetryItems(selection)).await.unwrap();
        assert_eq!((retried.sent, retried.records), (2, 2), "{retried:?}");
        assert_eq!((retried.cut, &retried.missing[..]), (1, &[9][..]));
        assert_eq!(retried.refused, [("not_json".to_owned(), 1)].into());

        let left = device.list().await;
        let left: Vec<(u64, &str)> = left.iter().map(|i| (i.id, i.reason.as_str())).collect();
        assert_eq!(left, [(3, "unknown_topic"), (5, "not_json")]);
        let (csv, rows) = device.export("plant/m1", ExportFormat::Csv).await.unwrap();
        let csv = String::from_utf8_lossy(&csv).into_owned();
        assert_eq!(rows, 1, "{csv}");
        // It came then, and did not say of when it was.
        assert!(
            csv.contains("1970-01-01T00:00:00.000001Z") || csv.contains(",1000,"),
            "{csv}"
        );
        let came = device.request(ShowItem { id: 5 }).await.unwrap();
        assert_eq!(
            came.unwrap().at_ns,
            1_000,
            "refused again it has come when it came"
        );
        // Refused for the same reason again: nothing changes, not even the number.
        let all = RetryItems(Selection::default());
        let again = device.request(all).await.unwrap();
        assert_eq!((again.sent, again.cut, again.refused.len()), (0, 1, 1));
        assert_eq!(device.list().await.last().unwrap().id, 5);

        // The row is upstream with the timestamp and the split it had.
        let settings = config::load(None, &device.args.overrides).unwrap();
        let upstream = crate::upstream::connect(&settings).unwrap();
        let batch_row = rejected_row(77);
        let Content::Row(row) = &batch_row.content else {
            unreachable!()
        };
        let (stream, schema) = retry::made_up(row);
        let at = TimeRange {
            from: Timestamp(77),
            to: Timestamp(77),
        };
        assert_eq!(upstream.count(&stream, &schema, at).await.unwrap(), 1);
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quarantine_can_be_looked_into_and_emptied() {
    for running in [true, false] {
        let mut device = Device::new(running).await;
        let hostile = publish("a\u{1b}[2J", &vec![b'x'; 40_000], 40_000);
        device
            .quarantine(&[hostile.clone(), rejected_row(1), rejected_row(2)])
            .await;
        let items = device.list().await;
        assert_eq!(items.len(), 3);
        assert_eq!(
            (
                items[0].kind.as_str(),
                items[0].of.as_str(),
                items[0].payload_bytes
            ),
            ("publish", "a\\u{1b}[2J", Some(40_000))
        );
        assert_eq!(
            (items[1].kind.as_str(), items[1].of.as_str()),
            ("row", "other/a")
        );
        let item = device.request(ShowItem { id: 1 }).await.unwrap();
        assert_eq!(item, Some(hostile));
        assert_eq!(device.request(ShowItem { id: 99 }).await.unwrap(), None);

        let of = |reason: &str| Selection {
            reason: Some(reason.into()),
            ..Selection::default()
        };
        let old = Selection {
            before_ns: Some(2_000),
            ..Selection::default()
        };
        assert_eq!(device.request(PurgeItems(old)).await.unwrap(), 1);
        let count = CountItems(Selection::default());
        let held = device.request(count).await.unwrap();
        let rows = Quarantined {
            items: 2,
            records: 2,
        };
        assert_eq!(held, [(REASON_UPSTREAM.to_owned(), rows)].into());
        let nothing = PurgeItems(of("nothing"));
        assert_eq!(device.request(nothing).await.unwrap(), 0);
        let all = PurgeItems(Selection::default());
        assert_eq!(device.request(all).await.unwrap(), 2);
        assert!(device.list().await.is_empty());
        device.stop().await;
    }
}
