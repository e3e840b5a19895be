//! Records of many fields, up to what can be stored and beyond.

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::prelude::*;

use super::*;

const FIELDS_MAX: usize = 4_096;

/// A writer whose only rule takes as many fields as any may.
fn device() -> Device {
    Device::with(|settings| settings.streams[0].fields_max = FIELDS_MAX)
}

fn mixed(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

type Named = BTreeMap<String, Value>;

/// A record: of `width` fields every `share`-th or so, and a note of `text_bytes`.
fn record(width: usize, share: u64, text_bytes: usize, seed: u64) -> Named {
    let mut record = Named::new();
    for field in 0..width as u64 {
        let noise = mixed(seed ^ field << 8);
        if field > 0 && !noise.is_multiple_of(share) {
            continue;
        }
        let value = match field % 3 {
            0 => Value::F64((noise >> 12) as f64 / 8.0),
            1 => Value::Bool(noise.is_multiple_of(2)),
            _ => Value::Text(format!("t{}", noise % 1_000).into()),
        };
        record.insert(format!("f{field}"), value);
    }
    if text_bytes > 0 {
        let text = Value::Text("n".repeat(text_bytes).into());
        record.insert("note".into(), text);
    }
    record
}

/// Its bytes, as the bound counts them.
fn bytes_of(record: &Named) -> usize {
    23 + record.values().map(Value::bytes).sum::<usize>()
}

fn json(records: &[Named]) -> String {
    let mut text = String::from("[");
    for (number, record) in records.iter().enumerate() {
        text.push_str(if number == 0 { "{" } else { ",{" });
        for (number, (name, value)) in record.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _infallible = match value {
                Value::F64(x) => write!(text, "{comma}\"{name}\":{x}"),
                Value::Bool(x) => write!(text, "{comma}\"{name}\":{x}"),
                Value::Text(x) => write!(text, "{comma}\"{name}\":\"{x}\""),
                _ => Ok(()),
            };
        }
        text.push('}');
    }
    text.push(']');
    text
}

/// All records of the device in order of time, by name of field.
fn stored(device: &Device) -> Vec<Named> {
    let buffer = &device.writer.as_ref().unwrap().parts.buffer;
    let catalog = buffer.catalog();
    let mut records = Vec::new();
    for block in device.stored().iter() {
        for section in &block.sections {
            let schema = catalog.schema(section.schema).unwrap();
            for row in 0..section.rows.len() {
                let there = section.rows.columns.iter();
                let named = there.filter_map(|(field, column)| {
                    Some((schema.fields[field].name.clone(), column.get(row)?))
                });
                records.push((section.rows.ts[row], named.collect()));
            }
        }
    }
    records.sort_by_key(|(ts, _)| *ts);
    records.into_iter().map(|(_, record)| record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]
    #[test]
    fn what_is_received_is_committed_as_it_was_or_in_quarantine(
        publishes in prop::collection::vec(
            (
                prop_oneof![1_usize..FIELDS_MAX, Just(FIELDS_MAX - 1)],
                prop_oneof![Just(1_u64), 1_u64..500],
                prop_oneof![2 => Just(0_usize), 1 => 1_usize..80_000],
                1_usize..4,
                any::<u64>(),
            ),
            1..10,
        ),
    ) {
        let mut device = device();
        let (mut wanted, mut received, mut refused) = (Vec::new(), 0, 0);
        for (id, (width, share, text_bytes, count, seed)) in (1..).zip(publishes) {
            let record = |n: usize| record(width, share, text_bytes / (n + 1), seed ^ n as u64);
            let records: Vec<Named> = (0..count).map(record).collect();
            device.arrive([publish(id, json(&records))]);
            received += count;
            if records.iter().all(|record| bytes_of(record) <= 64 << 10) {
                wanted.extend(records);
            } else {
                refused += count;
            }
        }
        device.turn_after_gap();
        while !device.w().arrived.is_empty() || !device.w().pending.is_empty() {
            device.turn_after_gap();
        }
        let stats = device.w().stats();
        prop_assert_eq!(stats.records_received.load(Relaxed), received as u64);
        prop_assert_eq!(stats.records_quarantined.load(Relaxed), refused as u64);
        let items = device.quarantined();
        prop_assert!(items.iter().all(|item| item.reason == "record_too_large"));
        let found = stored(&device);
        prop_assert_eq!(found.len(), wanted.len());
        prop_assert!(found == wanted, "other records than were sent");
        let buffer = &device.w().parts.buffer;
        prop_assert_eq!(buffer.stats().rows_committed.load(Relaxed), wanted.len() as u64);
    }
}

#[test]
fn a_record_with_one_field_at_the_end_of_a_wide_table_is_stored() {
    let mut device = device();
    // 24 machines with 100 fields of their own each.
    for machine in 0..24_u16 {
        let fields = (0..100).map(|n| format!("\"m{machine}_{n}\":{n}.25"));
        let fields: Vec<String> = fields.collect();
        device.arrive([publish(machine + 1, format!("{{{}}}", fields.join(",")))]);
    }
    device.arrive([publish(100, "{\"m23_99\":7}")]);
    device.turn_after_gap();
    assert!(device.quarantined().is_empty());
    let records = stored(&device);
    assert_eq!(records.len(), 25);
    assert!(records[..24].iter().all(|record| record.len() == 100));
    assert_eq!(records[24]["m23_99"], Value::F64(7.0));
}

#[test]
fn a_refused_record_says_its_size_the_bound_and_what_to_do() {
    let mut device = device();
    device.arrive([publish(1, json(&[record(10, 1, 70_000, 1)]))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1]);
    let item = &device.quarantined()[0];
    assert_eq!(item.reason, "record_too_large");
    for said in ["bytes in 11 fields", "65536 bytes", "4096 fields", "send"] {
        assert!(item.detail.contains(said), "{}", item.detail);
    }
}

#[test]
fn records_from_inside_fit_as_well_or_are_refused_whole() {
    let mut device = device();
    let field = |name: &str, kind| Field {
        name: name.into(),
        kind,
    };
    let ask = |device: &mut Device, values: Vec<Option<Value>>| {
        let good = vec![Some(Value::Text("good".into()))];
        let records = [good, values].map(|values| Record {
            source_ts: None,
            values: values.into(),
        });
        let answer = device.ask(RequestContent::Records {
            schema: "own".into(),
            stream: "own/1".into(),
            tags: Vec::new(),
            fields: vec![field("text", FieldType::Text), field("x", FieldType::F64)],
            records: records.into(),
            file: FromFile::default(),
        });
        device.turn_after_gap();
        answer.try_recv().unwrap()
    };
    let text = |bytes: usize| Some(Value::Text("x".repeat(bytes).into()));
    let too_large = ask(&mut device, vec![text(65_536), Some(Value::F64(1.0))]);
    assert!(
        matches!(&too_large, Err(Refused::Permanent(why)) if why.contains("65536")),
        "{too_large:?}"
    );
    let of_another_type = ask(&mut device, vec![text(1), Some(Value::Bool(true))]);
    assert!(
        matches!(&of_another_type, Err(Refused::Permanent(why)) if why.contains("another type than f64")),
        "{of_another_type:?}"
    );
    assert!(stored(&device).is_empty());
    assert_eq!(
        ask(&mut device, vec![text(60_000), Some(Value::F64(1.0))]),
        Ok(2)
    );
    assert_eq!(stored(&device).len(), 2);
}

#[test]
fn a_backlog_of_wide_records_begins_no_generation_at_each_commit() {
    let mut device = device();
    let wide = |seed: u64| record(FIELDS_MAX - 1, 1, 20_000, seed);
    device.arrive([publish(1, json(&[wide(0)]))]);
    device.turn_after_gap();
    let before = device.w().parts.buffer.shape().generations;
    let count = 24;
    device.arrive((2..2 + count).map(|id| publish(id, json(&[wide(u64::from(id))]))));
    device.turn_after_gap();
    while !device.w().arrived.is_empty() || !device.w().pending.is_empty() {
        device.turn_after_gap();
    }
    assert_eq!(stored(&device).len(), 1 + usize::from(count));
    let buffer = &device.w().parts.buffer;
    assert!(buffer.stats().commits.load(Relaxed) < u64::from(count));
    assert_eq!(buffer.shape().generations, before);
}
