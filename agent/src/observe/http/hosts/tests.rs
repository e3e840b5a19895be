#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn addresses_and_names_of_this_device_are_answered() {
    let hosts = Hosts::new("Press-7", &["Gateway.plant".into()]);
    let has = |host: &str| hosts.has(&HeaderValue::from_str(host).unwrap());
    for good in [
        "127.0.0.1",
        "192.168.1.7:9464",
        "[::1]",
        "[fe80::1]:9464",
        "localhost:9464",
        "LOCALHOST",
        "press-7",
        "press-7.local.",
        "gateway.plant:80",
    ] {
        assert!(has(good), "{good}");
    }
    for bad in [
        "",
        "evil.example",
        "evil.example:9464",
        "press-7.evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[evil.example]",
        "1.2.3.4@evil.example",
        "a b",
    ] {
        assert!(!has(bad), "{bad}");
    }
    assert_eq!(hosts.check(&HeaderMap::new()), Ok(()));
    let mut both = HeaderMap::new();
    both.append(HOST, HeaderValue::from_static("localhost"));
    both.append(HOST, HeaderValue::from_static("evil.example"));
    assert!(hosts.check(&both).is_err(), "one of two");
}
