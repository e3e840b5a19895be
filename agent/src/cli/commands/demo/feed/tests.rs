#![allow(clippy::unwrap_used)]

use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
};

use super::*;

fn words() -> StatusWords {
    let word = |word: &str| word.to_owned();
    StatusWords {
        queued: word("queued"),
        training: word("training"),
        available: word("serves"),
        rejected: word("refused"),
        retired: word("retired"),
        rolled_back: word("rolled_back"),
        failed: word("failed"),
        dead: word("dead"),
    }
}

/// What is told of rows of these fields in `table`, about one machine.
fn told(feed: &mut Feed, table: &str, fields: &[&str], rows: &[&[Value]]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let options = BufferOptions::new(dir.path().join("buffer"), 16 << 20);
    let (buffer, _) = Buffer::open(options).unwrap();
    let fields: Vec<Field> = fields
        .iter()
        .zip(rows[0])
        .map(|(name, value)| Field {
            name: (*name).into(),
            kind: match value {
                Value::Bool(_) => FieldType::Bool,
                _ => FieldType::Text,
            },
        })
        .collect();
    let schema = buffer.declare_schema(table, &[], &fields).unwrap();
    let name = format!("{table}/{RECIPE}/{STREAM}/line1/machine2");
    let stream = buffer.declare_stream(schema.id, &name, &[]);
    let mut builder = BlockBuilder::new(Compression::Pco);
    for (ts, row) in (1..).zip(rows) {
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: true,
                fold: 0,
            },
            source_ts: None,
            values: row.iter().cloned().map(Some).collect(),
        };
        builder.push(&schema, sample).unwrap();
    }
    buffer.commit(&builder.finish(), &[]).unwrap();
    let block = buffer.read_block(0).unwrap().unwrap();
    for section in &block.sections {
        feed.read(section, &schema, &buffer.catalog());
    }
    feed.take_untold()
}

#[test]
fn tasks_and_events_become_lines_and_flags_a_state() {
    let mut feed = Feed::new(words());
    let text = |text: &str| Value::Text(text.into());
    let task = |kind, status, reason| [text(kind), text(status), text(reason)];
    let rows = [
        task("scratch", "queued", "enough records"),
        task("scratch", "serves", "passed the gate"),
        task("fine_tune", "queued", "drift"),
        task("fine_tune", "refused", "it is worse"),
    ];
    let rows = rows.each_ref().map(|row| &row[..]);
    assert_eq!(
        told(&mut feed, TASKS, &["kind", "status", "reason"], &rows),
        [
            "line1/machine2: first model promoted",
            "line1/machine2: to be fine-tuned: drift",
            "line1/machine2: fine-tuned model refused: it is worse",
        ]
    );
    let drift = [text("drift"), text("Adwin")];
    let promoted = [text("promoted"), text("better than all others")];
    assert_eq!(
        told(&mut feed, EVENTS, &["kind", "what"], &[&drift, &promoted]),
        ["line1/machine2: drift noticed (Adwin)"]
    );
    assert_eq!(feed.flag("line1/machine2"), None);
    let flags = [[Value::Bool(false)], [Value::Bool(true)]];
    let flags = flags.each_ref().map(|row| &row[..]);
    assert!(told(&mut feed, PREDICTIONS, &["flag"], &flags).is_empty());
    assert_eq!(feed.flag("line1/machine2"), Some(true));
    assert_eq!(feed.flag("line1/machine3"), None);
}
