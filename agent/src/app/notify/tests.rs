#![allow(clippy::unwrap_used)]

use super::*;

fn received(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn a_message_reaches_the_socket_that_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let notifier = Notifier::to(path.as_os_str()).unwrap();
    notifier.tell("READY=1");
    assert_eq!(received(&manager), "READY=1");
    drop(manager);
    notifier.tell("nobody hears this, and nothing happens");
    assert!(Notifier::to(dir.path().join("none").as_os_str()).is_err());
    Notifier::default().tell("READY=1");
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_in_the_abstract_namespace_is_reached_too() {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    let name = format!("dunlin-test-{}", std::process::id());
    let manager = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&manager).unwrap();
    Notifier::to(OsStr::new(&format!("@{name}")))
        .unwrap()
        .tell("STOPPING=1");
    assert_eq!(received(&manager), "STOPPING=1");
}

#[test]
fn the_watchdog_is_that_of_this_process() {
    let of = |usec: Option<&str>, pid: Option<&str>| {
        watchdog_of(usec.map(str::to_owned), pid.map(str::to_owned), 7)
    };
    assert_eq!(of(Some("2000000"), None), Some(Duration::from_secs(2)));
    assert_eq!(of(Some("2000000"), Some("7")), Some(Duration::from_secs(2)));
    assert_eq!(of(Some("2000000"), Some("8")), None);
    assert_eq!(
        [of(None, None), of(Some("0"), None), of(Some("x"), None)],
        [None; 3]
    );
}

#[test]
fn the_watchdog_hears_nothing_of_an_agent_that_does_not_work() {
    let mut said = Said::default();
    let well = said.next(&Ok(()), "fine").unwrap();
    assert_eq!(well, "WATCHDOG=1\nSTATUS=fine");
    assert_eq!(said.next(&Ok(()), "fine").unwrap(), "WATCHDOG=1");
    let ill = Err("the writer\nhas ended".to_owned());
    assert_eq!(
        said.next(&ill, "fine").unwrap(),
        "STATUS=the writer has ended"
    );
    assert_eq!(said.next(&ill, "fine"), None);
    said.stopping = true;
    assert_eq!(said.next(&ill, "fine").unwrap(), "WATCHDOG=1");
}
