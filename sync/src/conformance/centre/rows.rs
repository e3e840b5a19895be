//! Rows that devices have uploaded, read back.

use super::CentreTarget;
use crate::{
    centre::rows::RowsQuery,
    conformance::{
        records::{batch, numbers, schema, stream, table, text},
        report::{Outcome, same},
    },
    rows::{Column, Rows},
    sample::{FieldType, TimeRange, Timestamp, Value},
};

const KINDS: &[(&str, FieldType)] = &[
    ("wide", FieldType::F64),
    ("narrow", FieldType::F32),
    ("whole", FieldType::I64),
    ("flag", FieldType::Bool),
    ("word", FieldType::Text),
];
/// A schema of these goes to several tables, wherever tables have bounds.
const FIELDS_MANY: usize = 2_500;

fn all_of(stream: &str, fields: &[&str]) -> RowsQuery {
    RowsQuery {
        stream: stream.into(),
        fields: fields.iter().map(|name| (*name).to_owned()).collect(),
        range: TimeRange::ALL,
        is_newest_first: false,
        most: 1_000,
    }
}

pub(super) async fn rows_come_back_as_they_were_uploaded(target: &dyn CentreTarget) -> Outcome {
    let narrow = schema("kinds", KINDS);
    let names: Vec<String> = (0..FIELDS_MANY).map(|field| format!("f{field}")).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let wide = schema("many", &many);
    let (one, other) = (stream(&narrow, "d1", "a"), stream(&wide, "d2", "b"));
    let records = vec![
        vec![
            Some(Value::F64(-1.5e300)),
            Some(Value::F32(0.1)),
            Some(Value::I64(i64::MIN)),
            Some(Value::Bool(false)),
            Some(text("über \"x\"")),
        ],
        vec![None; KINDS.len()],
        vec![
            None,
            None,
            Some(Value::I64(1 << 53 | 1)),
            None,
            Some(text("")),
        ],
    ];
    let kinds = table(&one, &narrow, 100, records);
    let mut last_alone = vec![None; FIELDS_MANY - 1];
    last_alone.push(Some(Value::F64(7.0)));
    let wide_rows = table(
        &other,
        &wide,
        200,
        vec![last_alone, vec![Some(Value::F64(1.0))]],
    );
    let upstream = target.upstream()?;
    let written = upstream.write(&batch([kinds.clone(), wide_rows])).await;
    written.map_err(|error| error.to_string())?;

    let centre = target.connect()?;
    let streams = centre.streams("", 10).await?;
    let expected = ["d1/kinds/a", "d2/many/b"].map(str::to_owned).to_vec();
    same("the streams", &expected, &streams)?;
    let found = centre
        .stream("d1/kinds/a")
        .await?
        .ok_or_else(|| "no stream".to_owned())?;
    same("its device", &"d1", &&*found.device)?;
    same(
        "its machine",
        &Some("a"),
        &found.tags.get("machine").map(String::as_str),
    )?;
    let mut fields = narrow.fields.clone();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    same("its fields", &fields, &found.fields)?;

    let all = all_of("d1/kinds/a", &["wide", "narrow", "whole", "flag", "word"]);
    same("its rows", &kinds.rows, &centre.rows(&all).await?)?;
    let some = centre.rows(&all_of("d1/kinds/a", &["whole"])).await?;
    same(
        "one column",
        &kinds.rows.columns.get(2),
        &some.columns.get(0),
    )?;
    let last = centre.rows(&all_of("d2/many/b", &["f2499", "f0"])).await?;
    let values = |at: usize, row| {
        last.columns
            .get(at)
            .and_then(|column: &Column| column.get(row))
    };
    let ends = [values(0, 0), values(1, 0), values(0, 1), values(1, 1)];
    let expected = [Some(Value::F64(7.0)), None, None, Some(Value::F64(1.0))];
    same("the ends of a wide schema", &expected, &ends)?;
    let unknown = centre.rows(&all_of("d1/kinds/a", &["nobody"])).await;
    same("an unknown field is refused", &true, &unknown.is_err())
}

pub(super) async fn rows_come_in_order_page_by_page(target: &dyn CentreTarget) -> Outcome {
    let schema = schema("pages", &[("x", FieldType::F64)]);
    let (ours, others) = (stream(&schema, "d1", "a"), stream(&schema, "d1", "b"));
    let upstream = target.upstream()?;
    // What is uploaded late is older than what is there.
    for (stream, ts) in [(&ours, 500), (&others, 500), (&ours, 100)] {
        let rows = batch([numbers(stream, &schema, ts, 50)]);
        let written = upstream.write(&rows).await;
        written.map_err(|error| error.to_string())?;
    }
    let centre = target.connect()?;
    let (mut read, mut from) = (Rows::default(), Timestamp(110));
    loop {
        let page = RowsQuery {
            range: TimeRange {
                from,
                to: Timestamp(520),
            },
            most: 7,
            ..all_of("d1/pages/a", &["x"])
        };
        let page = centre.rows(&page).await?;
        let Some(last) = page.ts.last() else {
            break;
        };
        from = Timestamp(last + 1);
        read.extend_from(&page, 0..page.ts.len());
    }
    let expected: Vec<i64> = (110..150).chain(500..=520).collect();
    same("timestamps", &expected, &read.ts)?;
    let newest = RowsQuery {
        is_newest_first: true,
        most: 3,
        ..all_of("d1/pages/a", &[])
    };
    let newest = centre.rows(&newest).await?;
    same("the newest", &vec![549, 548, 547], &newest.ts)?;
    let next = centre.streams("d1/pages/a", 10).await?;
    same(
        "streams behind the first",
        &vec!["d1/pages/b".to_owned()],
        &next,
    )
}

pub(super) async fn where_nothing_was_uploaded_there_is_nothing(
    target: &dyn CentreTarget,
) -> Outcome {
    let centre = target.connect()?;
    same(
        "streams",
        &Vec::<String>::new(),
        &centre.streams("", 9).await?,
    )?;
    same("a stream", &None, &centre.stream("d/s").await?)?;
    same(
        "rows",
        &Rows::default(),
        &centre.rows(&all_of("d/s", &[])).await?,
    )
}
