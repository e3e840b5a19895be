#![allow(clippy::unwrap_used)]

use std::fs;

use super::{
    schema::{DefaultValue, SETTINGS, kind::Kind},
    *,
};
use crate::config::settings::{
    LogFormat, NanPolicy, PayloadFormat, RetainedPolicy, SplitRule, TimeRange, TimeUnit,
    UploadOrder, WhenFull,
};

#[cfg(all(feature = "learning", feature = "sqlite"))]
mod fleet;
mod mistakes;
#[cfg(feature = "learning")]
mod recipes;
mod secrets;
mod shapes;
mod streams;
mod upstreams;

const MINIMAL: &str = "device = \"d\"\n[mqtt]\nurl = \"mqtt://h\"\n[[stream]]\nname = \"s\"\n\
                       topic = \"t/#\"\n";

/// A directory with `text` as its `dunlin.toml`, readable by its owner alone.
pub(in crate::config) fn file_with(text: &str) -> (tempfile::TempDir, PathBuf) {
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
            let (line, column) = match mistake.origin {
                Origin::File { at: Some(at), .. } => at,
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

fn shown(list: &[Diagnostic]) -> String {
    let lines: Vec<String> = list.iter().map(Diagnostic::to_string).collect();
    lines.join("\n")
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
fn the_configuration_in_the_readme_is_valid() {
    let readme = include_str!("../../../README.md");
    let block = readme.split("```toml\n").nth(1).unwrap();
    let settings = valid(block.split("```").next().unwrap());
    assert_eq!(settings.streams.len(), 2);
    assert_eq!(settings.device, "press-7");
    // What devices send: streams alone.
    let mut blocks = readme.split("```toml\n").skip(1);
    let streams = blocks.find(|block| block.starts_with("# Kepware")).unwrap();
    let streams = streams.split("```").next().unwrap();
    assert_eq!(valid(&format!("{MINIMAL}{streams}")).streams.len(), 7);
}

#[test]
fn the_smallest_file_and_the_example_are_valid() {
    let settings = valid(MINIMAL);
    assert_eq!(settings.mqtt.client_id, "dunlin-d");
    assert_eq!(
        settings.mqtt.status_topic.as_deref(),
        Some("dunlin/d/status")
    );
    assert_eq!(settings.mqtt.version, None);
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

/// A public key of minisign's form, whose secret nobody has.
const PUBLIC_KEY: &str = "RWQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

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
        // Taken without learning, so that one file does for every build, and of no use there.
        let is_learning = ["learn.", "fleet."]
            .iter()
            .any(|of| setting.path.starts_with(of));
        if is_learning && !cfg!(feature = "learning") {
            continue;
        }
        // What is followed is a recipe, for which there must be a file.
        let is_followed = setting.path == "fleet.follow";
        if is_followed || setting.path == "fleet.centre" && !cfg!(feature = "sqlite") {
            continue;
        }
        let value = match (setting.path, setting.kind) {
            ("mqtt.url", _) => "mqtts://other".into(),
            ("fleet.centre", _) => "sqlite:other.db".into(),
            ("fleet.keys", _) => PUBLIC_KEY.into(),
            ("upstream.url", _) => "tdengines://u@other/db".into(),
            ("mqtt.backoff_ms_min" | "upstream.backoff_ms_min", _) => "501".into(),
            ("log.level", _) => "debug".into(),
            (_, Kind::Integer { max, .. }) => max.to_string(),
            (_, Kind::Duration { max, .. }) => max.to_string(),
            ("buffer.replay_bytes_max", _) => "7".into(),
            ("buffer.bytes_max", _) => "2 GiB".into(),
            (_, Kind::Bytes { .. }) => "3 MiB".into(),
            (_, Kind::Choice(words)) => {
                let is_default = |word: &&&'static str| setting.default == DefaultValue::Is(word);
                let words = words();
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
            "means something to TDengine alone",
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
    assert_eq!(settings.log.format, LogFormat::Json);
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
