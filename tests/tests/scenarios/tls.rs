//! TLS to the broker: the right name from the right authority, a client certificate, never plain.

use std::{net::SocketAddr, path::PathBuf};

use dunlin_tests::certificates::{Issuer, acceptor, authority, issue};
use rcgen::ExtendedKeyUsagePurpose;
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, runtime};

/// Ends TLS in front of `to`; asks for a certificate from `clients` if there are any.
fn front(to: SocketAddr, ca: &Issuer, name: &str, clients: Option<&Issuer>) -> u16 {
    let acceptor = acceptor(ca, name, clients);
    let listener = runtime()
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime().spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut inner) = acceptor.accept(socket).await {
                    let mut outer = TcpStream::connect(to).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
                }
            });
        }
    });
    port
}

fn ca_file(world: &World, ca: &Issuer) -> PathBuf {
    world.write("ca.pem", &ca.pem())
}

/// The agent tries, says why not, and sends nothing.
fn refused(world: &mut World, why: &str) {
    world.device.start().unwrap();
    let status = world.wait("trouble", |s| s.mqtt.last_error.is_some());
    let error = status.mqtt.last_error.unwrap();
    assert!(error.to_lowercase().contains(why), "{error}");
    assert!(!status.mqtt.connected);
    assert_eq!(world.relay.seen().subscribed, 0);
    world.device.kill();
}

#[test]
fn only_the_right_name_from_the_right_authority_is_trusted() {
    let mut world = World::new();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let file = ca_file(&world, &ours);
    world.device.set("--mqtt-ca-file", file.display());
    let relay = world.relay.address();
    for (ca, name) in [(&theirs, "127.0.0.1"), (&ours, "another.example")] {
        let port = front(relay, ca, name, None);
        world
            .device
            .set("--mqtt", format!("mqtts://127.0.0.1:{port}"));
        refused(&mut world, "certificate");
    }
    // A port without TLS: no fall-back.
    world.device.set("--mqtt", format!("mqtts://{relay}"));
    refused(&mut world, "");

    let port = front(relay, &ours, "127.0.0.1", None);
    world
        .device
        .set("--mqtt", format!("mqtts://127.0.0.1:{port}"));
    world.start();
    world.publish(200);
    world.all_acknowledged();
    world.all_upstream();
    world.stop();
}

#[test]
fn a_client_certificate_opens_the_door() {
    let mut world = World::new();
    let (ours, clients) = (authority("ours"), authority("clients"));
    let file = ca_file(&world, &ours);
    world.device.set("--mqtt-ca-file", file.display());
    let port = front(world.relay.address(), &ours, "127.0.0.1", Some(&clients));
    world
        .device
        .set("--mqtt", format!("mqtts://127.0.0.1:{port}"));
    refused(&mut world, "");

    let (certificate, key) = issue(&clients, "press-7", ExtendedKeyUsagePurpose::ClientAuth);
    let certificate = world.write("client.pem", &certificate.pem());
    let key = world.write("client.key", &key.serialize_pem());
    world.device.set("--mqtt-cert-file", certificate.display());
    world.device.set("--mqtt-key-file", key.display());
    world.start();
    world.publish(200);
    world.all_acknowledged();
    world.all_upstream();
    world.stop();
}

#[test]
fn a_ca_file_that_is_replaced_counts_from_the_next_connection_on() {
    let mut world = World::new();
    let (before, after) = (authority("before"), authority("after"));
    let file = ca_file(&world, &before);
    let port = front(world.relay.address(), &after, "127.0.0.1", None);
    world.device.set("--mqtt-ca-file", file.display());
    world
        .device
        .set("--mqtt", format!("mqtts://127.0.0.1:{port}"));
    world.device.start().unwrap();
    world.wait("a certificate of an authority not known", |s| {
        s.mqtt.last_error.is_some()
    });
    // As a configuration management does it, with a moment in which the file is not whole.
    world.write("ca.pem", &after.pem()[..100]);
    world.until("words for it", |world| {
        (world.device.log().contains("the old ones stay")).then_some(())
    });
    world.write("ca.pem", &after.pem());
    world.until_subscribed(0);
    world.publish(200);
    world.all_acknowledged();
    world.all_upstream();
    world.stop();
}
