//! Stream rules, right and wrong.

use std::collections::BTreeMap;

use super::*;

#[test]
fn streams_are_read_whole() {
    let settings = valid(&with_stream(
        r#"fields = { zeta = "f32", alpha = { type = "text", at = "/a~1b/0", required = true } }
infer = false
time = "/when"
time_unit = "us"
time_min = 1990-05-01
time_max_ahead = "2 h"
tags = { plant = "north" }
nan = "missing"
retained = "ignore"
fields_max = 2
split = { method = "kfold", k = 10, seed = 3 }

[[stream]]
name = "lines"
topic = "lines/+line"
format = "csv"
delimiter = ";"
fields = { t = "i64", b = "bool", a = "f64" }
time = "t"
split = "hash"
"#,
    ));
    let [one, two] = &settings.streams[..] else {
        panic!()
    };
    assert_eq!(one.fields[0].field.name, "zeta", "the order of writing");
    assert_eq!(one.fields[1].pointer.as_deref(), Some("/a~1b/0"));
    assert!(one.fields[1].required && !one.infer);
    assert_eq!(
        (one.time.as_deref(), one.time_rule.unit),
        (Some("/when"), TimeUnit::Micros)
    );
    let range = one.time_range;
    assert_eq!(range.min_ns, 641_520_000_000_000_000);
    assert_eq!(range.ahead_max.as_secs(), 7_200);
    assert_eq!(two.time_range, TimeRange::DEFAULT);
    assert_eq!(one.tags, BTreeMap::from([("plant".into(), "north".into())]));
    assert_eq!((one.nan, one.fields_max), (NanPolicy::Missing, 2));
    assert_eq!(one.retained, RetainedPolicy::Ignore);
    assert_eq!(
        one.split,
        SplitRule::KFold {
            k: 10,
            seed: Some(3)
        }
    );
    assert_eq!(
        two.format,
        PayloadFormat::Csv {
            delimiter: b';',
            header: false
        }
    );
    let columns: Vec<_> = two
        .fields
        .iter()
        .map(|field| field.field.name.as_str())
        .collect();
    assert_eq!(columns, ["t", "b", "a"]);
    assert_eq!(two.split, SplitRule::Hash { train: 0.8 });
}

#[test]
fn mistakes_in_streams() {
    for (lines, parts) in [
        ("format = \"xml\"", &["`xml` is not known"][..]),
        ("delimiter = \",\"", &["unless the format is csv"]),
        ("format = \"csv\"", &["header = true"]),
        (
            "format = \"csv\"\nheader = true\ndelimiter = \"::\"",
            &["no field separator"],
        ),
        (
            "format = \"csv\"\nfields = { a = \"f64\" }\ntime = \"b\"",
            &["no column `b`"],
        ),
        (
            "format = \"number\"\nfields = { a = \"f64\", b = \"f64\" }",
            &["one field"],
        ),
        (
            "format = \"number\"\nfields = { a = \"text\" }",
            &["`a` is text"],
        ),
        ("format = \"number\"\ntime = \"/t\"", &["no parts"]),
        ("format = \"senml\"\ntime = \"/t\"", &["own time"]),
        ("fields = { a = \"f46\" }", &["did you mean `f64`?"]),
        ("fields = { a = { at = \"/a\" } }", &["type: is missing"]),
        (
            "fields = { a = { type = \"f64\", at = \"a\" } }",
            &["no JSON pointer"],
        ),
        ("fields = { a = { type = \"f64\", wher = 1 } }", &["wher"]),
        ("fields = { a = 1 }", &["a whole number"]),
        ("fields = { \"\" = \"f64\" }", &["name is empty"]),
        ("fields = \"f64\"", &["is a text"]),
        ("infer = \"no\"", &["without quotes"]),
        ("infer = false", &["no field is declared"]),
        ("time = \"t\"", &["start with a slash"]),
        ("time_unit = \"ms\"", &["without time"]),
        ("time_min = \"2000-01-01\"", &["without time"]),
        (
            "time = \"/t\"\ntime_min = \"long ago\"",
            &["time_min", "no time"],
        ),
        (
            "time = \"/t\"\ntime_max_ahead = \"soon\"",
            &["time_max_ahead"],
        ),
        ("time = \"/t\"\ntime_unit = \"m\"", &["s, ms, us, ns"]),
        ("tags = { device = \"x\" }", &["`device` exists already"]),
        ("tags = { \"a b\" = \"x\" }", &["no name for a table"]),
        ("tags = { a = 1 }", &["in quotes"]),
        (
            "tags = { a = \"x\" }\nfields = { A = \"f64\" }",
            &["a tag and a field"],
        ),
        ("nan = \"zero\"", &["refuse, missing"]),
        ("fields_max = 0", &["from 1 to 4096"]),
        ("fields_max = 4097", &["from 1 to 4096"]),
        (
            "fields_max = 1\nfields = { a = \"f64\", b = \"f64\" }",
            &["2 fields are declared"],
        ),
        ("split = \"fold\"", &["did you mean `kfold`?"]),
        ("split = { train = 0.5 }", &["method: is missing"]),
        (
            "split = { method = \"random\", train = 1.5 }",
            &["from 0 to 1"],
        ),
        (
            "split = { method = \"random\", train = nan }",
            &["from 0 to 1"],
        ),
        (
            "split = { method = \"kfold\", train = 0.5 }",
            &["train", "method, k, seed"],
        ),
        ("split = { method = \"kfold\", k = 1 }", &["from 2 to 100"]),
        (
            "split = { method = \"block\", run_s = 0 }",
            &["0 is out of range"],
        ),
        (
            "[[stream]]\nname = \"S\"\ntopic = \"u\"",
            &["two streams are called \"S\"", ":5:8)"],
        ),
        (
            "[[stream]]\nname = \"u\"\ntopic = \"t/a\"",
            &["can never match", "`t/#`"],
        ),
        (
            "[[stream]]\nname = \"sqlite_x\"\ntopic = \"u\"",
            &["reserved"],
        ),
        (
            "[[stream]]\nname = \"u\"\ntopic = \"u/+device\"",
            &["`device` is the tag of this device"],
        ),
        (
            "[[stream]]\nname = \"u\"\ntopic = \"u/+ts\"",
            &["`ts` exists already"],
        ),
    ] {
        assert_one(&with_stream(lines), parts);
    }
    assert_one(
        &format!("stream = [5]\n{}", &MINIMAL[..MINIMAL.find("[[").unwrap()]),
        &["[[stream]]"],
    );
}

#[test]
fn too_many_streams_are_refused_quickly() {
    let entry = |index| format!("[[stream]]\nname = \"s{index}\"\ntopic = \"a/{index}\"\n");
    let entries: Vec<String> = (0..6000).map(entry).collect();
    let text = format!("{MINIMAL}{}", entries.join(""));
    assert_one(&text, &["6001 streams"]);
}

#[test]
fn a_stream_is_the_same_by_a_flag_and_by_its_shortest_entry() {
    let (_dir, path) = file_with(&MINIMAL.replace(
        "name = \"s\"\ntopic = \"t/#\"",
        "name = \"x\"\ntopic = \"x/#\"",
    ));
    let overrides = Overrides::default().topic("s=t/#");
    let by_flag = check(Some(&path), &overrides).settings.unwrap();
    assert_eq!(by_flag.streams, valid(MINIMAL).streams);
}

#[test]
fn a_method_of_splitting_is_the_same_by_its_word_and_by_its_table() {
    for method in ["random", "hash", "block", "kfold"] {
        let split = |written: &str| valid(&format!("{MINIMAL}split = {written}\n")).streams;
        let by_word = split(&format!("\"{method}\""));
        assert_eq!(by_word, split(&format!("{{ method = \"{method}\" }}")));
    }
}
