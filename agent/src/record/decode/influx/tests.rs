#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// A line in plain types, to compare.
type Plain = (
    String,
    Vec<(String, String)>,
    Vec<(String, String)>,
    Option<String>,
);

fn cell(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Bool(truth) => format!("bool {truth}"),
        Cell::Number(text) => format!("number {text}"),
        Cell::Integer(integer) => format!("integer {integer}"),
        Cell::Text(text) => format!("text {text}"),
        #[allow(unreachable_patterns)] // Where there are more kinds of cells.
        other => format!("{other:?}"),
    }
}

fn plain(line: &Line<'_>) -> Plain {
    (
        line.measurement.to_string(),
        line.tags
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        line.fields
            .iter()
            .map(|(key, value)| (key.to_string(), cell(value)))
            .collect(),
        line.time.map(str::to_owned),
    )
}

fn read(text: &str) -> Vec<Plain> {
    lines(text).map(|line| plain(&line.unwrap())).collect()
}

fn only(text: &str) -> Plain {
    let mut read = read(text);
    assert_eq!(read.len(), 1, "{text}");
    read.remove(0)
}

/// The value of the only field.
fn value(text: &str) -> String {
    only(&format!("m f={text} 1")).2[0].1.clone()
}

fn error(text: &str) -> String {
    let mut lines = lines(text);
    let error = lines.find_map(Result::err).unwrap();
    assert!(lines.next().is_none(), "nothing follows an error");
    assert_eq!(error.reason, Reason::NotInflux);
    error.detail
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_whole_line() {
    let (measurement, tags, fields, time) = only(
        "cpu,host=edge-1,cpu=cpu0 usage_user=4.25,count=7i,total=8u,ok=T,note=\"fine\" \
         1700000000123456789\n",
    );
    assert_eq!(measurement, "cpu");
    assert_eq!(tags, pairs(&[("host", "edge-1"), ("cpu", "cpu0")]));
    assert_eq!(
        fields,
        pairs(&[
            ("usage_user", "number 4.25"),
            ("count", "integer 7"),
            ("total", "integer 8"),
            ("ok", "bool true"),
            ("note", "text fine"),
        ])
    );
    assert_eq!(time.as_deref(), Some("1700000000123456789"));
}

#[test]
fn what_is_not_escaped_is_borrowed() {
    let line = lines("m,t=a f=\"b\"").next().unwrap().unwrap();
    assert!(matches!(line.measurement, Cow::Borrowed("m")));
    assert!(matches!(line.tags[0].1, Cow::Borrowed("a")));
    assert!(matches!(line.fields[0].1, Cell::Text(Cow::Borrowed("b"))));
}

#[test]
fn lines_end_in_both_ways_and_what_is_no_point_is_skipped() {
    let text = "\r\n# a comment, x=\"open\n\n  \t\n#C:\\\na f=1 1\r\nb f=2\r\n   # c\r\n c f=3  4  \nd f=t\r";
    let read = read(text);
    let names: Vec<&str> = read.iter().map(|line| line.0.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let times: Vec<_> = read.iter().map(|line| line.3.as_deref()).collect();
    assert_eq!(times, [Some("1"), None, Some("4"), None]);
    assert_eq!(count(text), 4);
    assert_eq!(lines("").count(), 0);
    assert_eq!(lines("# only\n \n").count(), 0);
}

#[test]
fn escapes_outside_strings() {
    let (measurement, tags, fields, _) =
        only(r"my\ meas\,ure,tag\ k\=e\,y=va\=l\,u\ e fie\ ld\=\,=1");
    assert_eq!(measurement, "my meas,ure");
    assert_eq!(tags, pairs(&[("tag k=e,y", "va=l,u e")]));
    assert_eq!(fields, pairs(&[("fie ld=,", "number 1")]));
    // An escape at the very beginning, alone, and at the end.
    assert_eq!(only(r"\ ,\==\, \,a\ =1").1, pairs(&[("=", ",")]));
}

#[test]
fn other_backslashes_are_backslashes() {
    assert_eq!(only(r"a,t=C:\dir\x f=1").1, pairs(&[("t", r"C:\dir\x")]));
    assert_eq!(only(r"a,t=\\srv\x f=1").1, pairs(&[("t", r"\\srv\x")]));
    // Telegraf's way to write `C:\ x`.
    assert_eq!(only(r"a,t=C:\\ x f=1").1, pairs(&[("t", r"C:\ x")]));
    // Telegraf's way to write a line break.
    assert_eq!(only(r"a,t=x\ny f=1").1, pairs(&[("t", r"x\ny")]));
    // At the end of a tag it takes what follows along, as in InfluxDB.
    assert_eq!(only(r"a,t=x\,u\=y f=1").1, pairs(&[("t", "x,u=y")]));
    // In a measurement `=` is nothing special.
    assert_eq!(only(r"a\=b=c f=1").0, r"a\=b=c");
    assert_eq!(only(r"a\\ b f=1").0, r"a\ b");
}

#[test]
fn quotes_outside_strings_are_ordinary() {
    assert_eq!(only("a,\"t\"=\"x f=1 2").1, pairs(&[("\"t\"", "\"x")]));
}

#[test]
fn strings() {
    assert_eq!(value(r#""""#), "text ");
    assert_eq!(value(r#""a b,c=d""#), "text a b,c=d");
    assert_eq!(
        value(r#""q\"q b\\b n\n \, x\\""#),
        r#"text q"q b\b n\n \, x\"#
    );
}

#[test]
fn line_breaks_in_strings() {
    let read = read("a f=\"x\ny\r\nz # no comment\n#nor this\" 1\r\nb f=2");
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].2[0].1, "text x\ny\r\nz # no comment\n#nor this");
    assert_eq!(read[1].0, "b");
}

#[test]
fn values_of_every_type() {
    for text in ["t", "T", "true", "True", "TRUE"] {
        assert_eq!(value(text), "bool true");
    }
    for text in ["f", "F", "false", "False", "FALSE"] {
        assert_eq!(value(text), "bool false");
    }
    for text in [
        "0", "-1", "1.", ".5", "-.5", "1.5", "1e5", "1E5", "1.5e-3", "1.7e+09", "007", "nan",
        "NaN", "inf", "-Inf", "Infinity",
    ] {
        assert_eq!(value(text), format!("number {text}"));
        assert!(text.parse::<f64>().is_ok());
    }
    assert_eq!(
        value("-9223372036854775808i"),
        "integer -9223372036854775808"
    );
    assert_eq!(
        value("18446744073709551615u"),
        "integer 18446744073709551615"
    );
}

#[test]
fn what_is_no_value() {
    for text in [
        "",
        "-",
        ".",
        "-.",
        "e5",
        "1e",
        "1e+",
        "1.5.",
        "1,5",
        "0x1",
        "+1",
        "+1i",
        "+1u",
        "-1u",
        "1.5i",
        "i",
        "u",
        "9223372036854775808i",
        "18446744073709551616u",
        "tRUE",
        "yes",
        "'x'",
        "1_000",
        "1\"",
        "--1",
        "infinit",
        "é",
    ] {
        assert!(
            lines(&format!("m f={text} 1")).any(|line| line.is_err()),
            "{text}"
        );
    }
}

#[test]
fn errors_say_where() {
    for (text, expected) in [
        (
            "a f=1\n,t=x f=1",
            "line 2, column 1: expected a measurement",
        ),
        (
            "a\n",
            "line 1, column 2: expected `,` or a space before the fields",
        ),
        (
            "a,t=x\nb f=1",
            "line 1, column 6: expected `,` or a space before the fields",
        ),
        ("a, f=1", "line 1, column 3: expected a tag's key"),
        ("a,t f=1", "line 1, column 4: expected `=` behind the key"),
        ("a,t= f=1", "line 1, column 5: expected a tag's value"),
        (
            "a,t=x=y f=1",
            "line 1, column 6: expected `,` or a space before the fields",
        ),
        ("a  \n", "line 1, column 4: expected a field's key"),
        ("a f 1", "line 1, column 4: expected `=` behind the key"),
        ("a f=1, 1", "line 1, column 7: expected a field's key"),
        (
            "# c\r\na f=\"x\ny\",g=1x 1",
            "line 3, column 6: expected a field's value (number, integer in 64 bits, boolean or quoted \
             string)",
        ),
        (
            "a f=1\nb f=\"x\n\n",
            "line 2, column 5: a string without its closing quote",
        ),
        (
            "a f=\"x\"y",
            "line 1, column 8: expected the end of the line",
        ),
        (
            "a f=1 12:00",
            "line 1, column 9: expected the end of the line",
        ),
        (
            "a f=1 -\n",
            "line 1, column 8: expected the digits of a timestamp",
        ),
        (
            "a f=1 1.5",
            "line 1, column 8: expected the end of the line",
        ),
        (
            "a f=1\rb f=2",
            "line 1, column 6: expected the end of the line",
        ),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
}

#[test]
fn times() {
    assert_eq!(only("a f=1 -5").3.as_deref(), Some("-5"));
    assert_eq!(
        only("a f=1 99999999999999999999999").3.as_deref(),
        Some("99999999999999999999999"),
        "whether it fits depends on its unit"
    );
    assert_eq!(only("a f=1 ").3, None);
}

/// Writes a name as Telegraf does.
fn escaped(name: &str, special: &str) -> String {
    let mut escaped = String::new();
    for character in name.chars() {
        if special.contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn name() -> impl Strategy<Value = String> {
    // Neither a backslash at the end nor a comment's sign at the beginning can be written.
    "[a-c\\\\,= \"é]{0,6}[a-c,= \"é]"
}

fn field() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        any::<i64>().prop_map(|integer| (format!("{integer}i"), format!("integer {integer}"))),
        any::<u64>().prop_map(|integer| (format!("{integer}u"), format!("integer {integer}"))),
        any::<f64>().prop_map(|number| (format!("{number}"), format!("number {number}"))),
        any::<f64>().prop_map(|number| (format!("{number:e}"), format!("number {number:e}"))),
        any::<bool>().prop_map(|truth| (format!("{truth}"), format!("bool {truth}"))),
        "[a-c\\\\,= \"\r\n#é]{0,8}".prop_map(|text| (
            format!("\"{}\"", escaped(&text, "\"\\")),
            format!("text {text}")
        )),
    ]
}

type Parts = (
    String,
    Vec<(String, String)>,
    Vec<(String, (String, String))>,
    Option<i64>,
);

fn parts() -> impl Strategy<Value = Parts> {
    (
        name(),
        prop::collection::vec((name(), name()), 0..3),
        prop::collection::vec((name(), field()), 1..4),
        any::<Option<i64>>(),
    )
}

fn written((measurement, tags, fields, time): &Parts) -> String {
    let pair = |key: &str, value: &str| format!("{}={value}", escaped(key, ",= "));
    let mut series = vec![escaped(measurement, ", ")];
    series.extend(
        tags.iter()
            .map(|(key, value)| pair(key, &escaped(value, ",= "))),
    );
    let fields: Vec<String> = fields
        .iter()
        .map(|(key, (value, _))| pair(key, value))
        .collect();
    let time = time.map_or_else(String::new, |time| format!(" {time}"));
    format!("{} {}{time}", series.join(","), fields.join(","))
}

proptest! {
    #[test]
    fn what_is_written_is_read(points in prop::collection::vec(parts(), 0..5), windows: bool) {
        let end = if windows { "\r\n" } else { "\n" };
        let text: String = points.iter().map(|point| written(point) + end).collect();
        let expected: Vec<Plain> = points
            .into_iter()
            .map(|(measurement, tags, fields, time)| {
                let fields = fields.into_iter().map(|(key, (_, value))| (key, value)).collect();
                (measurement, tags, fields, time.map(|time| time.to_string()))
            })
            .collect();
        prop_assert_eq!(read(&text), expected);
    }

    #[test]
    fn any_text_ends(text in "[a\\\\,= \"\r\n#1.\\-itune\u{0}é\t]{0,60}") {
        prop_assert!(lines(&text).count() <= text.len());
    }

    #[test]
    fn any_characters_end(text in ".*") {
        prop_assert!(lines(&text).count() <= text.len());
    }

    #[test]
    fn a_damaged_line_ends(
        points in prop::collection::vec(parts(), 1..4),
        at: prop::sample::Index,
        with in any::<char>(),
        cut: bool,
    ) {
        let text: String = points.iter().map(|point| written(point) + "\n").collect();
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        if cut {
            characters.truncate(at);
        } else {
            characters[at] = with;
        }
        let text: String = characters.into_iter().collect();
        prop_assert!(lines(&text).count() <= text.len());
    }
}
