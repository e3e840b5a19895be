//! Against a broker of a few lines that answers each CONNECT as it is told.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::ingest::tests::link_to;

/// A CONNECT as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    is_v5: bool,
    retains_will: bool,
}

const V5: Asked = Asked {
    is_v5: true,
    retains_will: true,
};
const V311: Asked = Asked {
    is_v5: false,
    retains_will: true,
};

enum Answer {
    Bytes(&'static [u8]),
    HangUp,
    Silence,
}

const WELCOME_V5: Answer = Answer::Bytes(&[0x20, 3, 0, 0, 0]);
const WELCOME_V311: Answer = Answer::Bytes(&[0x20, 2, 0, 0]);

/// A broker that answers the n-th connection with `answer(n, what it asks)`.
struct Scripted {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    async fn start(answer: impl Fn(usize, Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let this = connect_of(&mut stream).await;
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(this);
                    seen.len()
                };
                match answer(number, this) {
                    Answer::HangUp => {}
                    Answer::Silence => open.push(stream),
                    Answer::Bytes(bytes) => {
                        stream.write_all(bytes).await.unwrap();
                        tokio::spawn(async move {
                            let mut rest = Vec::new();
                            let _gone = stream.read_to_end(&mut rest).await;
                        });
                    }
                }
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn link(&self) -> LinkOptions {
        LinkOptions {
            last_will: Some(("t".into(), "offline".into())),
            connect_timeout: Duration::from_millis(300),
            ..link_to(&self.address, "approach")
        }
    }
}

async fn connect_of(stream: &mut TcpStream) -> Asked {
    let mut bytes = [0; 1024];
    let read = stream.read(&mut bytes).await.unwrap();
    let name = bytes[..read].windows(4).position(|four| four == b"MQTT");
    let (level, flags) = (bytes[name.unwrap() + 4], bytes[name.unwrap() + 5]);
    Asked {
        is_v5: level == 5,
        retains_will: flags & 0x20 != 0,
    }
}

#[tokio::test]
async fn a_broker_that_names_the_version_is_believed_at_once() {
    // With the code of 3.1.1, with that of MQTT 5, and with a welcome in the old format.
    for refusal in [
        &[0x20, 2, 0, 1][..],
        &[0x20, 3, 0, 0x84, 0],
        &[0x20, 2, 0, 0],
    ] {
        let broker = Scripted::start(move |_, asked| {
            if asked.is_v5 {
                Answer::Bytes(refusal)
            } else {
                WELCOME_V311
            }
        })
        .await;
        let mut link = broker.link();
        link.approach(false).await.unwrap();
        assert_eq!(link.version, MqttVersion::V311);
        assert_eq!(broker.asked(), [V5, V311]);
        link.approach(false).await.unwrap();
        assert_eq!(broker.asked(), [V5, V311, V311], "remembered");
        link.approach(true).await.unwrap();
        assert_eq!(broker.asked()[3..], [V5, V311], "anew");
        assert_eq!(link.version, MqttVersion::V311);
    }
}

#[tokio::test]
async fn a_broker_that_hangs_up_or_stays_silent_is_spoken_to_with_3_1_1_once_it_is_known_to_be_up()
{
    for hangs_up in [true, false] {
        let broker = Scripted::start(move |_, asked| match (asked.is_v5, hangs_up) {
            (true, true) => Answer::HangUp,
            (true, false) => Answer::Silence,
            (false, _) => WELCOME_V311,
        })
        .await;
        let mut link = broker.link();
        link.approach(false).await.unwrap();
        assert_eq!(link.version, MqttVersion::V311);
        assert_eq!(broker.asked(), [V5, V311, V5, V311]);
    }
}

#[tokio::test]
async fn a_broker_that_is_only_starting_is_not_spoken_to_with_3_1_1() {
    let broker = Scripted::start(|number, asked| match (number, asked.is_v5) {
        (1, _) => Answer::HangUp,
        (_, true) => WELCOME_V5,
        (_, false) => WELCOME_V311,
    })
    .await;
    let mut link = broker.link();
    link.approach(false).await.unwrap();
    assert_eq!(link.version, MqttVersion::V5);
    assert_eq!(broker.asked(), [V5, V311, V5]);

    // Down for longer: it hangs up on everybody, then nobody listens.
    let broker = Scripted::start(|_, _| Answer::HangUp).await;
    let mut link = broker.link();
    let problem = link.approach(false).await.unwrap_err();
    assert!(matches!(problem, LinkProblem::HungUp(_)), "{problem}");
    assert_eq!(link.version, MqttVersion::V5);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut link = link_to(&free.local_addr().unwrap().to_string(), "approach");
    drop(free);
    let problem = link.approach(false).await.unwrap_err();
    assert!(matches!(problem, LinkProblem::RefusedTcp), "{problem}");
    assert_eq!(link.version, MqttVersion::V5);
}

#[tokio::test]
async fn what_was_found_before_and_fails_is_doubted() {
    let broker = Scripted::start(|_, asked| {
        if asked.is_v5 {
            WELCOME_V5
        } else {
            Answer::HangUp
        }
    })
    .await;
    let mut link = broker.link();
    link.version = MqttVersion::V311;
    link.approach(false).await.unwrap();
    assert_eq!(link.version, MqttVersion::V5);
    assert_eq!(broker.asked(), [V311, V5]);
    // A version that was configured is never left.
    link.version = MqttVersion::V311;
    link.any_version = false;
    assert!(link.approach(true).await.is_err());
    assert_eq!(link.version, MqttVersion::V311);
}

#[tokio::test]
async fn what_a_broker_says_about_the_login_is_told_and_changes_no_version() {
    let broker = Scripted::start(|_, asked| {
        if asked.is_v5 {
            Answer::HangUp
        } else {
            Answer::Bytes(&[0x20, 2, 0, 4])
        }
    })
    .await;
    let mut link = broker.link();
    let problem = link.approach(false).await.unwrap_err();
    assert!(
        matches!(problem, LinkProblem::Refused(Refusal::Login)),
        "{problem}"
    );
    assert_eq!(link.version, MqttVersion::V5);
}

#[tokio::test]
async fn without_retain_the_last_will_is_not_retained() {
    let broker = Scripted::start(|_, asked| {
        if asked.retains_will {
            Answer::Bytes(&[0x20, 3, 0, 0x9a, 0])
        } else {
            // Retain available: no.
            Answer::Bytes(&[0x20, 5, 0, 0, 2, 0x25, 0])
        }
    })
    .await;
    let mut link = broker.link();
    link.approach(false).await.unwrap();
    assert!(!link.retains);
    assert_eq!(broker.asked().len(), 2);
    link.approach(false).await.unwrap();
    assert_eq!(broker.asked().len(), 3, "remembered");
    // It says only in its CONNACK that it has none, and later that it has.
    for (properties, retains) in [
        (&[0x20, 5, 0, 0, 2, 0x25, 0][..], false),
        (&[0x20, 3, 0, 0, 0], true),
    ] {
        let broker = Scripted::start(move |_, _| Answer::Bytes(properties)).await;
        let mut link = broker.link();
        link.retains = !retains;
        link.approach(false).await.unwrap();
        assert_eq!(link.retains, retains);
    }
}
