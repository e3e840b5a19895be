#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs};

use super::{
    registry::{DefaultValue, Kind, SETTINGS},
    *,
};
use crate::settings::{
    MqttVersion, NanPolicy, PayloadFormat, SplitRule, TimeUnit, UploadOrder, WhenFull,
};

const MINIMAL: &str = "device = \"d\"\n[mqtt]\nurl = \"mqtt://h\"\n[[stream]]\nname = \"s\"\n\
                       topic = \"t/#\"\n";

/// A directory with `text` as its `dunlin.toml`, readable by its owner alone.
pub(super) fn file_with(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    fs::write(&path, text).unwrap();
    make_private(&path);
    (dir, path)
}

fn make_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn check_text(text: &str, overrides: &Overrides) -> Checked {
    let (_dir, path) = file_with(text);
    check(Some(&path), overrides)
}

/// Settings of a text that must be valid.
fn valid(text: &str) -> Settings {
    let checked = check_text(text, &Overrides::default());
    checked
        .settings
        .unwrap_or_else(|mistakes| panic!("{text}\n{}", shown(&mistakes)))
}

/// Mistakes of a text as (line, column, message and hint).
fn mistakes(text: &str) -> Vec<(usize, usize, String)> {
    let found = check_text(text, &Overrides::default())
        .settings
        .unwrap_err();
    found
        .iter()
        .map(|mistake| {
            let (line, column) = match mistake.place {
                Place::File { at: Some(at), .. } => at,
                _ => (0, 0),
            };
            (
                line,
                column,
                format!("{}\n{}", mistake.message, mistake.hint),
            )
        })
        .collect()
}

fn warnings(text: &str) -> String {
    shown(&check_text(text, &Overrides::default()).warnings)
}

fn shown(list: &[Mistake]) -> String {
    list.iter().map(|mistake| format!("{mistake}\n")).collect()
}

/// The minimal file with lines added to its `[mqtt]` table.
fn with_mqtt(lines: &str) -> String {
    MINIMAL.replace("[[stream]]", &format!("{lines}\n[[stream]]"))
}

fn with_stream(lines: &str) -> String {
    format!("{MINIMAL}{lines}\n")
}

/// One mistake is found in `text`; it holds every one of `parts`.
fn assert_one(text: &str, parts: &[&str]) {
    let found = mistakes(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    for part in parts {
        assert!(found[0].2.contains(part), "{text}\n{part}\n{found:#?}");
    }
    assert!(found[0].2.lines().nth(1).is_some(), "no hint: {found:#?}");
}

#[test]
fn the_smallest_file_and_the_example_are_valid() {
    let settings = valid(MINIMAL);
    assert_eq!(settings.mqtt.client_id, "dunlin-d");
    assert_eq!(
        settings.mqtt.status_topic.as_deref(),
        Some("dunlin/d/status")
    );
    assert_eq!(settings.mqtt.version, MqttVersion::V5);
    assert_eq!(settings.buffer.bytes_max, 1 << 30);
    assert_eq!(settings.buffer.replay_bytes_max, 1 << 29);
    assert_eq!(
        settings.streams[0].split,
        SplitRule::Random {
            train: 0.8,
            seed: None
        }
    );
    assert_eq!(settings.http_listen.unwrap().port(), 9464);

    assert!(EXAMPLE.lines().count() <= 23, "twenty lines and the gaps");
    let settings = valid(EXAMPLE);
    assert_eq!(settings.streams.len(), 2);
    assert_eq!(
        settings.streams[0].split,
        SplitRule::Block {
            train: 0.8,
            run_ms: 60_000
        }
    );
    assert_eq!(settings.streams[1].format, PayloadFormat::Number);
    assert_eq!(settings.upstream.database_options["keep"], "3650");
}

#[test]
fn a_broker_without_a_file_is_enough() {
    let overrides = Overrides::default()
        .set("mqtt.url", "mqtt://host:1884")
        .set("upstream.url", "sqlite:x.db")
        .topic("plant/+machine/#")
        .topic("hall=hall/#");
    let settings = load(None, &overrides).unwrap();
    assert_eq!(
        (settings.mqtt.host.as_str(), settings.mqtt.port),
        ("host", 1884)
    );
    assert_eq!(settings.upstream.url.reveal(), "sqlite:x.db");
    let names: Vec<_> = settings
        .streams
        .iter()
        .map(|rule| rule.name.as_str())
        .collect();
    assert_eq!(names, ["plant", "hall"]);
    assert_eq!(settings.data_dir, Path::new("./dunlin-data"));
}

#[test]
fn what_is_missing_is_said_once_each() {
    let found = load(None, &Overrides::default()).unwrap_err();
    let text = shown(&found);
    assert_eq!(found.len(), 2, "{text}");
    assert!(
        text.contains("mqtt.url: is missing") && text.contains("--mqtt mqtt://"),
        "{text}"
    );
    assert!(
        text.contains("no stream") && text.contains("--topic"),
        "{text}"
    );
    let (_dir, path) = file_with("");
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("dunlin.toml: mqtt.url: is missing"),
        "{}",
        shown(&found)
    );
}

/// Each setting, given another value than its default, changes the settings.
#[test]
fn every_setting_has_an_effect_as_variable_and_as_flag() {
    let files = tempfile::tempdir().unwrap();
    let password = files.path().join("password");
    fs::write(&password, "hunter2\r\n").unwrap();
    make_private(&password);
    let key = certificate_in(files.path());
    let base = Overrides::default()
        .set("device", "d")
        .set("mqtt.url", "mqtts://h")
        .set("mqtt.user", "u")
        .set("mqtt.ca_file", key.0.as_str())
        .set("upstream.url", "tdengines://u@h/db")
        .set("upstream.ca_file", key.0.as_str())
        .topic("t/#");
    let before = load(None, &base).unwrap_or_else(|found| panic!("{}", shown(&found)));
    for setting in SETTINGS {
        let value = match (setting.path, setting.kind) {
            ("mqtt.url", _) => "mqtts://other".into(),
            ("upstream.url", _) => "tdengines://u@other/db".into(),
            ("mqtt.backoff_ms_min", _) | ("upstream.backoff_ms_min", _) => "501".into(),
            ("log.level", _) => "debug".into(),
            (_, Kind::Integer { max, .. }) => max.to_string(),
            (_, Kind::Duration { max, .. }) => max.to_string(),
            ("buffer.replay_bytes_max", _) => "7".into(),
            ("buffer.bytes_max", _) => "2 GiB".into(),
            (_, Kind::Bytes { .. }) => "3 MiB".into(),
            (_, Kind::Choice(words)) => {
                let is_default = |word: &&&'static str| setting.default == DefaultValue::Is(word);
                let mut words = words.iter();
                (*words.find(|word| !is_default(word)).unwrap()).to_owned()
            }
            (_, Kind::Listen) => "[::1]:1".into(),
            (path, _) if path.ends_with("password_file") => password.display().to_string(),
            (path, _) if path.ends_with("ca_file") => key.1.clone(),
            (path, _) if path.ends_with("cert_file") => key.0.clone(),
            (path, _) if path.ends_with("key_file") => key.2.clone(),
            _ => "other".into(),
        };
        let mut changed = base.clone();
        let partner = setting.path.replace("cert_file", "key_file");
        if partner != setting.path {
            changed = changed.set(&partner, key.2.as_str());
        }
        let partner = setting.path.replace("key_file", "cert_file");
        if partner != setting.path {
            changed = changed.set(&partner, key.0.as_str());
        }
        let by_flag = load(None, &changed.clone().set(setting.path, value.as_str()))
            .unwrap_or_else(|found| panic!("{}", shown(&found)));
        assert_ne!(by_flag, before, "{} as a flag", setting.path);
        let is_in_base = |end: &&str| setting.path.ends_with(end);
        if ["device", ".url", ".user", "_file"].iter().any(is_in_base) {
            continue; // The base may set these by flag, which wins.
        }
        let variable = [(setting.variable().into(), value.into())];
        let by_variable = load(None, &changed.with_variables(variable)).unwrap();
        assert_eq!(by_variable, by_flag, "{} as a variable", setting.path);
    }
}

/// A self-signed certificate twice (two files) and its key.
fn certificate_in(dir: &Path) -> (String, String, String) {
    let [one, two, key] = ["ca.pem", "other.pem", "key.pem"].map(|name| dir.join(name));
    let made = rcgen::generate_simple_self_signed(["test.invalid".to_owned()]).unwrap();
    fs::write(&one, made.cert.pem()).unwrap();
    fs::write(&two, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    make_private(&key);
    let text = |path: PathBuf| path.display().to_string();
    (text(one), text(two), text(key))
}

#[test]
fn precedence_is_flag_variable_file_default() {
    let text = with_mqtt("keep_alive_s = 11\nreceive_maximum = 12");
    let overrides = Overrides::default().with_variables([
        ("DUNLIN_MQTT_RECEIVE_MAXIMUM".into(), "22".into()),
        ("DUNLIN_MQTT_BACKOFF_MS_MIN".into(), "23".into()),
    ]);
    let overrides = overrides.set("mqtt.backoff_ms_min", "33");
    let settings = check_text(&text, &overrides).settings.unwrap();
    let mqtt = settings.mqtt;
    assert_eq!(mqtt.keep_alive_s, 11);
    assert_eq!(mqtt.receive_maximum, 22);
    assert_eq!(mqtt.backoff_ms_min, 33);
    assert_eq!(mqtt.backoff_ms_max, 30_000);
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let text = r#"device = 5
colour = "red"

[mqtt]
url = "mqtt://h"
keep_alive = 30
  receive_maximum = 70000
version = "4"

[upstraem]
url = "sqlite:x.db"

[buffer]
bytes_max = "much"
url = "x"

[[stream]]
name = "a b"
topic = "t/#/x"

[[stream]]
nmae = "é"
topic = ""
"#;
    let found = mistakes(text);
    let expected = [
        (1, 10, "device: is a whole number"),
        (2, 1, "colour: there is no such setting"),
        (6, 1, "did you mean `keep_alive_s`?"),
        (
            7,
            21,
            "70000 is out of range\nwrite a whole number from 1 to 65535",
        ),
        (8, 11, "`4` is not known here\nuse one of: 5, 3.1.1"),
        (10, 2, "did you mean `upstream`?"),
        (14, 13, "buffer.bytes_max: `much` is not a number of bytes"),
        (
            15,
            1,
            "did you mean `url` under [mqtt] or `url` under [upstream]?",
        ),
        (18, 8, "\"a b\" is no name for a table"),
        (19, 9, "topic `t/#/x`"),
        (21, 1, "stream.name: is missing"),
        (22, 1, "did you mean `name`?"),
        (23, 9, "stream.topic: is empty"),
    ];
    for (index, (line, column, part)) in expected.iter().enumerate() {
        assert_eq!(
            (found[index].0, found[index].1),
            (*line, *column),
            "{found:#?}"
        );
        assert!(found[index].2.contains(part), "{part}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn syntax_mistakes_are_all_reported_and_hide_their_consequences() {
    let text = "device = \"d\n[mqtt]\nurl = mqtt://h\nkeep_alive_s = 99999\n[[stream]\nname = \"s\"\ntopic = \"t\"\n";
    let found = mistakes(text);
    let lines: Vec<_> = found.iter().map(|(line, ..)| *line).collect();
    assert!(
        lines.contains(&1) && lines.contains(&3) && lines.contains(&4),
        "{found:#?}"
    );
    assert!(
        !found.iter().any(|(.., text)| text.contains("missing")),
        "{found:#?}"
    );
    assert_one(
        &format!("{MINIMAL}name = \"twice\"\n"),
        &["not TOML", "duplicate key"],
    );
}

#[test]
fn files_that_are_no_configuration_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("cannot be read"),
        "{}",
        shown(&found)
    );
    assert_eq!(found.len(), 1);
    let found = load(Some(dir.path()), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("cannot be read"),
        "{}",
        shown(&found)
    );
    fs::write(&path, b"device = \"d\"\nx = \"\xff\"\n").unwrap();
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("toml:2:1: is not UTF-8"),
        "{}",
        shown(&found)
    );
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("longer than 1 MiB"),
        "{}",
        shown(&found)
    );
}

#[test]
fn overrides_name_the_flag_or_the_variable() {
    let overrides = Overrides::default()
        .set("mqtt.keep_alive_s", "soon")
        .with_variables([("DUNLIN_BUFFER_WHEN_FULL".into(), "drop_newest".into())])
        .topic("a/#/b");
    let found = check_text(MINIMAL, &overrides).settings.unwrap_err();
    let text = shown(&found);
    assert!(
        text.contains("flag --mqtt-keep-alive-s: mqtt.keep_alive_s: `soon`"),
        "{text}"
    );
    assert!(
        text.contains("variable DUNLIN_BUFFER_WHEN_FULL: "),
        "{text}"
    );
    assert!(text.contains("did you mean `drop_oldest`?"), "{text}");
    assert!(text.contains("flag --topic: topic `a/#/b`"), "{text}");
    assert_eq!(found.len(), 3, "{text}");
}

#[test]
fn settings_that_do_not_fit_together() {
    for (text, parts) in [
        (
            with_mqtt("backoff_ms_min = 5000\nbackoff_ms_max = 100"),
            &["5000", "is above"][..],
        ),
        (
            with_mqtt("ca_file = \"/dev/null\""),
            &["not encrypted", "mqtts://"],
        ),
        (with_mqtt("status_topic = \"a/#\""), &["wildcard"]),
        (
            with_mqtt("password = \"p\""),
            &["without a user", "mqtt.user"],
        ),
        (
            with_mqtt("[buffer]\nreplay_bytes_max = \"600 MiB\""),
            &["more than half", "536870912"],
        ),
        (
            with_mqtt("[log]\nlevel = \"loud\""),
            &["`loud` is no level"],
        ),
        (with_mqtt("[http]\nlisten = \"9464\""), &["127.0.0.1:9464"]),
        (
            with_mqtt("[upstream]\nurl = \"tdengine://h\""),
            &["names no database"],
        ),
        (
            with_mqtt("[upstream]\nurl = \"tdengine://h/db\"\npassword = \"p\""),
            &["without a user"],
        ),
        (
            with_mqtt("[upstream]\npassword = \"p\""),
            &["SQLite", "remove"],
        ),
        (
            with_mqtt("[upstream]\ndatabase = 5"),
            &["[upstream.database]"],
        ),
        (
            with_mqtt("[upstream.database]\nkeep = \"1; DROP\""),
            &["no option"],
        ),
        (
            with_mqtt("[upstream.database]\nPRECISION = \"ms\""),
            &["always ns"],
        ),
        (with_mqtt("[mqtt.url]\nx = 1"), &["duplicate key"]),
        (
            MINIMAL.replace("device = \"d\"", "device = \"a/b\""),
            &["device: `a/b`"],
        ),
        (
            MINIMAL.replace("[[stream]]", "[stream]"),
            &["double brackets"],
        ),
        (
            MINIMAL.replace("mqtt://h", "mqtt://h/topic"),
            &["goes on after host and port"],
        ),
        (
            MINIMAL.replace("device = \"d\"", "data_dir = \"dunlin.toml\""),
            &["no directory"],
        ),
    ] {
        assert_one(&text, parts);
    }
}

#[test]
fn streams_are_read_whole() {
    let settings = valid(&with_stream(
        r#"fields = { zeta = "f32", alpha = { type = "text", at = "/a~1b/0", required = true } }
infer = false
time = "/when"
time_unit = "us"
tags = { plant = "north" }
nan = "missing"
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
        (one.time.as_deref(), one.time_unit),
        (Some("/when"), TimeUnit::Micros)
    );
    assert_eq!(one.tags, BTreeMap::from([("plant".into(), "north".into())]));
    assert_eq!((one.nan, one.fields_max), (NanPolicy::Missing, 2));
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
        ("time = \"/t\"\ntime_unit = \"m\"", &["s, ms, us, ns"]),
        ("tags = { device = \"x\" }", &["`device` exists already"]),
        ("tags = { \"a b\" = \"x\" }", &["no name for a table"]),
        ("tags = { a = 1 }", &["in quotes"]),
        (
            "tags = { a = \"x\" }\nfields = { A = \"f64\" }",
            &["a tag and a field"],
        ),
        ("nan = \"zero\"", &["refuse, missing"]),
        ("fields_max = 0", &["from 1 to 4000"]),
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
            &["`device` exists already"],
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
fn passwords_come_from_four_places_and_never_show() {
    let password_of = |text: &str| valid(text).mqtt.password.unwrap().reveal().to_owned();
    let user = "user = \"me\"\n";
    assert_eq!(password_of(&MINIMAL.replace("//h", "//me:p%40@h")), "p@");
    assert_eq!(
        password_of(&with_mqtt(&format!("{user}password = \"pw\""))),
        "pw"
    );

    let (dir, path) = file_with(
        &with_mqtt(&format!("{user}password_file = \"pw\"")).replace("//h", "//localhost"),
    );
    fs::write(dir.path().join("pw"), "from file\n").unwrap();
    make_private(&dir.path().join("pw"));
    let settings = load(Some(&path), &Overrides::default()).unwrap();
    assert_eq!(settings.mqtt.password.unwrap().reveal(), "from file");
    let variable = [("DUNLIN_MQTT_PASSWORD".into(), "from variable".into())];
    let overrides = Overrides::default().with_variables(variable);
    let checked = check(Some(&path), &overrides);
    assert!(checked.warnings.is_empty(), "{}", shown(&checked.warnings));
    assert_eq!(
        checked.settings.unwrap().mqtt.password.unwrap().reveal(),
        "from variable"
    );

    for contents in ["", "\n", "two\nlines\n"] {
        fs::write(dir.path().join("pw"), contents).unwrap();
        let found = load(Some(&path), &Overrides::default()).unwrap_err();
        assert!(
            shown(&found).contains("holds no password"),
            "{}",
            shown(&found)
        );
    }
    fs::remove_file(dir.path().join("pw")).unwrap();
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("toml:5:17: mqtt.password_file: "),
        "{}",
        shown(&found)
    );

    assert_one(
        &MINIMAL.replace("//h\"", "//me:p@h\"\npassword = \"q\""),
        &["more than once (mqtt.url, mqtt.password)"],
    );
}

#[test]
fn no_secret_in_any_finding_or_debug_output() {
    let secret = "hunter2";
    for text in [
        MINIMAL.replace("mqtt://h", "mqtt://me:hunter2@h:x"),
        MINIMAL.replace("mqtt://h", "mqtt://me:hunter2"),
        MINIMAL.replace("mqtt://h", "mqtt//me:hunter2@h"),
        MINIMAL.replace("mqtt://h", "hunter2"),
        MINIMAL.replace("mqtt://h", "mqtt://me:hunter2@h"),
        MINIMAL.replace("\"mqtt://h\"", "\"mqtt://me:hunter2@h\" x"),
        MINIMAL.replace("\"mqtt://h\"", "mqtt://me:hunter2@h"),
        with_mqtt("password = \"hunter2\""),
        with_mqtt("password = \"hunter2\\n\"\nuser = \"u\""),
        with_mqtt("password = [\"hunter2\"]"),
        with_mqtt("password = hunter2"),
        with_mqtt("pasword = \"hunter2\""),
        with_mqtt("[upstream]\nurl = \"tdengine://root:hunter2@h\""),
        with_mqtt("[upstream]\nurl = \"tdengine://root:hunter2@h/db\""),
        with_mqtt("[upstream]\nurl = \"tdengine://root:hunter2@h:port/db\""),
    ] {
        let checked = check_text(&text, &Overrides::default());
        assert!(
            !format!("{checked:?}").contains(secret),
            "{text}\n{checked:?}"
        );
    }
    let url = "mqtt://me:hunter2@h";
    let variables = [
        "DUNLIN_MQTT_URL",
        "DUNLIN_MQTT_KEEP_ALIVE_S_PASSWORD",
        "DUNLIN_UPSTREAM_URL",
    ];
    for variable in variables {
        let overrides = Overrides::default()
            .with_variables([(variable.into(), format!("{url}:x").into())])
            .set("upstream.password_file", "/nonexistent");
        let checked = check_text(MINIMAL, &overrides);
        assert!(
            !format!("{checked:?}").contains(secret),
            "{variable}\n{checked:?}"
        );
    }
}

#[test]
fn upstream_password_goes_into_the_url() {
    let text = with_mqtt("[upstream]\nurl = \"tdengine://root@h:6041/db\"\npassword = \"p@ss\"");
    let settings = valid(&text);
    assert_eq!(
        settings.upstream.url.reveal(),
        "tdengine://root:p%40ss@h:6041/db"
    );
    assert!(!format!("{settings:?}").contains("p%40ss"));
}

#[test]
fn certificates_are_tried() {
    let (dir, path) = file_with(
        "device = \"d\"\n[mqtt]\nurl = \"mqtts://h\"\nca_file = \"ca.pem\"\n\
         cert_file = \"other.pem\"\nkey_file = \"key.pem\"\n[[stream]]\nname = \"s\"\ntopic = \"t\"\n",
    );
    certificate_in(dir.path());
    let settings = load(Some(&path), &Overrides::default()).unwrap();
    let tls = settings.mqtt.tls.unwrap();
    assert_eq!(tls.ca_file.unwrap(), dir.path().join("ca.pem"));
    let complaint = || shown(&load(Some(&path), &Overrides::default()).unwrap_err());
    fs::write(dir.path().join("key.pem"), "nothing").unwrap();
    assert!(
        complaint().contains("toml:6:12: mqtt.key_file: TLS cannot be set up"),
        "{}",
        complaint()
    );
    fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
    assert!(
        complaint().contains("toml:4:11: mqtt.ca_file: "),
        "{}",
        complaint()
    );
    fs::remove_file(dir.path().join("ca.pem")).unwrap();
    assert!(complaint().contains("cannot be read"), "{}", complaint());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("key_file = \"key.pem\"\n", "")).unwrap();
    assert!(
        complaint().contains("mqtt.cert_file: is set without mqtt.key_file"),
        "{}",
        complaint()
    );
}

#[test]
fn paths_in_the_file_are_relative_to_it_and_flags_are_not() {
    let (dir, path) = file_with(&with_mqtt("[upstream]\nurl = \"sqlite:a.db\""));
    let settings = load(Some(&path), &Overrides::default()).unwrap();
    assert_eq!(settings.data_dir, dir.path().join("./dunlin-data"));
    let expected = format!("sqlite:{}", dir.path().join("a.db").display());
    assert_eq!(settings.upstream.url.reveal(), expected);
    let overrides = Overrides::default()
        .set("data_dir", "x")
        .set("upstream.url", "sqlite:b.db");
    let settings = load(Some(&path), &overrides).unwrap();
    assert_eq!(settings.data_dir, Path::new("x"));
    assert_eq!(settings.upstream.url.reveal(), "sqlite:b.db");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    assert_eq!(warnings(MINIMAL), "");
    for (text, part) in [
        (MINIMAL.replace("//h", "//me:p@h"), "unencrypted"),
        (with_mqtt("session_expiry_s = 0"), "forgets us"),
        (with_mqtt("[buffer]\ncommit_gap_ms_min = 5"), "flash card"),
        (
            with_mqtt("[http]\nlisten = \"0.0.0.0:9464\""),
            "may read the metrics",
        ),
        (
            with_mqtt("[upstream.database]\nkeep = 1"),
            "means nothing to SQLite",
        ),
        (
            MINIMAL.replace("t/#", "#"),
            "own status topic dunlin/d/status",
        ),
    ] {
        assert!(
            warnings(&text).contains(part),
            "{text}\n{}",
            warnings(&text)
        );
    }
    assert_eq!(warnings(&MINIMAL.replace("//h", "//me:p@localhost")), "");
    let overrides = Overrides::default().set("mqtt.url", "mqtt://me:p@localhost");
    let text = shown(&check_text(MINIMAL, &overrides).warnings);
    assert!(
        text.contains("flag --mqtt-url: ") && text.contains("list of processes"),
        "{text}"
    );
}

#[test]
fn a_readable_file_with_a_password_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = file_with(&with_mqtt("user = \"u\"\npassword = \"p\""));
    let overrides = Overrides::default().set("mqtt.url", "mqtt://localhost");
    for (mode, expected) in [(0o600, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let text = shown(&check(Some(&path), &overrides).warnings);
        assert_eq!(
            text.contains("toml:5:12: this file: other users may read"),
            expected,
            "{text}"
        );
    }
    fs::write(&path, MINIMAL).unwrap();
    assert!(check(Some(&path), &overrides).warnings.is_empty());
}

#[test]
fn settings_read_back_what_was_written() {
    let settings = valid(&with_mqtt(
        "version = 5\n[buffer]\nwhen_full = \"drop_oldest\"\nreplay_age_s_max = \"7 d\"\n\
         [upstream]\norder = \"live_first\"\ntimeout_ms = \"3 s\"\n[http]\nlisten = \"\"\n\
         [log]\nformat = \"json\"",
    ));
    assert_eq!(settings.buffer.when_full, WhenFull::DropOldest);
    assert_eq!(settings.buffer.replay_age_s_max, Some(604_800));
    assert_eq!(settings.upstream.order, UploadOrder::LiveFirst);
    assert_eq!(settings.upstream.timeout.as_millis(), 3000);
    assert_eq!(settings.http_listen, None);
    assert!(settings.log.json);
}

#[test]
fn the_data_directory_needs_no_other_setting() {
    let (dir, path) = file_with("data_dir = \"here\"\n[mqtt]\nkeep_alive_s = 0\n");
    let found = data_dir(Some(&path), &Overrides::default());
    assert_eq!(found.unwrap(), dir.path().join("here"));
    assert_eq!(
        data_dir(None, &Overrides::default()).unwrap(),
        Path::new("./dunlin-data")
    );
    for text in [
        "data_dir = 5",
        "data_dir = \"a",
        "data_dir = \"dunlin.toml\"",
    ] {
        fs::write(&path, text).unwrap();
        assert!(
            data_dir(Some(&path), &Overrides::default()).is_err(),
            "{text}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[\\[\\]=\"\n.{},#0-9a-z])*") {
        let _any = check_text(&text, &Overrides::default());
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(at in 0_usize..400, with in "[\\[\\]=\"\n.{},#0-9é]{0,3}") {
        let mut text = EXAMPLE.to_owned();
        let at = at.min(text.len());
        text.replace_range(at..(at + 1).min(text.len()), &with);
        let _any = check_text(&text, &Overrides::default());
    }
}
