//! Whole batches: once, twice, by several at once, and counted.

use tokio::task::JoinSet;

use super::{
    place::Place,
    records::{MANY_ROWS, batch, numbers, part_of, schema, stream},
    report::{Outcome, holds, same},
};
use crate::{
    rows::{Batch, TableRows},
    sample::{FieldType, TimeRange, Timestamp},
    upstream::WriteReport,
};

const NUMBER: &[(&str, FieldType)] = &[("x", FieldType::F64)];

/// A table of `rows` numbers of a machine of its own.
fn of_machine(place: &Place<'_>, name: &str, machine: &str, rows: usize) -> TableRows {
    let schema = schema(name, NUMBER);
    let stream = stream(&schema, "d1", machine);
    numbers(&stream, &schema, place.ts, rows)
}

pub(super) async fn describe_makes_nothing(place: &Place<'_>) -> Outcome {
    let upstream = place.connect()?;
    let first = upstream.describe().await?;
    holds(
        "the product",
        !first.product.is_empty(),
        "a name",
        "an empty one",
    )?;
    holds(
        "the location",
        !upstream.location().is_empty(),
        "a name",
        "an empty one",
    )?;
    let again = place.connect()?.describe().await?;
    same("what a second look tells", &first, &again)?;
    let table = of_machine(place, "told", "m", 3);
    upstream.write_all(&batch([table])).await?;
    for upstream in [upstream, place.connect()?] {
        let told = upstream.describe().await?;
        let unit = told.database.as_ref().map(|is| &is.coarse_precision);
        same(
            "the database once rows are there, and its coarse precision",
            &Some(&None),
            &unit,
        )?;
    }
    Ok(())
}

pub(super) async fn writing_twice_changes_nothing(place: &Place<'_>) -> Outcome {
    let tables = [
        of_machine(place, "twice", "many", MANY_ROWS),
        of_machine(place, "twice", "few", 5),
    ];
    let upstream = place.connect()?;
    // The third is another process, after a lost answer.
    for upstream in [&upstream, &upstream, &place.connect()?] {
        upstream.write_all(&batch(tables.clone())).await?;
        for table in &tables {
            upstream.counts(table).await?;
        }
        place.holds(&tables).await?;
    }
    let nothing = upstream.write(&Batch::default()).await?;
    same(
        "what became of an empty batch",
        &WriteReport::default(),
        &nothing,
    )?;
    let empty = of_machine(place, "twice", "none", 0);
    upstream.write_all(&batch([empty.clone()])).await?;
    same(
        "rows of a table without",
        &0,
        &upstream.count(&empty).await?,
    )
}

pub(super) async fn a_batch_half_written_before_is_completed(place: &Place<'_>) -> Outcome {
    let tables = [
        of_machine(place, "half", "a", MANY_ROWS),
        of_machine(place, "half", "b", 6),
        of_machine(place, "half", "c", 7),
    ];
    let half = [part_of(&tables[0], 50..130), part_of(&tables[1], 2..6)];
    place.connect()?.write_all(&batch(half)).await?;
    let upstream = place.connect()?;
    upstream.write_all(&batch(tables.clone())).await?;
    for table in &tables {
        upstream.counts(table).await?;
    }
    place.holds(&tables).await
}

pub(super) async fn many_small_tables_go_in_one_batch(place: &Place<'_>) -> Outcome {
    let machines = 0..500;
    let tables: Vec<TableRows> = machines
        .map(|machine| {
            let name = format!("small{}", machine % 2);
            of_machine(place, &name, &format!("m{machine}"), 10)
        })
        .collect();
    let upstream = place.connect()?;
    for _ in 0..2 {
        upstream.write_all(&batch(tables.clone())).await?;
    }
    for table in [&tables[0], &tables[1], &tables[499]] {
        upstream.counts(table).await?;
    }
    for kind in 0..2 {
        let of_kind = tables.iter().skip(kind).step_by(2);
        place.holds(&of_kind.cloned().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

pub(super) async fn devices_share_a_schema(place: &Place<'_>) -> Outcome {
    let schema = schema("shared", NUMBER);
    let of = |device: &str, rows| {
        let stream = stream(&schema, device, "m");
        // At the same times.
        numbers(&stream, &schema, place.ts, rows)
    };
    let tables = [of("d1", 10), of("d2", 7)];
    let connections = [place.connect()?, place.connect()?];
    for rows in [4, MANY_ROWS] {
        for (upstream, table) in connections.iter().zip(&tables) {
            let rows = part_of(table, 0..rows.min(table.rows.len()));
            upstream.write_all(&batch([rows])).await?;
        }
    }
    for upstream in &connections {
        for table in &tables {
            upstream.counts(table).await?;
        }
    }
    place.holds(&tables).await
}

pub(super) async fn concurrent_writes_in_a_new_place(place: &Place<'_>) -> Outcome {
    let connections = [place.connect()?, place.connect()?];
    let mut writers = JoinSet::new();
    let mut tables = Vec::new();
    for writer in 0..16 {
        let rows = if writer % 4 == 0 { MANY_ROWS } else { 10 };
        // Each with a field of its own.
        let field = format!("x{writer}");
        let schema = schema("busy", &[(&field, FieldType::F64)]);
        let stream = stream(&schema, "d1", &format!("m{writer}"));
        let table = numbers(&stream, &schema, place.ts, rows);
        tables.push(table.clone());
        let upstream = connections[writer % 2].clone();
        writers.spawn(async move {
            upstream.write_all(&batch([table.clone()])).await?;
            upstream.counts(&table).await
        });
    }
    while let Some(ended) = writers.join_next().await {
        match ended {
            Ok(outcome) => outcome?,
            Err(error) => holds("a writer", false, "an end", error)?,
        }
    }
    let Some(found) = place.read("busy", &["x0", "x15"]).await? else {
        return Ok(());
    };
    let rows: usize = tables.iter().map(|table| table.rows.len()).sum();
    let of_first = found.iter().filter(|row| row[0].is_some()).count();
    let of_last = found.iter().filter(|row| row[1].is_some()).count();
    same(
        "rows, and values of the first and the last writer",
        &(rows, MANY_ROWS, 10),
        &(found.len(), of_first, of_last),
    )
}

pub(super) async fn count_takes_both_bounds(place: &Place<'_>) -> Outcome {
    let upstream = place.connect()?;
    let table = of_machine(place, "counted", "m", 10);
    let nothing = upstream.count(&table).await?;
    same("rows of a schema that is not there", &0, &nothing)?;
    let others = of_machine(place, "counted", "other", 20);
    upstream.write_all(&batch([table.clone(), others])).await?;
    let nobody = of_machine(place, "counted", "nobody", 0);
    same(
        "rows of a stream that is not there",
        &0,
        &upstream.count(&nobody).await?,
    )?;
    let at = |row: i64| place.ts + row;
    let ranges = [
        (i64::MIN, i64::MAX, 10),
        (at(0), at(9), 10),
        (at(3), at(3), 1),
        (at(3), at(5), 3),
        (i64::MIN, at(0), 1),
        (at(9), i64::MAX, 1),
        (at(-5), at(-1), 0),
        (at(10), at(19), 0),
        (at(5), at(4), 0),
        (i64::MAX, i64::MIN, 0),
    ];
    for (from, to, expected) in ranges {
        let range = TimeRange {
            from: Timestamp(from),
            to: Timestamp(to),
        };
        let found = upstream.count_in(&table, range).await?;
        same(
            format!("rows from {from} to {to}, of 10 from {} on", at(0)),
            &expected,
            &found,
        )?;
    }
    Ok(())
}

pub(super) async fn close_and_go_on(place: &Place<'_>) -> Outcome {
    let upstream = place.connect()?;
    // Before anything was opened.
    upstream.close().await?;
    let table = of_machine(place, "closed", "m", MANY_ROWS);
    for rows in [3, MANY_ROWS] {
        let part = part_of(&table, 0..rows);
        upstream.write_all(&batch([part.clone()])).await?;
        upstream.close().await?;
        upstream.close().await?;
        place.connect()?.counts(&part).await?;
        upstream.counts(&part).await?;
        place.holds(&[part]).await?;
    }
    same(
        "how often another database was found in place of ours",
        &0,
        &upstream.times_replaced(),
    )
}
