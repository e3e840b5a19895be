#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn reads_every_part() {
    let url = BrokerUrl::parse("mqtts://ann:p%40ss%3A@broker.example:9999").unwrap();
    assert_eq!(
        (url.host.as_str(), url.port, url.tls, url.user.as_deref()),
        ("broker.example", 9999, true, Some("ann"))
    );
    assert_eq!(url.password.unwrap().reveal(), "p@ss:");
}

#[test]
fn fills_in_the_port_of_the_scheme() {
    assert_eq!(BrokerUrl::parse("mqtt://h").unwrap().port, 1883);
    assert_eq!(BrokerUrl::parse("mqtts://h/").unwrap().port, 8883);
    assert_eq!(BrokerUrl::parse("mqtt://[::1]:7").unwrap().host, "::1");
}

#[test]
fn refuses_what_is_no_broker() {
    assert_eq!(
        BrokerUrl::parse("http://h"),
        Err(BrokerUrlError::Scheme("http".into()))
    );
    assert_eq!(
        BrokerUrl::parse("mqtt://h/topic"),
        Err(BrokerUrlError::Path)
    );
    assert!(matches!(
        BrokerUrl::parse("localhost"),
        Err(BrokerUrlError::Syntax(_))
    ));
}

#[test]
fn never_prints_the_password() {
    let text = format!("{:?}", BrokerUrl::parse("mqtt://u:hush@h").unwrap());
    assert!(!text.contains("hush"), "{text}");
}
