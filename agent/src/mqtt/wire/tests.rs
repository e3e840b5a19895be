//! rumqttc's own reader and writer are the reference; then hostile bytes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rumqttc::v5::mqttbytes::QoS;

use super::*;
use crate::mqtt::connack::Refusal;

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V5, MqttVersion::V311];

fn decoder(version: MqttVersion, bytes: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(version, 100);
    decoder.read_buffer().extend_from_slice(bytes);
    decoder
}

fn rumqttc_publish(packet: &v5::Publish) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes).unwrap();
    bytes
}

fn qos1(topic: &str, payload: &[u8], properties: Option<v5::PublishProperties>) -> v5::Publish {
    let mut packet = v5::Publish::new(topic, QoS::AtLeastOnce, payload.to_vec(), properties);
    packet.pkid = 7;
    packet
}

#[test]
fn our_publish_is_rumqttcs_publish() {
    for (topic, payload) in [
        ("a/b", vec![1; 3]),
        ("t", vec![]),
        ("long", vec![9; 20_000]),
    ] {
        let mut ours = BytesMut::new();
        let written = publish(MqttVersion::V5, topic, &payload, 7, false, &mut ours);
        assert_eq!(written, ours.len());
        assert_eq!(ours, rumqttc_publish(&qos1(topic, &payload, None)));

        let mut ours = BytesMut::new();
        publish(MqttVersion::V311, topic, &payload, 7, true, &mut ours);
        let mut packet = v4::Publish::new(topic, rumqttc::QoS::AtLeastOnce, payload);
        (packet.pkid, packet.retain) = (7, true);
        let mut theirs = BytesMut::new();
        packet.write(&mut theirs).unwrap();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn our_puback_is_rumqttcs_puback() {
    let (mut ours, mut theirs) = (BytesMut::new(), BytesMut::new());
    puback(0x1234, &mut ours);
    v5::PubAck::new(0x1234, None).write(&mut theirs).unwrap();
    assert_eq!(ours, theirs);
    let mut ping = BytesMut::new();
    pingreq(&mut ping);
    assert_eq!(
        v4::Packet::read(&mut ping, 10).unwrap(),
        v4::Packet::PingReq
    );
}

#[test]
fn our_qos_0_publish_is_rumqttcs() {
    let payload = vec![7; 300];
    let mut ours = BytesMut::new();
    publish_qos0(MqttVersion::V5, "t/o", &payload, &mut ours);
    let theirs = v5::Publish::new("t/o", QoS::AtMostOnce, payload.clone(), None);
    assert_eq!(ours, rumqttc_publish(&theirs));
    let mut ours = BytesMut::new();
    publish_qos0(MqttVersion::V311, "t/o", &payload, &mut ours);
    let theirs = v4::Publish::new("t/o", rumqttc::QoS::AtMostOnce, payload);
    let mut bytes = BytesMut::new();
    theirs.write(&mut bytes).unwrap();
    assert_eq!(ours, bytes);
}

#[test]
fn skips_the_properties_of_a_publish() {
    let properties = v5::PublishProperties {
        content_type: Some("application/json".into()),
        user_properties: vec![("k".into(), "v".repeat(300))],
        message_expiry_interval: Some(5),
        ..Default::default()
    };
    let bytes = rumqttc_publish(&qos1("t", b"payload", Some(properties)));
    let Some(Packet::Publish(publish)) = decoder(MqttVersion::V5, &bytes).next().unwrap() else {
        panic!("no publish");
    };
    assert_eq!(
        (publish.payload.as_ref(), publish.payload_bytes),
        (&b"payload"[..], 7)
    );
}

#[test]
fn properties_longer_than_anything_kept_read_as_too_large() {
    let flood = vec![("k".to_owned(), "v".repeat(60_000)); 3];
    let properties = v5::PublishProperties {
        user_properties: flood,
        ..Default::default()
    };
    let mut bytes = rumqttc_publish(&qos1("t", b"payload", Some(properties)));
    bytes.extend_from_slice(&rumqttc_publish(&qos1("next", b"n", None)));
    let mut decoder = decoder(MqttVersion::V5, &bytes);
    let Some(Packet::Publish(first)) = decoder.next().unwrap() else {
        panic!("no publish")
    };
    assert!(first.payload.is_empty() && first.payload_bytes > 100);
    let Some(Packet::Publish(second)) = decoder.next().unwrap() else {
        panic!("no publish")
    };
    assert_eq!(second.topic, "next");
}

#[test]
fn says_why_it_cannot_go_on() {
    let error = |bytes: &[u8]| decoder(MqttVersion::V5, bytes).next().unwrap_err().0;
    // A QoS 2 publish, a packet id of 0, a topic past the end, an endless length, a huge SUBACK.
    assert!(error(&[0x34, 5, 0, 0, 0, 1, 0]).contains("QoS 2"));
    assert!(error(&[0x32, 5, 0, 0, 0, 0, 0]).contains("packet id 0"));
    assert!(error(&[0x32, 5, 0, 9, 0, 0, 0]).contains("shorter"));
    assert!(error(&[0x32, 0xff, 0xff, 0xff, 0xff]).contains("length"));
    assert!(error(&[0x90, 0xff, 0xff, 0x7f]).contains("64 KiB"));
    let mut decoder = decoder(MqttVersion::V5, b"HTTP/1.1 400 Bad Request\r\n");
    assert!(decoder.connack().unwrap_err().0.contains("not MQTT"));
}

#[test]
fn understands_a_refusal_from_an_older_broker() {
    for version in VERSIONS {
        let connack = decoder(version, &[0x20, 2, 0, 1])
            .connack()
            .unwrap()
            .unwrap();
        assert_eq!(connack.refusal, Some(Refusal::Version));
    }
    let welcome = decoder(MqttVersion::V311, &[0x20, 2, 1, 0])
        .connack()
        .unwrap()
        .unwrap();
    assert!(welcome.session_present && welcome.refusal.is_none());
}

#[test]
fn a_reason_to_part_is_read_with_and_without_properties() {
    let parting = |bytes: &[u8]| decoder(MqttVersion::V5, bytes).next().unwrap().unwrap();
    for bytes in [&[0xe0, 1, 0x8e][..], &[0xe0, 2, 0x8e, 0]] {
        assert_eq!(parting(bytes), Packet::TakenOver);
    }
    for (bytes, reason) in [
        (&[0xe0, 1, 0x98][..], "AdministrativeAction"),
        (&[0xe0, 2, 0x98, 0], "AdministrativeAction"),
        (
            &[0xe0, 7, 0x8b, 5, 0x1f, 0, 2, b'b', b'y'],
            "ServerShuttingDown: by",
        ),
        (&[0xe0, 1, 0x01], "no reason given"),
        (&[0xe0, 0], "no reason given"),
    ] {
        assert_eq!(parting(bytes), Packet::Disconnect(reason.into()));
    }
}

proptest! {
    /// However the network cuts them, the same publishes come out, long ones shortened.
    #[test]
    fn publishes_survive_any_fragmentation(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
        cuts in prop::collection::vec(1_usize..50, 1..200),
        huge in any::<bool>(),
    ) {
        for version in VERSIONS {
            let mut payloads = payloads.clone();
            if huge {
                payloads[0] = vec![5; 200_000];
            }
            let mut bytes = BytesMut::new();
            for (at, payload) in payloads.iter().enumerate() {
                publish(version, "t/o", payload, at as u16 + 1, false, &mut bytes);
                pingreq(&mut bytes);
            }
            let mut decoder = Decoder::new(version, 100);
            let mut got = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !bytes.is_empty() {
                let scale = if huge { 1000 } else { 1 };
                let piece = bytes.split_to(bytes.len().min(scale * cuts.next().unwrap()));
                decoder.read_buffer().extend_from_slice(&piece);
                while let Some(packet) = decoder.next().unwrap() {
                    if let Packet::Publish(publish) = packet {
                        got.push(publish);
                    }
                }
            }
            prop_assert_eq!(got.len(), payloads.len());
            for (at, (got, sent)) in got.iter().zip(&payloads).enumerate() {
                prop_assert_eq!(&got.payload[..], &sent[..sent.len().min(100)]);
                prop_assert_eq!(got.payload_bytes, sent.len());
                prop_assert_eq!(usize::from(got.packet_id), at + 1);
            }
        }
    }

    /// Noise, and noise that looks like packets, neither panics nor loops nor grows.
    #[test]
    fn noise_is_harmless(
        packets in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)), 0..20,
        ),
        raw in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut shaped = Vec::new();
        for (first, body) in &packets {
            shaped.push(*first);
            shaped.push(body.len() as u8);
            shaped.extend_from_slice(body);
        }
        for version in VERSIONS {
            for bytes in [&shaped, &raw] {
                let _any = decoder(version, bytes).connack();
                let mut decoder = decoder(version, bytes);
                let mut packets = 0;
                while let Ok(Some(_)) = decoder.next() {
                    packets += 1;
                    prop_assert!(packets <= bytes.len());
                }
            }
        }
    }
}
