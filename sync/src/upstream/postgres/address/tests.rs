#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

fn options(url: &str) -> UpstreamOptions {
    UpstreamOptions::new(url, Duration::from_secs(1))
}

fn address(url: &str) -> Result<Address, UpstreamError> {
    Address::new(&options(url))
}

#[test]
fn urls_are_taken_apart_and_the_password_stays_inside() {
    let full = address("postgres://me:p%40s%2Fs@127.0.0.1:7000/plant_1?sslmode=disable").unwrap();
    let config = full.config();
    assert_eq!(config.get_user(), Some("me"));
    assert_eq!(config.get_password(), Some("p@s/s".as_bytes()));
    assert_eq!(
        full.location(),
        "postgres://127.0.0.1:7000/plant_1?sslmode=disable"
    );
    assert_eq!(full.without_password("no p@s/s here"), "no *** here");
    let short = address("postgresql://me@[::1]/d").unwrap();
    assert_eq!(short.config().get_password(), None);
    assert_eq!(short.location(), "postgres://[::1]:5432/d?sslmode=disable");
}

#[test]
fn what_leaves_this_device_is_encrypted_unless_the_url_says_it_is_not() {
    for (url, is_encrypted) in [
        ("postgres://u@db.example/d", true),
        ("postgres://u@10.0.0.1/d", true),
        ("postgres://u@localhost/d", false),
        ("postgres://u@127.0.0.2/d", false),
        ("postgres://u@localhost/d?sslmode=verify-full", true),
        ("postgres://u@db.example/d?sslmode=disable", false),
    ] {
        let address = address(url).unwrap();
        assert_eq!(address.target.tls.is_some(), is_encrypted, "{url}");
    }
}

#[test]
fn bad_urls_are_refused_without_repeating_them() {
    for url in [
        "postgres://u:hunter2@host:5432",
        "postgres://u:hunter2@host:5432/a/b",
        "postgres://u:hunter2@host:5432/1a",
        "postgres://u:hunter2@host:99999/a",
        "postgres://u:hunter2@host/a?sslmode=require",
        "postgres://u:hunter2@host/a?sslmode=hunter2",
        "postgres://u:hunter2@host/a?hunter2=1",
        "postgres://u:hunter2@host/a#b",
        "postgres://u:hunter2@/a",
        "postgres://:hunter2@host/a",
        "postgres:hunter2",
        "postgres://u:%ffhunter2@host/a",
        "postgres://u:hunter2%00@host/a",
    ] {
        let error = address(url).err().unwrap();
        assert!(matches!(error, UpstreamError::Rejected(_)), "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn files_for_tls_are_not_passed_over() {
    let plain = UpstreamOptions {
        ca_file: Some("ca.pem".into()),
        ..options("postgres://u@host/d?sslmode=disable")
    };
    let error = Address::new(&plain).err().unwrap().to_string();
    assert!(error.contains("need TLS"), "{error}");
}
