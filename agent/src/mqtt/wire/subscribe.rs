//! What is asked of a broker: to be sent what is published, or no longer.

use bytes::BytesMut;

use rumqttc::{
    QoS,
    mqttbytes::v4,
    v5::mqttbytes::{QoS as QoS5, v5},
};

use super::WireError;
use crate::config::settings::MqttVersion;

/// Whether a client is sent what it publishes itself (MQTT 5; with 3.1.1 it always is).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It is.
    Wanted,
    /// It is not, except through a shared subscription, where that is forbidden to ask for.
    Unwanted,
}

/// Appends a SUBSCRIBE of `QoS` 1 to every filter.
///
/// # Errors
/// [`WireError`] if a filter is too long for the protocol.
pub fn subscribe(
    version: MqttVersion,
    filters: &[String],
    packet_id: u16,
    own: Own,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    subscribe_at(1, version, filters, packet_id, own, out)
}

/// Appends a SUBSCRIBE of `QoS` 0 to every filter, so that nothing need be acknowledged.
///
/// # Errors
/// [`WireError`] if a filter is too long for the protocol.
pub fn listen(
    version: MqttVersion,
    filters: &[String],
    packet_id: u16,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    subscribe_at(0, version, filters, packet_id, Own::Wanted, out)
}

fn subscribe_at(
    qos: u8,
    version: MqttVersion,
    filters: &[String],
    packet_id: u16,
    own: Own,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let written = match version {
        MqttVersion::V5 => {
            let qos = [QoS5::AtMostOnce, QoS5::AtLeastOnce][usize::from(qos.min(1))];
            let filter = |path: &String| {
                let mut filter = v5::Filter::new(path, qos);
                // What is retained comes with the first subscription only, not with every
                // reconnect.
                filter.retain_forward_rule = v5::RetainForwardRule::OnNewSubscribe;
                filter.nolocal = own == Own::Unwanted && !path.starts_with("$share/");
                filter
            };
            let mut packet = v5::Subscribe::new_many(filters.iter().map(filter), None);
            packet.pkid = packet_id;
            packet.write(out).map_err(|e| e.to_string())
        }
        MqttVersion::V311 => {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce][usize::from(qos.min(1))];
            let filter = |path: &String| v4::SubscribeFilter::new(path.clone(), qos);
            let mut packet = v4::Subscribe::new_many(filters.iter().map(filter));
            packet.pkid = packet_id;
            packet.write(out).map_err(|e| e.to_string())
        }
    };
    written.map(|_| ()).map_err(WireError)
}

/// Appends an UNSUBSCRIBE from every filter.
///
/// # Errors
/// [`WireError`] if a filter is too long for the protocol.
pub fn unsubscribe(
    version: MqttVersion,
    filters: &[String],
    packet_id: u16,
    out: &mut BytesMut,
) -> Result<(), WireError> {
    let written = match version {
        MqttVersion::V5 => {
            let packet = v5::Unsubscribe {
                pkid: packet_id,
                filters: filters.to_vec(),
                properties: None,
            };
            packet.write(out).map_err(|e| e.to_string())
        }
        MqttVersion::V311 => {
            let packet = v4::Unsubscribe {
                pkid: packet_id,
                topics: filters.to_vec(),
            };
            packet.write(out).map_err(|e| e.to_string())
        }
    };
    written.map(|_| ()).map_err(WireError)
}
