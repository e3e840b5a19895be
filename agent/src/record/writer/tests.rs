#![allow(clippy::unwrap_used)]

use std::{fs, ops::Deref, sync::mpsc, time::Duration};

use bytes::Bytes;
use dunlin_sync::{
    block::Block,
    quarantine::Item,
    sample::{Field, FieldType, Value},
};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::{
    config::{
        self, Overrides,
        settings::{DeclaredField, WhenFull},
    },
    ingest::{
        Ack,
        inbox::{self, Outlet},
    },
    record::{
        clock::{EARLIEST_NS, Manual, Past},
        decode::Record,
    },
    store::Store,
    topic::TopicFilter,
};

mod bursts;
mod excluded;
mod faults;
mod imported;
mod known;
mod redelivery;
mod retained;
mod sparkplug;
mod time;
mod wide;

const SECOND_NS: i64 = 1_000_000_000;
const NOW: i64 = EARLIEST_NS + 200 * 86_400 * SECOND_NS;
/// So long that no commit is due for it within a test.
const NEVER: Duration = Duration::from_hours(1);

fn settings(dir: &TempDir) -> Settings {
    let overrides = Overrides::default()
        .set("data_dir", dir.path().join("data").to_str().unwrap())
        .set("device", "d")
        .set("mqtt.url", "mqtt://127.0.0.1:1")
        .set("mqtt.receive_maximum", "20")
        .set("upstream.url", "tdengine://127.0.0.1:1/plant")
        .topic("plant=plant/+machine/state");
    let mut settings = config::load(None, &overrides).unwrap();
    settings.buffer.commit_gap_ms_min = NEVER.as_millis() as u64;
    settings
}

/// A writer on a real data directory, driven turn by turn; what a test does not ask for never happens.
struct Device {
    settings: Settings,
    hands: Manual,
    writer: Option<Writer>,
    outlet: Outlet,
    acks: UnboundedReceiver<Vec<Ack>>,
    requests: Requests,
    gate: watch::Receiver<bool>,
    give_up: watch::Sender<bool>,
    dir: TempDir,
}

impl Device {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(&dir);
        change(&mut settings);
        Self::started(dir, settings, Manual::new(NOW, Some(true)))
    }

    fn started(dir: TempDir, settings: Settings, hands: Manual) -> Self {
        let store = Store::open(&settings).unwrap();
        let past = Past {
            newest: store.buffer.shape().newest_ts,
            buffer_damaged: false,
            record: load_clock(&clock_path(&settings.data_dir), false),
        };
        let (outlet, inbox) = inbox::channel(4096, 16 << 20);
        let (acker, acks) = Acker::observed();
        let clock = Clock::new(Box::new(hands.clone()), &settings.clock, &past);
        let (gate_sender, gate) = watch::channel(!clock.uploads_held());
        let parts = WriterParts {
            inbox,
            acker,
            buffer: store.buffer,
            quarantine: store.quarantine,
            clock,
            gate: gate_sender,
            uploads: Arc::default(),
            publisher: crate::mqtt::outgoing::channel().0,
            wall_ns: || NOW,
        };
        let (writer, requests) = Writer::new(parts, &settings);
        Self {
            settings,
            hands,
            writer: Some(writer),
            outlet,
            acks,
            requests,
            gate,
            give_up: watch::channel(false).0,
            dir,
        }
    }

    /// As after a loss of power: what is not durable is gone.
    fn restart(self) -> Self {
        let Self {
            settings,
            hands,
            writer,
            dir,
            ..
        } = self;
        drop(writer);
        Self::started(dir, settings, hands)
    }

    fn w(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn arrive(&self, publishes: impl IntoIterator<Item = Incoming>) {
        let mut batch: Vec<_> = publishes.into_iter().collect();
        self.outlet.push(&mut batch);
    }

    /// Lets the writer do what there is to do now, without waiting.
    fn turn(&mut self) -> Result<bool, String> {
        let stop = self.give_up.subscribe();
        let writer = self.writer.as_mut().unwrap();
        writer.parts.inbox.waker().wake();
        if let Some(stall) = &mut writer.stalled {
            stall.retry_at = Instant::now();
        }
        writer.turn(&stop)
    }

    /// The same, as if the gap between commits had passed.
    fn turn_after_gap(&mut self) {
        self.w().gap = Duration::ZERO;
        assert!(self.turn().unwrap());
        self.w().gap = NEVER;
    }

    /// Packet ids acknowledged since the last look.
    fn acked(&mut self) -> Vec<u16> {
        let mut ids = Vec::new();
        while let Ok(group) = self.acks.try_recv() {
            ids.extend(group.iter().map(|ack| ack.packet_id));
        }
        ids
    }

    fn stored(&self) -> Stored {
        let buffer = &self.writer.as_ref().unwrap().parts.buffer;
        let blocks = (buffer.oldest_seq()..buffer.next_seq())
            .map(|seq| buffer.read_block(seq).unwrap().unwrap());
        Stored(blocks.collect())
    }

    fn quarantined(&self) -> Vec<Item> {
        let quarantine = &self.writer.as_ref().unwrap().parts.quarantine;
        let items = quarantine.list(0, 1000).unwrap();
        items.into_iter().map(|(_, item)| item).collect()
    }

    fn ask(&self, content: RequestContent) -> mpsc::Receiver<Answer> {
        let (reply, answer) = mpsc::channel();
        let asked = self.requests.send(Request { content, reply });
        assert!(asked.is_ok());
        answer
    }
}

struct Stored(Vec<Block>);

impl Deref for Stored {
    type Target = [Block];

    fn deref(&self) -> &[Block] {
        &self.0
    }
}

impl Stored {
    /// Timestamp and first value of every record, in time order.
    fn rows(&self) -> Vec<(i64, f64)> {
        let sections = self.iter().flat_map(|block| &block.sections);
        let mut rows: Vec<_> = sections
            .flat_map(|section| {
                let rows = &section.rows;
                let value = |row| rows.columns.get(0)?.get(row);
                (0..rows.len()).map(move |row| match value(row) {
                    Some(Value::F64(value)) => (rows.ts[row], value),
                    other => (rows.ts[row], f64::from(u8::from(other.is_some()))),
                })
            })
            .collect();
        rows.sort_by_key(|(ts, _)| *ts);
        rows
    }

    fn source_times(&self) -> Vec<Option<i64>> {
        let sections = self.iter().flat_map(|block| &block.sections);
        let rows = sections.map(|section| &section.rows);
        rows.flat_map(|rows| (0..rows.len()).map(|row| rows.source_ts.get(row).copied().flatten()))
            .collect()
    }

    fn values(&self) -> Vec<f64> {
        self.rows().into_iter().map(|(_, value)| value).collect()
    }

    fn times(&self) -> Vec<i64> {
        self.rows().into_iter().map(|(ts, _)| ts).collect()
    }
}

fn publish(packet_id: u16, payload: impl Into<String>) -> Incoming {
    on("plant/press/state", packet_id, payload)
}

fn on(topic: &str, packet_id: u16, payload: impl Into<String>) -> Incoming {
    let payload = payload.into();
    Incoming {
        session_present: true,
        connection: 1,
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        payload_bytes: payload.len(),
        payload: payload.into(),
        packet_id,
        dup: false,
        qos0: packet_id == 0,
        retain: false,
    }
}

fn value(packet_id: u16, value: u32) -> Incoming {
    publish(packet_id, format!("{{\"x\":{value}.5}}"))
}

fn again(publish: Incoming) -> Incoming {
    Incoming {
        connection: publish.connection + 1,
        dup: true,
        ..publish
    }
}

/// Text that does not compress, `bytes` long.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let letters = (0..bytes).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state % 64) as u8)
    });
    let text: String = letters.collect();
    text.replace(['\\', '`'], "x")
}

#[test]
fn acknowledges_in_order_and_only_what_is_committed() {
    let mut device = Device::new();
    device.arrive([value(1, 1), publish(2, "{"), value(3, 3), value(0, 4)]);
    assert!(device.turn().unwrap());
    assert!(device.acked().is_empty());
    assert!(device.stored().is_empty() && device.quarantined().is_empty());
    device.arrive([value(7, 7), value(5, 5)]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3, 7, 5]);
    assert_eq!(device.stored().values(), [1.5, 3.5, 4.5, 7.5, 5.5]);
    let device = device.restart();
    assert_eq!(device.stored().values(), [1.5, 3.5, 4.5, 7.5, 5.5]);
    assert_eq!(device.quarantined().len(), 1);
}

#[test]
fn what_was_not_committed_is_neither_there_nor_acknowledged() {
    let mut device = Device::new();
    device.arrive([value(1, 1)]);
    device.turn().unwrap();
    assert!(device.acked().is_empty());
    let mut device = device.restart();
    assert!(device.stored().is_empty());
    // Sent again, it is new.
    device.arrive([again(value(1, 1))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1]);
    assert_eq!(device.stored().values(), [1.5]);
}

#[test]
fn commits_at_once_when_half_the_window_waits() {
    let mut device = Device::new();
    device.arrive((1..10).map(|id| value(id, 0)));
    device.turn().unwrap();
    assert!(device.acked().is_empty());
    device.arrive([value(10, 0)]);
    device.turn().unwrap();
    assert_eq!(device.acked().len(), 10);
    assert_eq!(device.stored().len(), 1, "one block");
}

#[test]
fn commits_at_once_when_a_block_is_full() {
    let mut device = Device::new();
    let batch: Vec<String> = (0..4)
        .map(|n| format!("{{\"t\":\"{}\"}}", noise(2500, n)))
        .collect();
    device.arrive([publish(1, format!("[{}]", batch.join(",")))]);
    device.turn().unwrap();
    assert_eq!(device.acked(), [1]);
}

#[test]
fn commits_after_the_gap_and_not_before() {
    let mut device = Device::with(|settings| settings.buffer.commit_gap_ms_min = 20);
    device.arrive([value(1, 1)]);
    let last_commit = device.w().last_commit;
    while device.acked().is_empty() {
        // No wake-up: the writer waits for the rest of the gap by itself.
        let stop = device.give_up.subscribe();
        device.w().turn(&stop).unwrap();
    }
    assert!(device.w().last_commit - last_commit >= Duration::from_millis(20));
}

#[test]
fn one_commit_stays_small_however_much_arrives() {
    let mut device = Device::new();
    let heavy = |id| publish(id, format!("{{\"t\":\"{}\"}}", noise(3000, u64::from(id))));
    device.arrive((1..=1000).map(heavy));
    device.turn().unwrap();
    let first = device.acked();
    assert!((20..60).contains(&first.len()), "{}", first.len());
    while device.acked().last() != Some(&1000) {
        device.turn().unwrap();
    }
    assert_eq!(device.stored().rows().len(), 1000);
}

#[test]
fn a_bad_publish_goes_to_quarantine_and_stops_nothing() {
    let mut device = Device::with(|settings| {
        let kind = FieldType::F64;
        let field = Field {
            name: "x".into(),
            kind,
        };
        settings.streams[0].fields = vec![DeclaredField {
            field,
            pointer: None,
            required: false,
            conversion: None,
        }];
    });
    let cut = Incoming {
        payload_bytes: 1 << 30,
        ..publish(3, "abc")
    };
    let topic = Incoming {
        topic: Bytes::from_static(b"\xff`..\0"),
        ..value(4, 4)
    };
    device.arrive([
        value(1, 1),
        publish(2, "{\"x\":\"text\"}"),
        cut,
        topic,
        on("other", 5, "{}"),
        on("", 6, ""),
        value(7, 7),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(device.stored().values(), [1.5, 7.5]);
    let reasons: Vec<_> = device.quarantined().into_iter().map(|i| i.reason).collect();
    assert_eq!(
        reasons,
        [
            "wrong_type",
            "too_large",
            "bad_topic",
            "unknown_topic",
            "bad_topic"
        ]
    );
    let stats = device.w().stats();
    assert_eq!(stats.records_quarantined.load(Relaxed), 5);
    assert_eq!(stats.records_received.load(Relaxed), 7);
    assert_eq!(stats.quarantined_by_reason()["bad_topic"], 2);
}

#[test]
fn a_second_type_is_stored_beside_the_first() {
    let mut device = Device::new();
    device.arrive([value(1, 1), publish(2, "{\"x\":\"text\"}"), value(3, 3)]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3]);
    assert!(device.quarantined().is_empty());
    let catalog = device.w().parts.buffer.catalog();
    let fields = &catalog.schema_named("plant").unwrap().fields;
    let names: Vec<_> = fields
        .iter()
        .map(|field| (&*field.name, field.kind))
        .collect();
    assert_eq!(names, [("x", FieldType::F64), ("x_text", FieldType::Text)]);
    // So it stays over a restart.
    let mut device = device.restart();
    device.arrive([publish(4, "{\"x\":\"more\"}"), value(5, 5)]);
    device.turn_after_gap();
    assert!(device.quarantined().is_empty());
    let catalog = device.w().parts.buffer.catalog();
    assert_eq!(catalog.schema_named("plant").unwrap().fields.len(), 2);
}

#[test]
fn other_settings_hold_from_the_next_publish_on() {
    let mut device = Device::new();
    device.arrive([value(1, 1), on("other/press", 2, "{\"x\":2.5}")]);
    device.turn_after_gap();
    let mut changed = device.settings.clone();
    let plant = changed.streams[0].clone();
    changed.streams.push(crate::config::settings::StreamRule {
        name: "other".into(),
        filter: TopicFilter::parse("other/+machine").unwrap(),
        ..plant
    });
    changed.streams[0].fields_max = 1;
    changed.buffer.commit_gap_ms_min = 7;
    let answer = device.ask(RequestContent::Settings(Box::new(changed)));
    device.turn().unwrap();
    assert_eq!(device.w().gap, Duration::from_millis(7));
    device.arrive([
        on("other/press", 3, "{\"x\":3.5}"),
        publish(4, "{\"y\":1}"),
        value(5, 5),
    ]);
    device.turn_after_gap();
    assert_eq!(answer.recv().unwrap(), Ok(0));
    assert_eq!(device.acked(), [1, 2, 3, 4, 5]);
    let reasons: Vec<_> = device.quarantined().into_iter().map(|i| i.reason).collect();
    assert_eq!(reasons, ["unknown_topic", "too_many_fields"]);
    assert_eq!(device.stored().values(), [1.5, 3.5, 5.5]);
    // The known stream goes on as itself.
    let catalog = device.w().parts.buffer.catalog();
    assert_eq!(catalog.streams().len(), 2);
}

#[test]
fn requests_are_answered_when_durable() {
    let mut device = Device::new();
    let publish = device.ask(RequestContent::Publish {
        wanted: None,
        at_ns: None,
        topic: b"plant/press/state".to_vec(),
        payload: b"[{\"x\":1.5},{\"x\":2.5}]".to_vec(),
    });
    let bad = device.ask(RequestContent::Publish {
        wanted: None,
        at_ns: None,
        topic: b"plant/press/state".to_vec(),
        payload: b"{".to_vec(),
    });
    let one = device.ask(records(1));
    device.turn().unwrap();
    assert!(publish.try_recv().is_err() && one.try_recv().is_err());
    device.turn_after_gap();
    assert_eq!(publish.recv().unwrap(), Ok(2));
    assert_eq!(one.recv().unwrap(), Ok(1));
    let refused = bad.recv().unwrap().unwrap_err();
    assert!(
        matches!(&refused, Refused::Permanent(why) if why.contains("not_json")),
        "{refused}"
    );
    assert_eq!(device.stored().values(), [1.5, 2.5, 9.5]);
    assert!(
        device.quarantined().is_empty(),
        "whoever asked has it still"
    );
    // Many records are worth a commit of their own.
    let many = device.ask(records(1000));
    device.turn().unwrap();
    assert_eq!(many.recv().unwrap(), Ok(1000));
}

fn records(count: usize) -> RequestContent {
    let record = Record {
        source_ts: Some(5),
        values: vec![Some(Value::F64(9.5))].into(),
    };
    RequestContent::Records {
        schema: "plant".into(),
        stream: "plant/press".into(),
        tags: Vec::new(),
        fields: vec![Field {
            name: "x".into(),
            kind: FieldType::F64,
        }],
        records: vec![record; count],
        file: FromFile::default(),
    }
}

#[test]
fn shutdown_commits_what_is_pending() {
    let mut device = Device::new();
    device.arrive([value(1, 1), value(2, 2)]);
    let answer = device.ask(records(1));
    device.outlet.close();
    let stop = device.give_up.subscribe();
    device.writer.take().unwrap().run(&stop).unwrap();
    assert_eq!(device.acked(), [1, 2]);
    assert_eq!(answer.recv().unwrap(), Ok(1));
    let device = device.restart();
    assert_eq!(device.stored().values(), [9.5, 1.5, 2.5]);
    // In good order, the clock's ceiling is the last timestamp.
    let record = load_clock(&clock_path(&device.settings.data_dir), false).unwrap();
    assert_eq!(Some(&record.ceiling_ns), device.stored().times().last());
}
