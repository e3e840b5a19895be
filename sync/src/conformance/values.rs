//! Values, names and times: what is written is what is there.

use std::sync::Arc;

use super::{
    place::Place,
    records::{MANY_ROWS, Record, batch, numbers, part_of, schema, stream, table, text},
    report::{Outcome, holds, same},
};
use crate::{
    rows::TableRows,
    sample::{FieldType, Schema, Stream, Value},
};

/// Texts that a statement, a pattern or a shell could take for something else.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "it's",
    "\"quoted\"",
    "back\\slash \\n \\0 \\' \\\"",
    "`back-ticked`",
    "two\nlines\r\nand\ta tab",
    "NULL",
    "null",
    "%_ $1 ? :x @y {} {{}}",
    "'; DROP TABLE texts; --",
    "é 漢字 😀",
    "e\u{301} \u{202e}turned\u{202c} \u{feff}",
    "$$dollars$$",
    "\u{1}\u{7f}",
    " trailing \n",
];

/// Longest text that there is: a record has 64 KiB at most.
const TEXT_BYTES_MAX: usize = 65_400;

pub(super) async fn every_type_comes_back(place: &Place<'_>) -> Outcome {
    let fields = [
        ("d", FieldType::F64),
        ("f", FieldType::F32),
        ("i", FieldType::I64),
        ("b", FieldType::Bool),
        ("t", FieldType::Text),
    ];
    let schema = schema("kinds", &fields);
    let record = |row: usize| {
        vec![
            Some(Value::F64(row as f64 + 0.25)),
            Some(Value::F32(row as f32 - 0.1)),
            (row % 3 != 1).then_some(Value::I64(row as i64 - 1)),
            Some(Value::Bool(row.is_multiple_of(2))),
            Some(text(&format!("é{row}"))),
        ]
    };
    let of = |machine: &str, ts, rows| {
        let stream = stream(&schema, "d1", machine);
        table(&stream, &schema, ts, (0..rows).map(record).collect())
    };
    let tables = [
        of("few", place.ts, 3),
        of("many", place.ts + 1_000_000, MANY_ROWS),
    ];
    let upstream = place.connect()?;
    for table in &tables {
        upstream.write_all(&batch([table.clone()])).await?;
        upstream.counts(table).await?;
    }
    place.holds(&tables).await
}

pub(super) async fn numbers_at_the_ends_come_back(place: &Place<'_>) -> Outcome {
    let fields = [
        ("d", FieldType::F64),
        ("f", FieldType::F32),
        ("i", FieldType::I64),
    ];
    let schema = schema("ends", &fields);
    let ends = [
        (f64::MAX, f32::MAX, i64::MAX),
        (f64::MIN, f32::MIN, i64::MIN),
        (f64::MIN_POSITIVE, f32::MIN_POSITIVE, 0),
        (0.1, 0.1, -1),
        (1e300, -1e-30, 9_007_199_254_740_993),
        (-0.0, 0.0, i64::MIN + 1),
        (5e-324, 1e-45, i64::MAX - 1),
        (f64::INFINITY, f32::NEG_INFINITY, 1),
        (f64::NEG_INFINITY, f32::INFINITY, 2),
        (f64::NAN, f32::NAN, 3),
    ];
    let record = |(d, f, i): (f64, f32, i64)| {
        vec![
            Some(Value::F64(d)),
            Some(Value::F32(f)),
            Some(Value::I64(i)),
        ]
    };
    let of = |machine: &str, ts, records: Vec<Record>| {
        table(&stream(&schema, "d1", machine), &schema, ts, records)
    };
    let many = ends.into_iter().cycle().take(MANY_ROWS).map(record);
    let tables = [
        of(
            "usual",
            place.ts,
            ends[..6].iter().copied().map(record).collect(),
        ),
        of(
            "few",
            place.ts + 100,
            ends.into_iter().map(record).collect(),
        ),
        of("many", place.ts + 1_000, many.collect()),
    ];
    let upstream = place.connect()?;
    upstream.write_all(&batch(tables.clone())).await?;
    for table in &tables {
        upstream.counts(table).await?;
    }
    place.holds(&tables).await
}

pub(super) async fn texts_come_back(place: &Place<'_>) -> Outcome {
    let schema = schema("texts", &[("t", FieldType::Text), ("u", FieldType::Text)]);
    let (long, longer) = ("ü".repeat(5_000), "x\\'\n".repeat(15_000));
    let record = |row: usize| {
        let (t, u) = (TEXTS[row % TEXTS.len()], TEXTS[(row + 7) % TEXTS.len()]);
        vec![Some(text(t)), Some(text(u))]
    };
    let of = |machine: &str, ts, records: Vec<Record>| {
        table(&stream(&schema, "it's", machine), &schema, ts, records)
    };
    let tables = [
        of("few", place.ts, (0..TEXTS.len()).map(record).collect()),
        of("many", place.ts + 100, (0..MANY_ROWS).map(record).collect()),
        of(
            "long",
            place.ts + 1_000,
            vec![
                vec![Some(text(&long)), Some(text("short"))],
                vec![None, Some(text(&longer))],
                vec![Some(text(&long)), Some(text(""))],
            ],
        ),
    ];
    let upstream = place.connect()?;
    for table in &tables {
        upstream.write_all(&batch([table.clone()])).await?;
        upstream.counts(table).await?;
    }
    // As from another process, that does not know how long they have become.
    place.connect()?.write_all(&batch(tables.clone())).await?;
    place.holds(&tables).await
}

pub(super) async fn hostile_names_survive(place: &Place<'_>) -> Outcome {
    let long = "x".repeat(200);
    let (long_field, longish) = ("f".repeat(64), format!("{}y", "f".repeat(63)));
    let fields = [
        "ts",
        "is_train",
        "device",
        "stream",
        "time",
        "split",
        "value",
        "state",
        "a`b",
        "a'b",
        "a\"b",
        "..",
        "Température",
        "A",
        "a",
        "a_2",
        "1st",
        "",
        " ",
        "x\"); DROP TABLE s; --",
        &long_field,
        &longish,
        "select",
    ];
    let mut described: Vec<(&str, FieldType)> =
        fields.iter().map(|name| (*name, FieldType::I64)).collect();
    described.push(("note", FieldType::Text));
    let names = [
        "select", "S", "s", "a`b'c/..", "a\"b", "123", "Läufer", "", "s_2", &long,
    ];
    let upstream = place.connect()?;
    for name in names {
        let mut schema = Schema::clone(&schema(name, &described));
        schema.tag_names.push("it's \"x\"".into());
        let schema = Arc::new(schema);
        let mut tables: Vec<TableRows> = Vec::new();
        for (rows, machine) in [(2, TEXTS[4]), (MANY_ROWS, &*long), (1, "a"), (1, "A")] {
            let record = |_| {
                let mut record: Record = (0..fields.len() as i64)
                    .map(|field| Some(Value::I64(field)))
                    .collect();
                record.push(Some(text(TEXTS[10])));
                record
            };
            let mut of = Stream::clone(&stream(&schema, "it's", machine));
            of.tags.push("'; --".into());
            let records = (0..rows).map(record).collect();
            tables.push(table(&Arc::new(of), &schema, place.ts, records));
        }
        upstream.write_all(&batch(tables.clone())).await?;
        for table in &tables {
            upstream.counts(table).await?;
        }
        // With the same in another process.
        let other = place.connect()?;
        other.write_all(&batch(tables.clone())).await?;
        other.counts(&tables[3]).await?;
    }
    let wanted = ["split", "value", "A", "a", "a_2", "select", "note"];
    let Some(found) = place.read("select", &wanted).await? else {
        return Ok(());
    };
    same("rows of `select`", &(MANY_ROWS + 4), &found.len())?;
    for row in &found {
        for (name, cell) in wanted.iter().zip(row) {
            let field = fields.iter().position(|field| field == name);
            let value = field.map_or(text(TEXTS[10]), |field| Value::I64(field as i64));
            holds(
                format!("field `{name}` of `select`"),
                place.is_same(Some(&value), cell.as_deref()),
                format!("{value:?}"),
                format!("{cell:?}"),
            )?;
        }
    }
    Ok(())
}

pub(super) async fn a_row_that_cannot_be_taken_costs_no_other(place: &Place<'_>) -> Outcome {
    let fields = [("t", FieldType::Text), ("x", FieldType::F64)];
    let schema = schema("taken", &fields);
    let record = |t: &str| vec![Some(text(t)), Some(Value::F64(1.5))];
    let mut others = vec![record("fine"); MANY_ROWS];
    others[7] = record("a\0b");
    others[150] = record(&"n".repeat(TEXT_BYTES_MAX));
    let few = vec![
        record("fine"),
        record(&"n".repeat(TEXT_BYTES_MAX)),
        record("fine, too"),
        record("a\0b"),
        record("fine, again"),
    ];
    let doubtful = [[1, 3], [7, 150]];
    let of =
        |machine: &str, ts, records| table(&stream(&schema, "d1", machine), &schema, ts, records);
    let tables = [
        of("few", place.ts, few),
        of("many", place.ts + 1_000, others),
    ];
    let upstream = place.connect()?;
    let report = upstream.write(&batch(tables.clone())).await?;
    same("refused tables", &Vec::new(), &report.refused)?;
    let is_doubtful = |table: usize, row: usize| doubtful[table].contains(&row);
    let mut rejected = report.rejected.iter();
    let sound = rejected.find(|r| !is_doubtful(r.table, r.row) || r.is_out_of_time);
    same("rejections of rows that are sound", &None, &sound)?;
    let is_rejected = |number: usize, row: usize| {
        let mut rejected = report.rejected.iter();
        rejected.any(|r| (r.table, r.row) == (number, row))
    };
    let mut taken = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let rows = (0..table.rows.len()).filter(|row| !is_rejected(number, *row));
        taken.push(picked(table, rows));
    }
    for table in &taken {
        upstream.counts(table).await?;
    }
    place.holds(&taken).await
}

/// Some rows of a table.
fn picked(table: &TableRows, rows: impl Iterator<Item = usize>) -> TableRows {
    let mut picked = part_of(table, 0..0);
    for row in rows {
        picked.rows.extend_from(&table.rows, row..row + 1);
    }
    picked
}

pub(super) async fn timestamps_at_the_ends_are_taken_or_out_of_time(place: &Place<'_>) -> Outcome {
    let schema = schema("times", &[("x", FieldType::F64)]);
    let mut taken = Vec::new();
    let upstream = place.connect()?;
    for (machine, rows) in [("few", 8), ("many", MANY_ROWS)] {
        let mut table = numbers(&stream(&schema, "d1", machine), &schema, place.ts, rows);
        // The very first is what some databases have for none.
        for (row, ts) in [i64::MIN + 1, -1, 0, 1].into_iter().enumerate() {
            table.rows.ts[row] = ts;
        }
        table.rows.ts[rows - 1] = i64::MAX;
        let report = upstream.write(&batch([table.clone()])).await?;
        same("refused tables", &Vec::new(), &report.refused)?;
        let mut rejected = report.rejected.iter();
        let is_end = |row: usize| row < 4 || row == rows - 1;
        let wrong = rejected.find(|r| !is_end(r.row) || !r.is_out_of_time);
        same("rejections other than of rows out of time", &None, &wrong)?;
        let is_rejected = |row: &usize| report.rejected.iter().any(|r| r.row == *row);
        let rows = (0..rows).filter(|row| !is_rejected(row));
        taken.push(picked(&table, rows));
    }
    for table in &taken {
        upstream.counts(table).await?;
    }
    place.holds(&taken).await
}

pub(super) async fn sparse_rows_keep_what_is_missing(place: &Place<'_>) -> Outcome {
    let names: Vec<String> = (0..40).map(|field| format!("f{field}")).collect();
    let kinds = [
        FieldType::F64,
        FieldType::Text,
        FieldType::I64,
        FieldType::Bool,
        FieldType::F32,
    ];
    let kinds = kinds.into_iter().cycle();
    let fields: Vec<_> = names.iter().map(String::as_str).zip(kinds).collect();
    let schema = schema("sparse", &fields);
    let value = |field: usize| match fields[field].1 {
        FieldType::F64 => Value::F64(0.0),
        FieldType::Text => text(""),
        FieldType::I64 => Value::I64(0),
        FieldType::Bool => Value::Bool(false),
        FieldType::F32 => Value::F32(0.0),
    };
    // Each has one field, every eighth none; the last field nobody has.
    let record = |row: usize| {
        let mut record = vec![None; fields.len()];
        if row % 8 != 7 {
            let field = row % (fields.len() - 1);
            record[field] = Some(value(field));
        }
        record
    };
    let of = |machine: &str, ts, rows| {
        let stream = stream(&schema, "d1", machine);
        let records = (0..rows).map(record).collect();
        let whole = table(&stream, &schema, ts, records);
        // As out of the buffer: without the columns in which nothing is.
        picked(&whole, 0..rows)
    };
    let tables = [
        of("few", place.ts, 9),
        of("many", place.ts + 1_000, MANY_ROWS),
    ];
    let upstream = place.connect()?;
    for table in &tables {
        upstream.write_all(&batch([table.clone()])).await?;
        upstream.counts(table).await?;
    }
    place.holds(&tables).await
}

pub(super) async fn split_and_source_time_are_kept(place: &Place<'_>) -> Outcome {
    let schema = schema("splits", &[("x", FieldType::F64)]);
    let stream = stream(&schema, "d1", "m");
    let mut many = numbers(&stream, &schema, place.ts, 300);
    for row in 0..300 {
        many.rows.is_train[row] = row % 7 < 3;
        many.rows.fold[row] = (row % 256) as u8;
        many.rows.source_ts[row] = match row % 4 {
            0 => None,
            1 => Some(row as i64),
            2 => Some(many.rows.ts[row]),
            _ => Some(1_000_000_000_123_456_789),
        };
    }
    let few = part_of(&many, 250..260);
    let upstream = place.connect()?;
    for table in [few, many.clone()] {
        upstream.write_all(&batch([table])).await?;
    }
    place.holds(&[many]).await
}
