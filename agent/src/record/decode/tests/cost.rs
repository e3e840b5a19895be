//! Nobody makes a payload dear: the work is in proportion to its bytes, whatever is in them.

use std::fmt::Write as _;

use super::*;

/// Bytes of every payload compared.
const BYTES: usize = 256 << 10;
/// The dearest payload may take this many times what a benign one of its size does.
const RATIO_MAX: f64 = 10.0;
/// Each is decoded so often; the quickest counts, since whatever disturbs only adds.
const RUNS: usize = 5;

/// Processor time of this thread, seconds.
fn cpu_s() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to.
    #[allow(unsafe_code)]
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(outcome, 0);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn cost_s(rule: &StreamRule, schema: Option<&Schema>, payload: &str) -> f64 {
    let run = || {
        let begun = cpu_s();
        let _any_outcome = std::hint::black_box(decode(rule, schema, payload.as_bytes()));
        cpu_s() - begun
    };
    (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// `head`, as many of the pieces as fit, `tail`: all of them `BYTES` long, or a little less.
pub(super) fn filled(head: &str, piece: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let piece = piece(number);
        let with_comma = usize::from(number > 0) + piece.len();
        if text.len() + with_comma + tail.len() > BYTES {
            break;
        }
        if number > 0 {
            text.push(',');
        }
        text.push_str(&piece);
    }
    text + tail
}

/// `head`, and as many lines behind it as fit.
fn lines(head: &str, line: impl Fn(usize) -> String) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let line = line(number);
        if text.len() + line.len() > BYTES {
            break;
        }
        text.push_str(&line);
    }
    text
}

fn wide_schema(columns: usize) -> Schema {
    let names: Vec<String> = (0..columns).map(|column| format!("f{column}")).collect();
    let fields: Vec<(&str, FieldType)> = names
        .iter()
        .map(|name| (name.as_str(), FieldType::F64))
        .collect();
    schema(&fields)
}

/// Every field declared, in another order than the schema holds them, one of them read from elsewhere.
fn declaring(rule: StreamRule, columns: usize) -> StreamRule {
    let mut fields: Vec<DeclaredField> = (0..columns)
        .rev()
        .map(|column| declared(&format!("f{column}"), FieldType::F64))
        .collect();
    fields[0] = at("/deep/down", fields[0].clone());
    StreamRule {
        fields,
        infer: false,
        fields_max: columns,
        ..rule
    }
}

/// Fails for whatever is dearer than it may be; tells all of them.
pub(super) fn compare(
    benign: (&StreamRule, &str),
    others: &[(&str, &StreamRule, Option<&Schema>, String)],
) {
    let (rule, payload) = benign;
    assert!(payload.len() > BYTES - 100, "{}", payload.len());
    decode(rule, None, payload.as_bytes()).unwrap();
    let usual = cost_s(rule, None, payload);
    let mut dear = Vec::new();
    for (what, rule, schema, payload) in others {
        assert!(payload.len() <= BYTES, "{what}: {}", payload.len());
        let ratio = cost_s(rule, *schema, payload) / usual;
        if std::env::var_os("DUNLIN_SHOW_COST").is_some() {
            eprintln!("{ratio:8.2} {what}");
        }
        if ratio > RATIO_MAX {
            dear.push(format!("{what}: {ratio:.1} times"));
        }
    }
    assert!(dear.is_empty(), "{dear:#?}");
}

pub(super) fn usual_json() -> String {
    filled(
        "[",
        |n| format!(r#"{{"rms":{n}.25,"peak":2.5,"state":"running","on":true}}"#),
        "]",
    )
}

/// Numbers whose rounding is hard to decide: just off the middle between two neighbours.
fn hard_number(number: usize) -> String {
    const HARD: [&str; 4] = [
        "9007199254740993.00000000000000000000000000000001",
        "8.4100000000000004905e-300",
        "2.2250738585072011360574097967091319759348195463516e-308",
        "1.7976931348623158079e308",
    ];
    HARD[number % HARD.len()].to_owned()
}

#[test]
fn json_of_any_kind_costs_what_its_bytes_cost() {
    let (wide, huge) = (wide_schema(256), wide_schema(4_000));
    let inferring = |fields_max| StreamRule {
        fields_max,
        ..rule()
    };
    let (usual, most) = (inferring(256), inferring(4_000));
    let strict = declaring(rule(), 4_000);
    let renaming = StreamRule {
        fields: vec![at("/elsewhere", declared("own", FieldType::F64))],
        ..inferring(4_000)
    };
    let benign = usual_json();
    let object = |piece: &dyn Fn(usize) -> String| filled("{", piece, "}");
    let array = |piece: &dyn Fn(usize) -> String| filled("[", piece, "]");
    let nested = format!(
        "{}1{}",
        r#"{"a":"#.repeat(NESTING_MAX),
        "}".repeat(NESTING_MAX)
    );
    let long = "k".repeat(BYTES / 2);
    let backwards: Vec<String> = (0..4_000).rev().map(|n| format!(r#""f{n}":1"#)).collect();
    let full = (0..3_999).fold(String::new(), |mut text, n| {
        let _ok = write!(text, "\"{n:<60}\":1,");
        text
    });
    let others = [
        (
            "names without end",
            &usual,
            None,
            object(&|n| format!(r#""{n}":1"#)),
        ),
        (
            "4,000 new fields",
            &most,
            None,
            object(&|n| format!(r#""{n:<50}":1"#)),
        ),
        (
            "4,000 new fields, then none",
            &most,
            None,
            format!("{{{full}\"x\":}}"),
        ),
        (
            "4,000 new beside one from elsewhere",
            &renaming,
            None,
            object(&|n| format!(r#""{n:<50}":1"#)),
        ),
        (
            "4,000 held, backwards",
            &most,
            Some(&huge),
            format!("[{{{0}}},{{{0}}}]", backwards.join(",")),
        ),
        (
            "names that nobody declares",
            &strict,
            Some(&huge),
            object(&|n| format!(r#""{n}":1"#)),
        ),
        (
            "the same of these again",
            &strict,
            Some(&huge),
            object(&|_| r#""x":1"#.to_owned()),
        ),
        (
            "objects that nobody declares",
            &strict,
            Some(&huge),
            object(&|n| format!(r#""{n}":{{}}"#)),
        ),
        ("levels", &usual, None, array(&|_| nested.clone())),
        (
            "levels that nobody declares",
            &strict,
            Some(&huge),
            array(&|_| nested.clone()),
        ),
        (
            "many below a long name",
            &strict,
            Some(&huge),
            format!(
                r#"{{"{long}":{{{}}}}}"#,
                (0..9_000)
                    .map(|n| format!(r#""{n}":1"#))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        ),
        (
            "arrays",
            &usual,
            None,
            format!(
                r#"{{"a":{}}}"#,
                filled("[", |_| "1".into(), "]").split_at(BYTES - 9).0
            ),
        ),
        (
            "one name, twice",
            &usual,
            None,
            object(&|_| r#""a":1"#.to_owned()),
        ),
        ("empty records", &usual, None, array(&|_| "{}".to_owned())),
        (
            "the last of many fields, again and again",
            &usual,
            Some(&wide),
            array(&|_| r#"{"f103":1}"#.to_owned()),
        ),
        (
            "the last of 4,000, again and again",
            &most,
            Some(&huge),
            array(&|n| format!(r#"{{"f3999":{n},"f0":1}}"#)),
        ),
        (
            "a long number",
            &usual,
            None,
            format!(r#"{{"a":{}}}"#, "7".repeat(BYTES - 10)),
        ),
        (
            "a long fraction",
            &usual,
            None,
            format!(r#"{{"a":0.{}1}}"#, "0".repeat(BYTES - 20)),
        ),
        (
            "numbers of 780 digits",
            &usual,
            None,
            array(&|_| format!(r#"{{"a":1.{}1}}"#, "0".repeat(777))),
        ),
        (
            "numbers that are hard to round",
            &usual,
            None,
            array(&|n| format!(r#"{{"a":{}}}"#, hard_number(n))),
        ),
        (
            "a long text",
            &usual,
            None,
            format!(r#"{{"a":"{}"}}"#, "x".repeat(BYTES - 10)),
        ),
        (
            "escapes",
            &usual,
            None,
            format!(r#"{{"a":"{}"}}"#, "\\u00e9".repeat(BYTES / 6 - 2)),
        ),
        (
            "escaped names",
            &usual,
            None,
            object(&|n| format!(r#""\u0061{n}":1"#)),
        ),
        (
            "an unfinished end",
            &usual,
            None,
            array(&|_| r#"{"a":1}"#.to_owned()).replace(']', ","),
        ),
        (
            "blanks",
            &usual,
            None,
            format!(r#"{}{{"a":1}}"#, " ".repeat(BYTES - 10)),
        ),
        ("brackets", &usual, None, "[".repeat(BYTES)),
    ];
    compare((&usual, &benign), &others);
}

#[test]
fn senml_of_any_kind_costs_what_its_bytes_cost() {
    let usual = StreamRule {
        fields_max: 256,
        ..senml()
    };
    let (strict, huge) = (declaring(senml(), 4_000), wide_schema(4_000));
    let benign = filled(
        r#"[{"bn":"press-7/","bt":1.7e9},"#,
        |n| format!(r#"{{"n":"t{}","t":{},"v":21.5}}"#, n % 4, n / 4),
        "]",
    );
    let pack = |head: &str, piece: &dyn Fn(usize) -> String| filled(head, piece, "]");
    let long = "b".repeat(BYTES / 2);
    let both = format!(r#"[{{"bn":"x","n":"y","v":1}},{{"bn":"{long}"}},"#);
    let others = [
        (
            "a long base name",
            &usual,
            None,
            pack(&format!(r#"[{{"bn":"{long}"}},"#), &|n| {
                format!(r#"{{"n":"{n}","v":1}}"#)
            }),
        ),
        (
            "a long base name behind another",
            &usual,
            None,
            pack(&both, &|n| format!(r#"{{"n":"{n}","v":1}}"#)),
        ),
        (
            "the same, declared",
            &strict,
            Some(&huge),
            pack(&both, &|n| format!(r#"{{"n":"{n}","v":1}}"#)),
        ),
        (
            "the same, sums",
            &strict,
            Some(&huge),
            pack(&both, &|n| format!(r#"{{"n":"{n}","s":1}}"#)),
        ),
        (
            "the same, base alone",
            &strict,
            Some(&huge),
            pack(&both, &|n| format!(r#"{{"t":{n},"v":1}}"#)),
        ),
        (
            "the same, base alone, sums",
            &strict,
            Some(&huge),
            pack(&both, &|n| format!(r#"{{"n":"","t":{n},"s":1}}"#)),
        ),
        (
            "a base name each",
            &usual,
            None,
            pack("[", &|n| format!(r#"{{"bn":"{}","n":"a","v":1}}"#, n % 2)),
        ),
        (
            "long base names, one by one",
            &strict,
            Some(&huge),
            pack("[", &|n| {
                format!(r#"{{"bn":"{}{n}","n":"a","v":1}}"#, "b".repeat(1_000))
            }),
        ),
        (
            "a time each, backwards",
            &usual,
            None,
            pack("[", &|n| format!(r#"{{"n":"a","t":-{n},"v":1}}"#)),
        ),
        (
            "names without end",
            &strict,
            Some(&huge),
            pack("[", &|n| format!(r#"{{"n":"{n}","v":1}}"#)),
        ),
        (
            "the last of many fields, again and again",
            &strict,
            Some(&huge),
            pack("[", &|n| format!(r#"{{"n":"f103","t":{n},"v":1}}"#)),
        ),
        (
            "numbers that are hard to round",
            &usual,
            None,
            pack("[", &|n| {
                format!(r#"{{"n":"a","t":{n},"v":{}}}"#, hard_number(n))
            }),
        ),
        (
            "labels that nobody knows",
            &usual,
            None,
            pack("[", &|n| {
                format!(r#"{{"n":"a","t":{n},"x{n}":[[[]]],"v":1}}"#)
            }),
        ),
        (
            "base entries",
            &usual,
            None,
            pack("[", &|_| r#"{"bv":1}"#.to_owned()),
        ),
    ];
    compare((&usual, &benign), &others);
}

#[test]
fn csv_of_any_kind_costs_what_its_bytes_cost() {
    let usual = StreamRule {
        fields_max: 256,
        ..csv(true)
    };
    let most = StreamRule {
        fields_max: 4_000,
        ..csv(true)
    };
    let (wide, huge) = (wide_schema(256), wide_schema(4_000));
    let named = declaring(csv(true), 4_000);
    let mut in_order = declaring(csv(false), 4_000);
    in_order.fields[0].pointer = None;
    let benign = lines("rms,peak,state,on\n", |n| {
        format!("{n}.25,2.5,running at speed,true\n")
    });
    let names = |count: usize| {
        (0..count)
            .map(|n| format!("f{n}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let line = |count: usize| vec!["1"; count].join(",") + "\n";
    let commas = |count: usize| ",".repeat(count - 1) + "\n";
    let mut all = format!("{}\n", names(4_000));
    while all.len() + 8_001 < BYTES {
        all += &line(4_000);
    }
    let mut none = format!("{}\n", names(256));
    while none.len() + 257 < BYTES {
        none += &commas(256);
    }
    let others = [
        (
            "a header alone",
            &most,
            None,
            filled("", |n| n.to_string(), ""),
        ),
        ("4,000 columns", &most, None, all.clone()),
        ("4,000 columns, held", &most, Some(&huge), all.clone()),
        ("4,000 columns, declared", &named, Some(&huge), all.clone()),
        (
            "4,000 columns, by their order",
            &in_order,
            Some(&huge),
            all.split_once('\n').unwrap().1.to_owned(),
        ),
        ("lines of commas", &usual, Some(&wide), none),
        (
            "a line each",
            &usual,
            None,
            lines("a\n", |_| "1\n".to_owned()),
        ),
        (
            "blank lines",
            &usual,
            None,
            "a\n".to_owned() + &"\n".repeat(BYTES - 2),
        ),
        (
            "lines of blanks",
            &usual,
            None,
            "a\n".to_owned() + &" \n".repeat(BYTES / 2 - 1),
        ),
        (
            "quotes",
            &usual,
            None,
            lines("a\n", |_| "\"\"\"\"\n".to_owned()),
        ),
        (
            "one long cell",
            &usual,
            None,
            format!("a\n\"{}\"\n", "x".repeat(BYTES - 10)),
        ),
        (
            "an open quote",
            &usual,
            None,
            format!("a\n\"{}", "1\n".repeat(BYTES / 2 - 5)),
        ),
        (
            "a long number",
            &usual,
            None,
            format!("a\n{}\n", "7".repeat(BYTES - 10)),
        ),
        (
            "numbers that are hard to round",
            &usual,
            None,
            lines("a\n", |n| hard_number(n) + "\n"),
        ),
        (
            "the last of many columns",
            &usual,
            Some(&wide),
            lines(&format!("{}\n", names(104)), |_| {
                commas(104).trim_end().to_owned() + "1\n"
            }),
        ),
    ];
    compare((&usual, &benign), &others);
}

#[test]
fn a_bare_number_of_any_kind_costs_what_its_bytes_cost() {
    let (usual, text) = (
        number(),
        StreamRule {
            fields: vec![declared("a", FieldType::Text)],
            ..number()
        },
    );
    let strict = StreamRule {
        fields: vec![declared("a", FieldType::I64)],
        ..number()
    };
    let json = StreamRule {
        fields_max: 256,
        ..rule()
    };
    let others = [
        ("digits", &usual, None, "7".repeat(BYTES)),
        ("digits of an integer", &strict, None, "7".repeat(BYTES)),
        (
            "zeros",
            &usual,
            None,
            format!("0.{}1", "0".repeat(BYTES - 3)),
        ),
        (
            "an exponent",
            &usual,
            None,
            format!("1e{}", "9".repeat(BYTES - 2)),
        ),
        (
            "zeros of an exponent",
            &usual,
            None,
            format!("1e{}1", "0".repeat(BYTES - 3)),
        ),
        ("a text", &text, None, "x".repeat(BYTES)),
        ("no number", &usual, None, "x".repeat(BYTES)),
    ];
    // Nobody sends a number of this size; this is what other payloads of it cost.
    compare((&json, &usual_json()), &others);
}
