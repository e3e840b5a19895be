#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

fn address(url: &str, options: &[(&str, &str)]) -> Result<Address, UpstreamError> {
    Address::new(&UpstreamOptions {
        url: url.into(),
        timeout: Duration::from_secs(1),
        database_options: options
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    })
}

#[test]
fn urls_are_taken_apart_and_the_password_stays_inside() {
    let full = address("tdengine://me:p%40s%2Fs@db.example:7000/plant_1", &[]).unwrap();
    assert_eq!(
        (full.user.as_str(), full.password().as_str()),
        ("me", "p@s/s")
    );
    assert_eq!(full.location(), "tdengine://db.example:7000/plant_1");
    assert_eq!(full.without_password("no p@s/s here"), "no *** here");

    let short = address("tdengine://[::1]/d", &[]).unwrap();
    assert_eq!(short.user, "root");
    assert_eq!(short.password(), "taosdata");
    assert_eq!(short.location(), "tdengine://[::1]:6041/d");
}

#[test]
fn bad_urls_are_refused_without_repeating_them() {
    for url in [
        "tdengine://u:hunter2@host:6041",
        "tdengine://u:hunter2@host:6041/",
        "tdengine://u:hunter2@host:6041/a/b",
        "tdengine://u:hunter2@host:6041/1a",
        "tdengine://u:hunter2@host:6041/a%60b",
        "tdengine://u:hunter2@host:99999/a",
        "tdengine://u:hunter2@host:6041/a?x=1",
        "tdengine://u:hunter2@/a",
        "tdengine:hunter2",
        "tdengine://u:%ffhunter2@host/a",
    ] {
        let error = address(url, &[]).err().unwrap();
        assert!(matches!(error, UpstreamError::Rejected(_)), "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn options_cannot_carry_anything_else() {
    let good = [
        ("keep", "365d,730d"),
        ("CACHEMODEL", "both"),
        ("wal_level", "1"),
    ];
    assert_eq!(
        address("tdengine://h/d", &good).unwrap().create_options,
        " CACHEMODEL 'both' KEEP 365d,730d WAL_LEVEL 1"
    );
    for bad in [
        ("KEEP", "1; drop database d"),
        ("KEEP 1 VGROUPS", "1"),
        ("CACHEMODEL", "both'"),
        ("KEEP", ""),
        ("KEEP", "1--x"),
        ("PRECISION", "ms"),
        ("", "1"),
    ] {
        assert!(address("tdengine://h/d", &[bad]).is_err(), "{bad:?}");
    }
}

#[test]
fn tls_files_need_the_tls_scheme() {
    let options = UpstreamOptions {
        url: "tdengine://h/d".into(),
        timeout: Duration::from_secs(1),
        database_options: BTreeMap::new(),
        password_file: None,
        ca_file: Some("/no/such/ca.pem".into()),
        cert_file: None,
        key_file: None,
    };
    let plain = Address::new(&options).err().unwrap().to_string();
    assert!(plain.contains("tdengines://"), "{plain}");
    let url = "tdengines://h/d".into();
    let missing = Address::new(&UpstreamOptions { url, ..options });
    assert!(
        missing
            .err()
            .unwrap()
            .to_string()
            .contains("/no/such/ca.pem")
    );
}
