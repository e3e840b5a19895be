#![allow(clippy::unwrap_used)]

use dunlin_sync::sample::Value;
use proptest::prelude::*;

use super::*;
use crate::{
    base::source_time::{TimeUnit, Zone},
    record::decode::tests::row,
};

pub(super) fn fields(plan: &CsvPlan) -> Vec<(usize, &str, FieldType)> {
    let columns = plan.columns.iter();
    columns
        .map(|(column, field)| (*column, field.name.as_str(), field.kind))
        .collect()
}

pub(super) fn records(plan: &CsvPlan, file: &str) -> Vec<Result<Record, Reject>> {
    let mut lines = plan.reader(file.as_bytes()).unwrap();
    let mut line = Line::default();
    let mut all = Vec::new();
    while lines.read(&mut line).unwrap() {
        all.push(plan.record(&line));
    }
    all
}

fn time(plan: &CsvPlan) -> Option<(usize, TimeFormat)> {
    let time = plan.time.clone()?;
    assert_eq!(time.second, None);
    Some((time.column, time.format))
}

#[test]
fn a_data_set_is_understood() {
    let file = "\u{feff}datetime;Temperature;open;note;anomaly\n\
                2020-03-09 10:14:33;21,5;true;;0.0\n\
                2020-03-09 10:14:34.5;21.25;False;a b;1.0\n";
    let plan = CsvPlan::infer(file, None).unwrap();
    assert_eq!(plan.delimiter, b';');
    assert_eq!(time(&plan), Some((0, TimeFormat::Civil)));
    assert_eq!(
        fields(&plan),
        [
            (1, "Temperature", FieldType::Text),
            (2, "open", FieldType::Bool),
            (3, "note", FieldType::Text),
            (4, "anomaly", FieldType::F64)
        ]
    );
    let records = records(&plan, file);
    assert_eq!(
        records[1],
        Ok(Record {
            source_ts: Some(1_583_748_874_500_000_000),
            values: vec![
                Some(Value::Text("21.25".into())),
                Some(Value::Bool(false)),
                Some(Value::Text("a b".into())),
                Some(Value::F64(1.0))
            ]
            .into()
        })
    );
    assert_eq!(records[0].as_ref().unwrap().values.get(2), None);
}

#[test]
fn times_are_told_by_name_form_and_size() {
    for (file, time) in [
        (
            "x,ts\n5,1700000000\n",
            Some((1, TimeFormat::Epoch(TimeUnit::Seconds))),
        ),
        (
            "x,TS\n5,1700000000000\n",
            Some((1, TimeFormat::Epoch(TimeUnit::Millis))),
        ),
        (
            "x,ts\n5,1700000000000000\n",
            Some((1, TimeFormat::Epoch(TimeUnit::Micros))),
        ),
        (
            "x,ts\n5,1700000000000000000\n",
            Some((1, TimeFormat::Epoch(TimeUnit::Nanos))),
        ),
        (
            "x,when\n5,2020-01-01T00:00:00Z\n",
            Some((1, TimeFormat::Rfc3339)),
        ),
        ("x,date\n5,2020-01-01\n", Some((1, TimeFormat::Civil))),
        ("x,date\n5,2020-01-01 00:00\n", Some((1, TimeFormat::Civil))),
        // A count from the start of a test is no time of day.
        ("time,x\n0,5\n1,6\n", None),
        // A name alone does not make a time; the next column that is one is taken.
        (
            "time,at\nlunch,2020-01-01T00:00:00Z\n",
            Some((1, TimeFormat::Rfc3339)),
        ),
        // Numbers that fall are a measurement.
        ("a,b\n1700000000,1\n1600000000,2\n", None),
    ] {
        let plan = CsvPlan::infer(file, None).unwrap();
        assert_eq!(super::tests::time(&plan), time, "{file}");
    }
}

#[test]
fn delimiters_are_sniffed() {
    for (file, delimiter) in [
        ("a,b\n1,2\n", b','),
        ("a;b\n1,5;2,5\n", b';'),
        ("a\tb\n1\t2\n", b'\t'),
        ("a|b|c\n1|2|3\n", b'|'),
        ("a\n1\n", b','),
        ("\"a;b\",c\n1,2\n", b','),
    ] {
        assert_eq!(
            CsvPlan::infer(file, None).unwrap().delimiter,
            delimiter,
            "{file}"
        );
    }
}

#[test]
fn held_types_stay_and_new_fields_follow() {
    let schema = Schema {
        id: 0,
        name: "s".into(),
        tag_names: vec![],
        fields: vec![
            Field {
                name: "other".into(),
                kind: FieldType::Text,
            },
            Field {
                name: "count".into(),
                kind: FieldType::I64,
            },
        ],
        origins: Vec::new(),
    };
    let file = ",time,fresh,count\n0,2020-01-01,NaN,7\n1,2020-01-02,1.5,7.5\n2,,,\n";
    let plan = CsvPlan::infer(file, Some(&schema)).unwrap();
    assert_eq!(
        fields(&plan),
        [(2, "fresh", FieldType::F64), (3, "count", FieldType::I64)]
    );
    assert_eq!(plan.new_fields.len(), 1);
    let records = records(&plan, file);
    assert_eq!(
        row(records[0].as_ref().unwrap()),
        [None, Some(Value::I64(7))]
    );
    let reject = records[1].as_ref().unwrap_err();
    assert_eq!(reject.reason, Reason::WrongType);
    assert!(reject.detail.starts_with("line 3: "), "{reject}");
    assert_eq!(records[2].as_ref().unwrap().source_ts, None);
}

#[test]
fn what_cannot_be_imported_is_said() {
    for (file, hint) in [
        ("", "empty"),
        ("a,b\n", "no data"),
        ("1,2\n3,4\n", "names of the columns"),
        ("a,a\n1,2\n", "twice"),
        ("a,it's\n1,2\n", "column 2"),
        ("time\n2020-01-01\n", "besides the time"),
    ] {
        let error = CsvPlan::infer(file, None).unwrap_err();
        assert!(error.to_string().contains(hint), "{file}: {error}");
    }
    let plan = CsvPlan::infer("time,a\n2020-01-01,x\n", None).unwrap();
    let later = "time,a\nnever,x\n2020-01-01\n2020-01-01,a\u{1b}b\n2020-01-01T00:00:00+01:00,x\n";
    let records = records(&plan, later);
    let reasons: Vec<Option<Reason>> = records
        .iter()
        .map(|record| record.as_ref().err().map(|reject| reject.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            Some(Reason::BadTime),
            Some(Reason::NotCsv),
            Some(Reason::BadText),
            None
        ]
    );
}

#[test]
fn hints_win_over_guesses() {
    let file = "ts,measured\n2020-01-01,2021-01-01\n2020-01-02,2021-01-02\n";
    let hints = Hints {
        delimiter: Some(b','),
        time: Some("measured".into()),
        ..Hints::default()
    };
    let plan = CsvPlan::infer_with(file, None, &hints).unwrap();
    assert_eq!(time(&plan), Some((1, TimeFormat::Civil)));
    let odd = Hints {
        delimiter: Some(b':'),
        ..Hints::default()
    };
    let plan = CsvPlan::infer_with("a:b\n1:2\n", None, &odd).unwrap();
    assert_eq!((plan.delimiter, plan.columns.len()), (b':', 2));
    let missing = Hints {
        time: Some("b".into()),
        ..Hints::default()
    };
    let error = CsvPlan::infer_with(file, None, &missing).unwrap_err();
    assert!(error.to_string().contains("`measured`"), "{error}");
    let error = CsvPlan::infer_with("a,b\n1,x\n", None, &missing).unwrap_err();
    assert!(error.to_string().contains("does not hold times"), "{error}");
}

fn one(plan: &CsvPlan, file: &str, row: usize) -> Record {
    records(plan, file).swap_remove(row).unwrap()
}

#[test]
fn a_decimal_comma_is_told_only_where_nothing_else_can_be_meant() {
    for (file, is_comma) in [
        ("t;x\na;21,5\nb;1.234,75\n", true),
        ("t;x\na;21,5\nb;21.5\n", false),
        ("t;x\na;1,234\n", false),
        ("t;x\na;21\n", false),
        ("t\tx\na\t21,5\n", false),
    ] {
        let plan = CsvPlan::infer(file, None).unwrap();
        assert_eq!(plan.has_decimal_comma, is_comma, "{file}");
    }
    let file = "t;x\na;21,5\nb;1.234,75\n";
    let plan = CsvPlan::infer(file, None).unwrap();
    assert_eq!(row(&one(&plan, file, 1))[1], Some(Value::F64(1234.75)));
    let hints = Hints {
        decimal_comma: Some(true),
        ..Hints::default()
    };
    let file = "t\tx\na\t1,234\n";
    let plan = CsvPlan::infer_with(file, None, &hints).unwrap();
    assert_eq!(row(&one(&plan, file, 0))[1], Some(Value::F64(1.234)));
}

#[test]
fn what_stands_in_front_of_the_header_is_passed_over() {
    let hints = Hints {
        skip_lines: 2,
        ..Hints::default()
    };
    for (file, hints, line) in [
        ("\u{feff}sep=;\r\na;b\r\n1;x;y\r\n", Hints::default(), 3),
        ("\"sep=|\"\na|b\n1\n", Hints::default(), 3),
        ("# Logger 7\n#, x\n\na,b\n# more\n1\n", Hints::default(), 6),
        ("Logger; 7\nin the hall\na;b\n1\n", hints, 4),
    ] {
        let error = CsvPlan::infer_with(file, None, &hints)
            .map(|plan| records(&plan, file).swap_remove(0).unwrap_err());
        let reject = error.unwrap();
        assert!(
            reject.detail.starts_with(&format!("line {line}: ")),
            "{file:?}: {reject}"
        );
    }
}

#[test]
fn times_are_read_as_somebody_says_and_in_two_columns() {
    let rule = |format: &str| {
        let format = crate::base::source_time::TimeFormat::parse(format).unwrap();
        Some(TimeRule {
            unit: TimeUnit::BySize,
            zone: Some(crate::base::source_time::Zone::parse("+02:00").unwrap()),
            format: Some(format),
        })
    };
    let file =
        "Datum;Uhrzeit;x\n04.05.2026;11:46:40;1\n04.05.2026;lunch;1\n05.05.2026;11:46:40;1\n";
    for name in ["Datum,Uhrzeit", "1,2"] {
        let hints = Hints {
            time: Some(name.into()),
            time_rule: rule("%d.%m.%Y %H:%M:%S"),
            ..Hints::default()
        };
        let plan = CsvPlan::infer_with(file, None, &hints).unwrap();
        assert_eq!(
            one(&plan, file, 0).source_ts,
            Some(1_777_888_000_000_000_000)
        );
        assert_eq!(plan.columns.len(), 1);
        let reject = records(&plan, file).swap_remove(1).unwrap_err();
        assert!(reject.detail.contains("as --time-format says"), "{reject}");
    }
    let hints = Hints {
        time: Some("Datum".into()),
        ..Hints::default()
    };
    let error = CsvPlan::infer_with(file, None, &hints).unwrap_err();
    for part in ["`Datum`", "line 2", "`04.05.2026`", "--time-format"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_time_of_day_beside_a_date_is_not_left_behind() {
    let file = "Date,Time,x\n2026-05-04,11:46:40,1\n2026-05-04,11:46:41,2\n2026-05-04,noon,3\n";
    let plan = CsvPlan::infer(file, None).unwrap();
    assert_eq!(
        one(&plan, file, 0).source_ts,
        Some(1_777_895_200_000_000_000)
    );
    assert_eq!(plan.columns.len(), 1);
    let file = "Date,x\n2026-05-04,1\n";
    let plan = CsvPlan::infer(file, None).unwrap();
    assert_eq!(time(&plan), Some((0, TimeFormat::Civil)));
}

#[test]
fn a_column_that_a_word_makes_a_text_is_named() {
    let plan = CsvPlan::infer("t,x\na,1\nb,2\nc,off\n", None).unwrap();
    assert_eq!(plan.doubtful, [("x".to_owned(), "off".to_owned())]);
}

#[test]
fn annotated_files_name_their_columns_more_than_once() {
    let file = "#group,false,false,true\n#datatype,string,dateTime:RFC3339,double\n#default,_result,,\n\
                ,result,_time,_value\n,,2026-05-04T09:46:40Z,1.5\n\n#group,false,false,true\n\
                ,result,_time,_value\n,,2026-05-04T09:46:41Z,2.5\n";
    let plan = CsvPlan::infer(file, None).unwrap();
    assert_eq!(time(&plan), Some((2, TimeFormat::Rfc3339)));
    let mut lines = plan.reader(file.as_bytes()).unwrap();
    let mut line = Line::default();
    let mut values = Vec::new();
    while lines.read(&mut line).unwrap() {
        if !plan.is_header(&line) {
            values.push(plan.record(&line).unwrap().values.get(1).cloned());
        }
    }
    assert_eq!(values, [Some(Value::F64(1.5)), Some(Value::F64(2.5))]);
}

#[test]
fn types_and_words_are_as_somebody_says() {
    let file = "n,serial,big,v\n1,007,9007199254740993,Bad Input\n2,008,1,2.5\n";
    let hints = Hints {
        types: vec![("serial".into(), FieldType::Text)],
        missing: vec!["bad input".into()],
        ..Hints::default()
    };
    let plan = CsvPlan::infer_with(file, None, &hints).unwrap();
    let kinds: Vec<_> = plan.new_fields.iter().map(|field| field.kind).collect();
    let (number, whole) = (FieldType::F64, FieldType::I64);
    assert_eq!(kinds, [number, FieldType::Text, whole, number]);
    assert_eq!(one(&plan, file, 0).values.get(3), None);
    let hints = Hints {
        types: vec![("serail".into(), FieldType::Text)],
        ..Hints::default()
    };
    let error = CsvPlan::infer_with(file, None, &hints).unwrap_err();
    assert!(error.to_string().contains("`serail`"), "{error}");
}

proptest! {
    #[test]
    fn any_file_is_planned_or_refused(head in "[a-c0-9,;\\t|\"\\n :TZ.-]{0,60}") {
        if let Ok(plan) = CsvPlan::infer(&head, None) {
            for record in records(&plan, &head).into_iter().flatten() {
                prop_assert!(row(&record).len() <= plan.new_fields.len());
            }
        }
    }
}

fn rule(format: Option<&str>, unit: TimeUnit) -> Hints {
    Hints {
        time_rule: Some(TimeRule {
            unit,
            zone: Some(Zone::UTC),
            format: format
                .map(|format| crate::base::source_time::TimeFormat::parse(format).unwrap()),
        }),
        ..Hints::default()
    }
}

#[test]
fn a_number_is_no_time_of_long_ago_for_a_zone_somebody_names() {
    let file = "date,x\n20260504,1\n20260505,2\n";
    let zone = rule(None, TimeUnit::BySize);
    assert_eq!(CsvPlan::infer_with(file, None, &zone).unwrap().time, None);
    let named = Hints {
        time: Some("date".into()),
        ..zone
    };
    let error = CsvPlan::infer_with(file, None, &named).unwrap_err();
    assert!(error.to_string().contains("%Y%m%d"), "{error}");
    // One such cell among others is refused.
    let mixed = "time,x\n2026-05-04T00:00:00,1\n2026-05-05T00:00:00,2\n20260506,3\n";
    let named = Hints {
        time: Some("time".into()),
        ..rule(None, TimeUnit::BySize)
    };
    let plan = CsvPlan::infer_with(mixed, None, &named).unwrap();
    let reasons: Vec<bool> = records(&plan, mixed).iter().map(Result::is_ok).collect();
    assert_eq!(reasons, [true, true, false]);
    for (hints, ns) in [
        (
            rule(Some("%Y%m%d"), TimeUnit::BySize),
            1_777_852_800_000_000_000,
        ),
        (rule(None, TimeUnit::Seconds), 20_260_504_000_000_000),
    ] {
        let plan = CsvPlan::infer_with(file, None, &hints).unwrap();
        assert_eq!(
            records(&plan, file)[0].as_ref().unwrap().source_ts,
            Some(ns)
        );
    }
}

#[test]
fn lines_passed_over_are_no_empty_file() {
    let hints = Hints {
        skip_lines: 5_000,
        ..Hints::default()
    };
    let error = CsvPlan::infer_with("a\n1\n", None, &hints).unwrap_err();
    assert!(error.to_string().contains("--skip-lines"), "{error}");
}

#[test]
fn a_duration_is_no_time_of_day() {
    for (name, second) in [
        ("cycle", None),
        ("runtime", None),
        ("Uhrzeit", Some(1)),
        ("Time (UTC)", Some(1)),
    ] {
        let file = format!("date,{name},x\n2026-05-04,00:01:30,1\n2026-05-05,00:02:00,2\n");
        let time = CsvPlan::infer(&file, None).unwrap().time.unwrap();
        assert_eq!((time.column, time.second), (0, second), "{name}");
    }
}

#[test]
fn a_stray_quote_is_named_with_the_lines_it_takes() {
    let file = "a,b\n1,\"2\n3,4\n5,\"6,7\n8,9\n";
    let plan = CsvPlan::infer("a,b\n1,2\n", None).unwrap();
    let all = records(&plan, file);
    let bad = all[0].as_ref().unwrap_err();
    assert!(
        bad.detail.starts_with("lines 2 to 4: 3 cells"),
        "{}",
        bad.detail
    );
    assert!(all[1].is_ok());
}
