#![allow(clippy::unwrap_used)]

use super::*;
use crate::sample::{Field, FieldType, Value};

fn schema(id: SchemaId, kinds: &[FieldType]) -> Schema {
    let fields = kinds.iter().enumerate();
    let fields = fields
        .map(|(i, kind)| Field {
            name: format!("f{i}"),
            kind: *kind,
        })
        .collect();
    Schema {
        id,
        name: format!("s{id}"),
        tag_names: vec!["device".into()],
        fields,
        origins: Vec::new(),
    }
}

fn sample(stream: StreamId, ts: i64, values: Vec<Option<Value>>) -> Sample {
    let split = Split {
        is_train: ts % 5 != 0,
        fold: 0,
    };
    Sample {
        stream,
        ts: Timestamp(ts),
        split,
        source_ts: None,
        values: values.into(),
    }
}

#[test]
fn blocks_never_exceed_the_bound_and_follow_each_other_in_time() {
    let numbers = schema(0, &[FieldType::F64, FieldType::F64]);
    let texts = schema(1, &[FieldType::Text]);
    let mut builder = BlockBuilder::new(Compression::Pco);
    let mut state = 1_u64;
    for ts in 0..20_000_i64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let noise = f64::from_bits(state >> 2);
        if ts % 97 == 0 {
            let text: String = (0..6000)
                .map(|i| char::from(33 + ((state >> (i % 50)) % 90) as u8))
                .collect();
            builder
                .push(&texts, sample(9, ts, vec![Some(Value::Text(text.into()))]))
                .unwrap();
        } else {
            let values = vec![
                Some(Value::F64(noise)),
                (ts % 3 == 0).then_some(Value::F64(1.0)),
            ];
            builder
                .push(&numbers, sample((ts % 7) as u32, ts, values))
                .unwrap();
        }
    }
    let blocks = builder.finish();
    assert!(builder.is_empty());
    let mut next_ts = 0;
    for block in &blocks {
        assert!(
            block.encoded_bytes() <= BLOCK_BYTES_MAX,
            "{} bytes",
            block.encoded_bytes()
        );
        assert_eq!(block.first_ts, next_ts);
        next_ts = block.last_ts + 1;
    }
    assert_eq!(next_ts, 20_000);
    assert_eq!(
        blocks.iter().map(|b| u64::from(b.rows)).sum::<u64>(),
        20_000
    );
}

#[test]
fn a_sample_that_cannot_fit_is_refused_and_leaves_nothing() {
    let texts = schema(0, &[FieldType::Text]);
    let mut builder = BlockBuilder::new(Compression::Pco);
    let text = |bytes: usize| vec![Some(Value::Text("x".repeat(bytes).into()))];
    let bound = RECORD_BYTES_MAX - 27;
    let refused = builder.push(&texts, sample(0, 1, text(bound + 1)));
    let error = refused.unwrap_err();
    assert!(matches!(error, PushError::TooLarge { .. }));
    let said = error.to_string();
    assert!(
        said.contains("65537 bytes") && said.contains("65536") && said.contains("several"),
        "{said}"
    );
    let number = vec![Some(Value::F64(1.0))];
    assert!(matches!(
        builder.push(&texts, sample(0, 1, number)),
        Err(PushError::WrongType { .. })
    ));
    let second = vec![None, Some(Value::F64(1.0))];
    assert!(matches!(
        builder.push(&texts, sample(0, 1, second)),
        Err(PushError::NoField {
            field: 1,
            fields: 1
        })
    ));
    assert!(builder.is_empty() && builder.finish().is_empty());
    builder.push(&texts, sample(0, 1, text(bound))).unwrap();
    assert_eq!(builder.finish().len(), 1);
}

#[test]
fn a_small_sample_may_follow_a_wide_one() {
    let kinds = [vec![FieldType::Text], vec![FieldType::Bool; 1_100]].concat();
    let wide = schema(0, &kinds);
    let mut builder = BlockBuilder::new(Compression::Pco);
    let text = |seed: u64, bytes: u64| {
        let noise = |i: u64| (seed + i).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57;
        let text: String = (0..bytes).map(|i| char::from(noise(i) as u8)).collect();
        vec![Some(Value::Text(text.into()))]
    };
    let flags = [text(1, 1), vec![Some(Value::Bool(true)); 1_000]].concat();
    builder.push(&wide, sample(0, 1, flags)).unwrap();
    for ts in 2..5 {
        let values = text(ts as u64, 6_000);
        builder.push(&wide, sample(0, ts, values)).unwrap();
    }
    let blocks = builder.finish();
    assert_eq!(blocks.iter().map(|block| block.rows).sum::<u32>(), 4);
    assert!(
        blocks
            .iter()
            .all(|block| block.encoded_bytes() <= BLOCK_BYTES_MAX)
    );
}

#[test]
fn a_block_above_the_bound_holds_one_record_and_fits_a_put() {
    // What the buffer can put at once without beginning a generation.
    const PUT_BYTES_MAX: usize = 128 << 10;
    for kind in [FieldType::Bool, FieldType::F64, FieldType::Text] {
        // Fields apart from each other, values that cannot be packed.
        let wide = schema(0, &vec![kind; 2 * FIELDS_MAX]);
        let mut builder = BlockBuilder::new(Compression::Pco);
        for ts in 0..4_u64 {
            let noise = |n: usize| (ts << 20 | n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let values = (0..2 * FIELDS_MAX).map(|n| match (kind, n % 2) {
                (_, 1) => None,
                (FieldType::Bool, _) => Some(Value::Bool(true)),
                (FieldType::F64, _) => Some(Value::F64(f64::from_bits(noise(n) >> 2))),
                _ => Some(Value::Text(format!("{:011x}", noise(n) >> 20).into())),
            });
            let values = values.collect();
            builder.push(&wide, sample(0, ts as i64, values)).unwrap();
        }
        let blocks = builder.finish();
        assert_eq!(blocks.iter().map(|block| block.rows).sum::<u32>(), 4);
        for block in blocks {
            assert!(block.encoded_bytes() <= BLOCK_BYTES_MAX || block.rows == 1);
            assert!(block.encoded_bytes() < PUT_BYTES_MAX - BLOCK_BYTES_MAX);
        }
    }
}

#[test]
fn a_record_of_one_field_costs_one_field_wherever_it_lies() {
    let blocks_of = |field: &dyn Fn(i64) -> usize| {
        let wide = schema(0, &vec![FieldType::F64; FIELDS_MAX]);
        let mut builder = BlockBuilder::new(Compression::Pco);
        for ts in 0..5_000 {
            let mut values = vec![None; field(ts)];
            values.push(Some(Value::F64(f64::from_bits(
                (ts as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2,
            ))));
            builder.push(&wide, sample(0, ts, values)).unwrap();
        }
        let blocks = builder.finish();
        blocks.iter().map(BlockBody::encoded_bytes).sum::<usize>()
    };
    let (first, last) = (blocks_of(&|_| 0), blocks_of(&|_| FIELDS_MAX - 1));
    assert!(last < first * 11 / 10, "{first} bytes, at the end {last}");
    let everywhere = blocks_of(&|ts| (ts * 7919 % FIELDS_MAX as i64) as usize);
    assert!(
        everywhere < 5_000 * 40,
        "{everywhere} bytes for 5,000 records"
    );
}

#[test]
fn the_target_learns_what_compresses_well() {
    let numbers = schema(0, &[FieldType::F64]);
    let mut builder = BlockBuilder::new(Compression::Pco);
    for ts in 0..200_000 {
        builder
            .push(&numbers, sample(0, ts, vec![Some(Value::F64(21.5))]))
            .unwrap();
    }
    let blocks = builder.finish();
    assert!(blocks.len() < 120, "{} blocks", blocks.len());
}
