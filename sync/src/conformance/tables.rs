//! Tables that are not as a batch needs them: narrower, of other types, gone, with other tags.

use std::sync::Arc;

use super::{
    place::{Place, shown},
    records::{MANY_ROWS, Record, batch, numbers, schema, stream, table, text},
    report::{Outcome, holds, same},
};
use crate::{
    sample::{FieldType, Schema, Stream, Value},
    second_field::second_field,
};

pub(super) async fn a_new_field_gets_a_column(place: &Place<'_>) -> Outcome {
    let before = schema("grows", &[("x", FieldType::F64)]);
    let after = schema(
        "grows",
        &[
            ("x", FieldType::F64),
            ("b", FieldType::Bool),
            ("i", FieldType::I64),
            ("t", FieldType::Text),
        ],
    );
    let of = stream(&before, "d1", "m");
    let x = |x: f64| Some(Value::F64(x));
    let whole = || {
        let more = [Value::Bool(true), Value::I64(i64::MIN), text("grown")];
        let mut record: Record = vec![x(2.5)];
        record.extend(more.map(Some));
        record
    };
    let mut tables = vec![
        table(&of, &before, place.ts, vec![vec![x(1.0)]]),
        table(&of, &after, place.ts + 1, vec![whole()]),
        table(&of, &after, place.ts + 2, vec![whole(); MANY_ROWS]),
    ];
    let upstream = place.connect()?;
    for table in &tables {
        upstream.write_all(&batch([table.clone()])).await?;
    }
    // Rows of an earlier age have fewer columns than the schema.
    let mut early = table(&of, &before, place.ts + 1_000, vec![vec![x(4.0)]; 3]);
    early.schema = Arc::clone(&after);
    // Of another device, which has not grown, by another process.
    let other = stream(&before, "d2", "m");
    let small = table(&other, &before, place.ts + 2_000, vec![vec![x(5.0)]]);
    tables.extend([small, early]);
    let later = batch(&tables[3..]);
    place.connect()?.write_all(&later).await?;
    place.holds(&tables).await
}

pub(super) async fn a_longer_text_finds_room(place: &Place<'_>) -> Outcome {
    let schema = schema("texts", &[("t", FieldType::Text)]);
    let of = stream(&schema, "d1", "m");
    let connections = [place.connect()?, place.connect()?];
    let mut tables = Vec::new();
    // Each knows how wide the column was when it wrote last.
    for (number, bytes) in [1, 300, 20, 5_000, 4_999, 60_000].into_iter().enumerate() {
        let ts = place.ts + number as i64;
        let record = vec![Some(text(&"w".repeat(bytes)))];
        let table = table(&of, &schema, ts, vec![record]);
        let upstream = &connections[number % 2];
        upstream.write_all(&batch([table.clone()])).await?;
        tables.push(table);
        let count = upstream.count(&tables[0]).await?;
        same("rows", &(number as u64 + 1), &count)?;
    }
    place.holds(&tables).await
}

pub(super) async fn devices_that_differ_find_each_others_columns(place: &Place<'_>) -> Outcome {
    let n = Value::F64;
    let fleet: [&[(&str, Value)]; 8] = [
        &[("state", n(1.0))],
        &[("state", text("ok"))],
        // A field of that name, of the same type and of another.
        &[("state", n(2.0)), ("state_text", text("own"))],
        &[("state", text("ko")), ("state_text", text("own"))],
        &[("state", text("no")), ("state_text", n(5.0))],
        &[("state", Value::Bool(true))],
        &[("state", Value::I64(i64::MAX))],
        &[("state", Value::F32(0.5))],
    ];
    let mut columns = vec!["state".to_owned()];
    for kind in [
        FieldType::F64,
        FieldType::F32,
        FieldType::I64,
        FieldType::Bool,
        FieldType::Text,
    ] {
        let second = second_field("state", kind, 1);
        columns.extend([
            second_field(&second, FieldType::F64, 1),
            second_field(&second, FieldType::Text, 1),
            second,
        ]);
    }
    let mut columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    columns.sort_unstable();
    columns.dedup();
    columns.insert(0, "device");
    for _ in 0..2 {
        for (number, fields) in fleet.iter().enumerate() {
            let kinds: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, value.kind()))
                .collect();
            let record = fields.iter().map(|(_, value)| Some(value.clone()));
            let schema = schema("fleet", &kinds);
            let of = stream(&schema, &format!("d{number}"), "m");
            let table = table(&of, &schema, place.ts, vec![record.collect()]);
            let upstream = place.connect()?;
            upstream.write_all(&batch([table.clone()])).await?;
            upstream.counts(&table).await?;
        }
    }
    let Some(mut found) = place.read("fleet", &columns).await? else {
        return Ok(());
    };
    same("rows of `fleet`", &fleet.len(), &found.len())?;
    found.sort();
    for (row, fields) in found.iter().zip(&fleet) {
        let mut cells: Vec<&str> = row[1..].iter().flatten().map(String::as_str).collect();
        let mut lost = fields.iter().filter(|(_, value)| {
            let place = cells
                .iter()
                .position(|c| place.is_same(Some(value), Some(c)));
            place.map(|place| cells.remove(place)).is_none()
        });
        let is_whole = lost.next().is_none();
        holds(
            format!("values of `fleet`: {}", columns.join(", ")),
            is_whole && cells.is_empty(),
            format!("once each of {fields:?}"),
            format!("{row:?}"),
        )?;
    }
    Ok(())
}

pub(super) async fn a_conflict_in_one_batch_costs_nothing(place: &Place<'_>) -> Outcome {
    let taken = schema("typed", &[("x", FieldType::Text), ("y", FieldType::F64)]);
    let first = table(
        &stream(&taken, "d0", "m"),
        &taken,
        place.ts,
        vec![vec![Some(text("a word")), Some(Value::F64(0.5))]],
    );
    place.connect()?.write_all(&batch([first])).await?;
    let ours = schema("typed", &[("x", FieldType::F64), ("y", FieldType::F64)]);
    let fine = schema("fine", &[("x", FieldType::F64)]);
    let record = |row: usize| {
        let x = (!row.is_multiple_of(3)).then_some(Value::F64(row as f64));
        vec![x, Some(Value::F64(-1.0))]
    };
    let of = |machine: &str, ts, rows| {
        let stream = stream(&ours, "d1", machine);
        table(&stream, &ours, ts, (0..rows).map(record).collect())
    };
    let tables = [
        of("few", place.ts + 1, 10),
        numbers(&stream(&fine, "d1", "m"), &fine, place.ts, MANY_ROWS),
        of("many", place.ts + 100, MANY_ROWS),
    ];
    let upstream = place.connect()?;
    for upstream in [&upstream, &upstream, &place.connect()?] {
        upstream.write_all(&batch(tables.clone())).await?;
        for table in &tables {
            upstream.counts(table).await?;
        }
    }
    place.holds(&tables[1..2]).await?;
    let second = second_field("x", FieldType::F64, 1);
    let Some(found) = place.read("typed", &["x", &second, "y"]).await? else {
        return Ok(());
    };
    let numbers = found.iter().filter_map(|row| {
        let mut cells = row[..2].iter().flatten();
        cells.find_map(|cell| cell.parse::<f64>().ok())
    });
    let with_y = found.iter().filter(|row| row[2].is_some()).count();
    let expected: Vec<f64> = [10, MANY_ROWS]
        .into_iter()
        .flat_map(|rows| (0..rows).filter(|row: &usize| !row.is_multiple_of(3)))
        .map(|row| row as f64)
        .collect();
    let mut numbers: Vec<f64> = numbers.collect();
    let mut expected = expected;
    numbers.sort_by(f64::total_cmp);
    expected.sort_by(f64::total_cmp);
    same(
        "rows of `typed`, and those with a `y`",
        &(MANY_ROWS + 11, MANY_ROWS + 11),
        &(found.len(), with_y),
    )?;
    same("numbers in `x` and beside it", &expected, &numbers)
}

pub(super) async fn a_wide_record_is_whole_and_counted_once(place: &Place<'_>) -> Outcome {
    let upstream = place.connect()?;
    for (fields, many) in [(1_000, MANY_ROWS), (4_096, 130)] {
        let names: Vec<String> = (0..fields).map(|field| format!("f{field}")).collect();
        let kinds: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
        let schema = schema(&format!("wide{fields}"), &kinds);
        // The first has all, some the last alone, some the first.
        let record = |row: usize| {
            let is_there = |field: usize| match row % 4 {
                1 => field == 0,
                2 => field + 1 == fields,
                _ => true,
            };
            let value = |field| is_there(field).then(|| Value::F64((row * fields + field) as f64));
            (0..fields).map(value).collect::<Record>()
        };
        let of = |machine: &str, ts, rows| {
            let stream = stream(&schema, "d1", machine);
            table(&stream, &schema, ts, (0..rows).map(record).collect())
        };
        let tables = [of("few", place.ts, 3), of("many", place.ts + 1_000, many)];
        for table in &tables {
            upstream.write_all(&batch([table.clone()])).await?;
        }
        // Again, by another process.
        place.connect()?.write_all(&batch(tables.clone())).await?;
        for table in &tables {
            upstream.counts(table).await?;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for looked_at in names.chunks(512) {
            place.holds_in(&tables, looked_at).await?;
        }
    }
    Ok(())
}

pub(super) async fn tables_dropped_behind_our_back_are_made_again(place: &Place<'_>) -> Outcome {
    let schema = schema("lost", &[("x", FieldType::F64)]);
    let of = stream(&schema, "d1", "m");
    let upstream = place.connect()?;
    for rows in [5, MANY_ROWS] {
        let table = numbers(&of, &schema, place.ts, rows);
        upstream.write_all(&batch([table.clone()])).await?;
        if !place.drop_tables("lost").await? {
            return Ok(());
        }
        same("rows of dropped tables", &0, &upstream.count(&table).await?)?;
        upstream.write_all(&batch([table.clone()])).await?;
        upstream.counts(&table).await?;
        place.holds(&[table]).await?;
    }
    Ok(())
}

fn tagged(names: &[&str], values: &[&str]) -> (Arc<Schema>, Arc<Stream>) {
    let mut schema = Schema::clone(&schema("tagged", &[("x", FieldType::F64)]));
    schema.tag_names = names.iter().map(ToString::to_string).collect();
    let mut stream = Stream::clone(&stream(&schema, values[0], "m1"));
    stream.tags = values.iter().map(ToString::to_string).collect();
    let first = values[..2].iter().map(ToString::to_string).collect();
    stream.first_tags = (values.len() > 2).then_some(first);
    (Arc::new(schema), Arc::new(stream))
}

pub(super) async fn tags_that_change_follow(place: &Place<'_>) -> Outcome {
    let upstream = place.connect()?;
    let steps: [(&[&str], &[&str]); 5] = [
        (&["device", "machine"], &["d1", "m1"]),
        (&["device", "machine", "site"], &["d1", "m1", "it's"]),
        (&["device", "machine", "site"], &["d1", "m1", "north"]),
        (
            &["device", "machine", "site", "hall"],
            &["d1", "m1", "north", "2"],
        ),
        // Another device with fewer tags.
        (&["device", "machine"], &["d2", "m1"]),
    ];
    for (step, (names, values)) in steps.into_iter().enumerate() {
        let (schema, stream) = tagged(names, values);
        let rows = numbers(&stream, &schema, place.ts + step as i64, 1);
        upstream.write_all(&batch([rows.clone()])).await?;
        // As after a restart of the agent.
        place.connect()?.write_all(&batch([rows.clone()])).await?;
        let expected = if values[0] == "d1" { step + 1 } else { 1 };
        let what = "rows of a stream whose tags have changed";
        same(what, &(expected as u64), &upstream.count(&rows).await?)?;
    }
    let columns = ["ts", "device", "machine", "site", "hall"];
    let Some(found) = place.read("tagged", &columns).await? else {
        return Ok(());
    };
    same("rows of `tagged`", &steps.len(), &found.len())?;
    // Whether rows from before have the new tags, too, is the database's own affair.
    for (ts, tags) in [(3, &["d1", "m1", "north", "2"][..]), (4, &["d2", "m1"])] {
        let ts = shown(&Value::I64(place.ts + ts));
        let of_ts = found.iter().find(|row| row[0].as_ref() == Some(&ts));
        let mut expected: Vec<Option<String>> = vec![Some(ts)];
        expected.extend(tags.iter().map(|tag| Some((*tag).to_owned())));
        expected.resize(columns.len(), None);
        same("tags of a row", &Some(&expected), &of_ts)?;
    }
    Ok(())
}
