#![allow(clippy::unwrap_used)]

use super::*;

fn args() -> ListeningArgs {
    ListeningArgs {
        seconds: 1,
        topic: Vec::new(),
        username: None,
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    }
}

#[test]
fn the_file_says_how_to_reach_the_broker_and_nothing_secret() {
    let broker = broker_of("mqtts://me:hush@[::1]", &args()).unwrap();
    assert_eq!(broker.url, "mqtts://[::1]:8883");
    assert_eq!(broker.settings, [("user", "me".to_owned())]);
    assert!(broker.lacks_password);
    let seen = Seen::default();
    let text = discover::text(&discover::propose(&seen, wall_ns()), &seen, &broker, 30);
    assert!(!text.contains("hush"), "{text}");
    assert!(text.contains("DUNLIN_MQTT_PASSWORD"), "{text}");
}

#[test]
fn a_filter_that_no_broker_takes_is_refused_before_listening() {
    let error = filters(&["a/#/b".to_owned()]).unwrap_err();
    assert!(
        matches!(&error, Exit::Usage(text) if text.contains("--topic a/#/b")),
        "{error}"
    );
    assert_eq!(filters(&["a/+b".to_owned()]).unwrap(), ["a/+"]);
}

#[tokio::test]
async fn a_file_that_is_there_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    fs::write(&path, "mine").unwrap();
    let ended = discover("mqtt://127.0.0.1:1", &args(), Some(&path), false).await;
    assert!(
        matches!(&ended, Err(Exit::Usage(text)) if text.contains("--force")),
        "{ended:?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    // Nor is it cut off before there is something to put in its place.
    let target = Target::beside(&path, true).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert!(target.write("new").is_ok());
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    // One that has come while we listened stays.
    let late = dir.path().join("late.toml");
    let target = Target::beside(&late, false).unwrap();
    fs::write(&late, "theirs").unwrap();
    let ended = target.write("ours");
    assert!(
        matches!(&ended, Err(Some(Exit::Failed(text))) if text.contains("standard output")),
        "{ended:?}"
    );
    assert_eq!(fs::read_to_string(&late).unwrap(), "theirs");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told_before_listening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none/dunlin.toml");
    let ended = discover("mqtt://127.0.0.1:1", &args(), Some(&path), false).await;
    assert!(
        matches!(&ended, Err(Exit::Usage(text)) if text.contains("none/dunlin.toml")),
        "{ended:?}"
    );
}

/// The broker of the demo, and a publisher of its own.
#[cfg(feature = "demo")]
#[tokio::test]
async fn what_a_broker_sends_and_has_retained_becomes_a_file() {
    use crate::{mqtt::LinkOptions, simulate::broker::EmbeddedBroker};

    let broker = EmbeddedBroker::start(None).unwrap();
    let url = format!("mqtt://{}", broker.v5);
    let options = LinkOptions::new(&settings(&url, &args()).unwrap().mqtt).unwrap();
    let options = LinkOptions {
        clean_start: true,
        ..options
    };
    let publishing = async {
        let mut link = options.connect().await.unwrap();
        // Until the listener is there, and ends.
        loop {
            let payload = br#"{"rms":1.5,"ts":"2026-09-21T14:13:20Z"}"#;
            wire::publish_qos0(options.version, "hall/m1", payload, &mut link.writer.out);
            while link.writer.pending() {
                link.writer.drain().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    let listening = ListeningArgs {
        topic: vec!["hall/#".to_owned()],
        ..args()
    };
    tokio::select! {
        () = publishing => {}
        ended = discover(&url, &listening, Some(&path), false) => ended.unwrap(),
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("topic = \"hall/+thing\"\ntime = \"/ts\"\n"),
        "{text}"
    );
    let checked = config::check(Some(&path), &Overrides::default());
    assert!(checked.settings.is_ok(), "{:?}", checked.settings);
}
