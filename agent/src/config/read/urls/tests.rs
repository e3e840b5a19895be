#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_good_url_is_taken_apart() {
    let url = server("mqtts://me:p%40ss%2F@[::1]").ok().unwrap();
    assert_eq!((url.host.as_str(), url.port()), ("::1", 8883));
    assert!(url.is_tls() && url.is_local());
    assert_eq!(url.user.as_deref(), Some("me"));
    assert_eq!(url.password.as_deref(), Some("p@ss/"));
    let url = server("mqtt://broker.example:1884/").ok().unwrap();
    assert_eq!((url.host.as_str(), url.port()), ("broker.example", 1884));
    assert!(!url.is_tls() && !url.is_local() && url.user.is_none());
    let url = server("tdengine://root:old@td:6041/plant").ok().unwrap();
    assert_eq!(
        url.with_password(Some("n@w")),
        "tdengine://root:n%40w@td:6041/plant"
    );
}

#[test]
fn a_bad_url_is_refused_without_repeating_it() {
    let mqtt: &[&str] = &["mqtt", "mqtts"];
    let upstream: &[&str] = &["tdengine", "tdengines", "postgres", "sqlite"];
    for (schemes, text) in [
        (mqtt, "hunter2"),
        (mqtt, "hunter2:hunter2@host"),
        (mqtt, "hunter2://host"),
        (mqtt, "mqtt://me:hunter2"),
        (mqtt, "mqtt://me:hunter2#@host"),
        (mqtt, "mqtt://me:hunter2/@host"),
        (mqtt, "mqtt://me:hunter2@"),
        (mqtt, "mqtt:me:hunter2@host"),
        (mqtt, "mqtt://me:hunter2@host:99999"),
        (mqtt, "mqtt://me:hunter2@host:0"),
        (mqtt, "mqtt://me:hunter2@host/topic"),
        (mqtt, "mqtt://me:hunter2@host?x=hunter2"),
        (mqtt, "mqtt://me:hunter2@ho st"),
        (mqtt, "mqtt://me:hunter2%00@host"),
        (mqtt, "mqtt://me:hunter2%ff@host"),
        (upstream, "tdengine://root:hunter2@host:6041"),
        (upstream, "tdengine://root:hunter2@host:6041/a b"),
        (upstream, "tdengine://root:hunter2@host:6041/1;drop"),
        (upstream, "tdengine://root:hunter2@host:6041/db?x"),
        (upstream, "postgres://me:hunter2@host"),
        (upstream, "postgres://:hunter2@host/db"),
        (upstream, "postgres://me:hunter2@host/db#x"),
        (upstream, "postgres://me:hunter2@host/db?sslmode=hunter2"),
        (upstream, "postgres://me:hunter2@host/db?sslmode=require"),
        (upstream, "postgres://me:hunter2@host/db?x=hunter2"),
        (upstream, "postgres://me:hunter2%00@host/db"),
        (upstream, "sqlite:"),
        (upstream, "sqlite:///hunter2"),
        (upstream, "sqlite:a\nhunter2"),
        (upstream, "influx://hunter2"),
    ] {
        let diagnostic = check(text, schemes).unwrap_err();
        let shown = format!("{} {}", diagnostic.message, diagnostic.hint);
        assert!(!shown.contains("hunter2"), "{text}: {shown}");
    }
    let diagnostic = check("mqqt://host", mqtt).unwrap_err();
    assert!(
        diagnostic.hint.contains("did you mean mqtt://"),
        "{diagnostic:?}"
    );
}

#[test]
fn sqlite_files_are_relative_to_the_file() {
    let under = |text| sqlite_under(text, Path::new("/etc/dunlin")).ok().unwrap();
    assert_eq!(under("sqlite:a.db"), "sqlite:/etc/dunlin/a.db");
    assert_eq!(under("sqlite:/b.db"), "sqlite:/b.db");
    let here = sqlite_under("sqlite:a.db", Path::new("")).ok().unwrap();
    assert_eq!(here, "sqlite:a.db");
}

#[test]
fn passwords_are_seen() {
    assert!(holds_password("mqtt://a:b@h"));
    assert!(holds_password("mqtt://a:b#@h"));
    assert!(!holds_password("mqtt://a@h"));
    assert!(!holds_password("sqlite:central.db"));
}

#[test]
fn a_postgres_url_says_whether_it_is_encrypted_or_its_host_does() {
    for (text, is_tls) in [
        ("postgres://me@db.example/d", true),
        ("postgres://me@localhost/d", false),
        ("postgres://me@[::1]:5433/d", false),
        ("postgres://me@127.0.0.1/d?sslmode=verify-full", true),
        ("postgresql://me@db.example/d?sslmode=disable", false),
    ] {
        let url = server(text).ok().unwrap();
        assert_eq!(url.is_tls(), is_tls, "{text}");
        assert!(!url.is_tdengine());
    }
    let url = server("postgres://me:old@h/d?sslmode=disable")
        .ok()
        .unwrap();
    assert_eq!(url.port(), 5432);
    assert_eq!(
        url.with_password(Some("n@w")),
        "postgres://me:n%40w@h/d?sslmode=disable"
    );
}
