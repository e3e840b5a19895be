#![allow(clippy::unwrap_used)]

use super::{super::supertable::described, *};
use crate::sample::{Field, FieldType};

fn schema(fields: &[(&str, FieldType)]) -> Schema {
    let fields = fields.iter().map(|(name, kind)| Field {
        name: (*name).into(),
        kind: *kind,
    });
    Schema {
        id: 0,
        name: "m".into(),
        tag_names: vec!["device".into()],
        fields: fields.collect(),
        origins: Vec::new(),
    }
}

fn schema_with_site() -> Schema {
    schema(&[("site", FieldType::F64)])
}

fn used(text_bytes: usize) -> Need {
    Need {
        used: true,
        text_bytes,
    }
}

const OURS: [[&str; 4]; 5] = [
    ["ts", "TIMESTAMP", "8", ""],
    ["is_train", "BOOL", "1", ""],
    ["fold", "TINYINT UNSIGNED", "1", ""],
    ["source_ts", "TIMESTAMP", "8", ""],
    ["device", "VARCHAR", "256", "TAG"],
];

fn with(columns: &[[&str; 4]]) -> Supertable {
    let mut rows = OURS.to_vec();
    rows.extend(columns);
    described(&rows)
}

fn parts(tables: Vec<Supertable>) -> Parts {
    let numbered = tables.into_iter().enumerate();
    numbered
        .map(|(n, table)| (format!("m{n}"), table))
        .collect()
}

fn planned(schema: &Schema, needs: &[Need], tables: Vec<Supertable>) -> SchemaPlan {
    plan(
        schema,
        &TableLayout::new(schema),
        needs,
        &parts(tables),
        &BTreeSet::new(),
    )
}

fn definitions(plan: &SchemaPlan) -> Vec<String> {
    let changes = plan.changes.iter();
    changes
        .map(|c| format!("{} {} {}", c.part, verb(c.verb), c.definition))
        .collect()
}

fn columns(plan: &SchemaPlan) -> Vec<(usize, &str)> {
    let places = plan.places.iter().flatten();
    places.map(|place| (place.part, &*place.column)).collect()
}

#[test]
fn create_names_everything_in_back_ticks() {
    let schema = schema(&[("x", FieldType::F64), ("note", FieldType::Text)]);
    let plan = planned(&schema, &[Need::default(); 2], Vec::new());
    let columns: Vec<&SchemaChange> = plan.changes.iter().collect();
    assert_eq!(
        create_statement("`d`.`m`", 0, &columns, &TableLayout::new(&schema)),
        "CREATE STABLE IF NOT EXISTS `d`.`m` (`ts` TIMESTAMP, `is_train` BOOL, \
         `fold` TINYINT UNSIGNED, `source_ts` TIMESTAMP, `x` DOUBLE, `note` VARCHAR(64)) \
         TAGS (`device` VARCHAR(256))"
    );
    assert_eq!(
        create_statement("`d`.`m_2`", 1, &columns[..1], &TableLayout::new(&schema)),
        "CREATE STABLE IF NOT EXISTS `d`.`m_2` (`ts` TIMESTAMP, `x` DOUBLE) \
         TAGS (`device` VARCHAR(256))"
    );
}

#[test]
fn only_what_is_used_and_missing_changes() {
    let mut schema = schema(&[("x", FieldType::F64), ("note", FieldType::Text)]);
    let table = || with(&[["note", "VARCHAR", "128", ""]]);
    assert!(
        planned(&schema, &[Need::default(), used(128)], vec![table()])
            .changes
            .is_empty()
    );
    let plan = planned(&schema, &[used(0), used(300)], vec![table()]);
    assert_eq!(
        definitions(&plan),
        [
            "0 ADD COLUMN `x` DOUBLE",
            "0 MODIFY COLUMN `note` VARCHAR(384)"
        ]
    );
    schema.tag_names.push("site".into());
    let plan = planned(&schema, &[Need::default(); 2], vec![table()]);
    assert_eq!(definitions(&plan), ["0 ADD TAG `site` VARCHAR(256)"]);
}

#[test]
fn a_column_of_another_type_gets_one_beside_it() {
    let schema = schema(&[("state", FieldType::Text), ("x", FieldType::F64)]);
    let needs = [used(2), used(0)];
    let double = || ["state", "DOUBLE", "8", ""];
    let plan = planned(&schema, &needs, vec![with(&[double()])]);
    assert_eq!(
        definitions(&plan),
        [
            "0 ADD COLUMN `state_text` VARCHAR(64)",
            "0 ADD COLUMN `x` DOUBLE"
        ]
    );
    assert_eq!(columns(&plan), [(0, "state_text"), (0, "x")]);
    assert_eq!(plan.beside, [(0, "DOUBLE".to_owned())]);
    // So does a field whose name is another device's tag.
    let site = schema_with_site();
    let tagged = described(&[&OURS[..], &[["site", "VARCHAR", "256", "TAG"]]].concat());
    let plan = planned(&site, &[used(0)], vec![tagged]);
    assert_eq!(columns(&plan), [(0, "site_f64")]);
    // Another device's own field of that name, of our type: the same column. Of another: beside that.
    let shared = with(&[
        double(),
        ["state_text", "VARCHAR", "64", ""],
        ["x", "DOUBLE", "8", ""],
    ]);
    assert!(planned(&schema, &needs, vec![shared]).changes.is_empty());
    let other = with(&[double(), ["state_text", "BOOL", "1", ""]]);
    assert_eq!(
        columns(&planned(&schema, &needs, vec![other]))[0],
        (0, "state_text_text")
    );
}

#[test]
fn fields_called_like_the_columns_beside_others_keep_their_names() {
    let names = ["state", "state_text", "state_text_text"];
    let schema = schema(&names.map(|name| (name, FieldType::Text)));
    let double = |name| [name, "DOUBLE", "8", ""];
    let all = planned(&schema, &[used(1); 3], vec![with(&[double("state")])]);
    assert_eq!(
        columns(&all),
        [
            (0, "state_text_text_text"),
            (0, "state_text"),
            (0, "state_text_text")
        ]
    );
    // Whatever else the batch uses, and where two of them are of other types.
    let table = || with(&[double("state"), double("state_text")]);
    let both = planned(&schema, &[used(1); 3], vec![table()]);
    let alone = planned(
        &schema,
        &[Need::default(), used(1), Need::default()],
        vec![table()],
    );
    assert_eq!(columns(&both)[1], columns(&alone)[0]);
    let distinct: HashSet<_> = columns(&both).into_iter().collect();
    assert_eq!(distinct.len(), 3, "{both:?}");
}

#[test]
fn nothing_can_be_had_where_every_column_beside_is_of_a_wrong_type() {
    let schema = schema(&[("s", FieldType::Text)]);
    let names = [
        "s",
        "s_text",
        "s_text_text",
        "s_text_text_text",
        "s_text_text_text_text",
    ];
    let table = with(&names.map(|name| [name, "BOOL", "1", ""]));
    let plan = planned(&schema, &[used(1)], vec![table]);
    assert_eq!((&*plan.places, plan.changes.len()), (&[None][..], 0));
}

#[test]
fn what_a_table_has_no_room_for_goes_to_further_ones() {
    let names: Vec<String> = (0..5_000).map(|n| format!("f{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let wide = schema(&fields);
    let plan = planned(&wide, &vec![Need::default(); 5_000], Vec::new());
    let of_part = |part| plan.changes.iter().filter(move |c| c.part == part).count();
    assert_eq!(
        (of_part(0), of_part(1), of_part(2)),
        (4_096 - 5, 5_000 - 4_091, 0)
    );

    // Texts by the bytes of the row; one that fits no table that others use has one of its own.
    let texts = schema(&[
        ("a", FieldType::Text),
        ("b", FieldType::Text),
        ("c", FieldType::Text),
    ]);
    let plan = planned(
        &texts,
        &[used(40_000), used(30_000), used(65_517)],
        Vec::new(),
    );
    assert_eq!(
        definitions(&plan),
        [
            "0 ADD COLUMN `a` VARCHAR(50048)",
            "1 ADD COLUMN `b` VARCHAR(37504)",
            "2 ADD COLUMN `c` VARCHAR(65517)"
        ]
    );
    // A text that cannot be widened where it is goes on in a further table.
    let table = with(&[["a", "VARCHAR", "100", ""], ["b", "VARCHAR", "60000", ""]]);
    let plan = planned(
        &texts,
        &[used(9_000), used(2), Need::default()],
        vec![table],
    );
    assert_eq!(definitions(&plan), ["1 ADD COLUMN `a` VARCHAR(11264)"]);
    assert_eq!(columns(&plan), [(1, "a"), (0, "b")]);
    assert_eq!(plan.no_room, [(0, 0)]);
    // Where only what is needed fits, that is what it gets.
    let table = with(&[["a", "VARCHAR", "100", ""], ["b", "VARCHAR", "54000", ""]]);
    let plan = planned(
        &texts,
        &[used(11_000), used(2), Need::default()],
        vec![table],
    );
    assert_eq!(definitions(&plan), ["0 MODIFY COLUMN `a` VARCHAR(11000)"]);
}

#[test]
fn a_part_that_the_server_calls_full_gets_no_more() {
    let schema = schema(&[("x", FieldType::F64)]);
    let layout = TableLayout::new(&schema);
    let plan = plan(
        &schema,
        &layout,
        &[used(0)],
        &parts(vec![with(&[])]),
        &BTreeSet::from([0]),
    );
    assert_eq!(definitions(&plan), ["1 ADD COLUMN `x` DOUBLE"]);
}

#[test]
fn foreign_shapes_are_named() {
    let schema = schema(&[("x", FieldType::F64)]);
    let layout = TableLayout::new(&schema);
    let ready = |rows: &[[&str; 4]]| Ready {
        parts: Arc::new(parts(vec![described(rows)])),
        places: Vec::new(),
        refusals: HashMap::new(),
    };
    assert_eq!(ready(&OURS).refusal(&layout), None);
    let mut rows = OURS.to_vec();
    rows[2][1] = "INT";
    assert!(
        ready(&rows)
            .refusal(&layout)
            .unwrap()
            .contains("`fold` is INT")
    );
    assert!(
        ready(&OURS[..4])
            .refusal(&layout)
            .unwrap()
            .contains("no tag")
    );
    assert!(
        ready(&OURS)
            .place(0, "x")
            .unwrap_err()
            .contains("other types")
    );
}
