//! Passwords and certificates: where they come from, and that they never show.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

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
        with_mqtt("[upstream]\nurl = \"postgres://me:hunter2@h/db?sslmode=prefer\""),
        with_mqtt("[upstream]\nurl = \"postgres://me:hunter2@h/db\""),
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
fn a_readable_file_with_a_password_is_warned_about() {
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
