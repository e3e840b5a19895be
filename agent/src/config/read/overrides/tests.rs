#![allow(clippy::unwrap_used)]

use super::*;

#[derive(Debug, clap::Parser)]
struct Cli {
    #[command(flatten)]
    overrides: Overrides,
}

fn of<'a>(overrides: &'a Overrides, path: &str) -> Option<Override<'a>> {
    overrides.of(schema::find(path).unwrap())
}

#[test]
fn clap_fills_it() {
    use clap::Parser as _;
    let cli = Cli::try_parse_from([
        "run",
        "--mqtt",
        "mqtt://h",
        "--upstream",
        "sqlite:a.db",
        "--mqtt-keep-alive-s=7",
        "--topic",
        "a/#",
        "--topic",
        "b=b/#",
        "--upstream-database",
        "keep=10",
    ])
    .unwrap();
    let overrides = &cli.overrides;
    let text = |path| of(overrides, path).unwrap().1;
    assert_eq!(text("mqtt.url"), "mqtt://h");
    assert_eq!(text("upstream.url"), "sqlite:a.db");
    assert_eq!(text("mqtt.keep_alive_s"), "7");
    assert_eq!(overrides.topics().len(), 2);
    let database = overrides.database(&mut Diagnostics::default());
    assert_eq!((&*database[0].1, &*database[0].2), ("keep", "10"));
    assert!(Cli::try_parse_from(["run", "--mqtt-password", "x"]).is_err());
}

#[test]
fn flags_win_over_variables_and_empty_variables_are_not_set() {
    let variables = [
        ("DUNLIN_MQTT_URL", "mqtt://variable"),
        ("DUNLIN_DEVICE", ""),
        ("DUNLIN_HTTP_LISTEN", ""),
        ("DUNLIN_TOPIC", "a/#\n\n b/# \n"),
        ("HOME", "/root"),
    ];
    let overrides = Overrides::default()
        .with_variables(variables.map(|(name, value)| (name.into(), value.into())))
        .set("mqtt.url", "mqtt://flag");
    assert_eq!(of(&overrides, "mqtt.url").unwrap().1, "mqtt://flag");
    assert_eq!(of(&overrides, "device"), None);
    assert_eq!(of(&overrides, "http.listen").unwrap().1, "");
    let topics: Vec<_> = overrides.topics().into_iter().map(|(_, t)| t).collect();
    assert_eq!(topics, ["a/#", "b/#"]);
}

#[test]
fn unknown_variables_are_named_and_values_are_not_shown() {
    let overrides = Overrides::default().with_variables([
        ("DUNLIN_MQTT_PASWORD".into(), "hunter2".into()),
        ("DUNLIN_MQTT_PASSWORD".into(), "hunter2".into()),
    ]);
    let mut found = Diagnostics::default();
    overrides.check_variables(&mut found);
    assert!(found.errors.is_empty());
    let warning = found.warnings[0].to_string();
    assert!(warning.contains("DUNLIN_MQTT_PASSWORD?"), "{warning}");
    assert!(!format!("{warning}{overrides:?}").contains("hunter2"));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff]);
    let overrides = Overrides::default().with_variables([("DUNLIN_DEVICE".into(), value)]);
    let mut found = Diagnostics::default();
    overrides.check_variables(&mut found);
    assert_eq!(
        found.errors[0].origin,
        Origin::Variable("DUNLIN_DEVICE".into())
    );
}
