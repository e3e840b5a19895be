//! The broker's answer to our CONNECT, the same for both versions.

use rumqttc::v5::mqttbytes::v5;

/// What the broker said to our CONNECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAck {
    /// It still has our session.
    pub session_present: bool,
    /// Why it turns us away; `None`: welcome.
    pub refusal: Option<Refusal>,
    /// Keep-alive it wants instead of ours, seconds.
    pub keep_alive_s: Option<u16>,
    /// How long it keeps the session, if not as long as asked, seconds.
    pub session_expiry_s: Option<u32>,
    /// How many publishes of ours may be unacknowledged; `None`: 65,535.
    pub receive_maximum: Option<u16>,
    /// Largest packet it takes, bytes; `None`: any.
    pub packet_bytes_max: Option<u32>,
    /// Highest `QoS` it grants; `None`: 2.
    pub qos_max: Option<u8>,
    /// It keeps no retained publishes.
    pub retain_unavailable: bool,
}

/// Why a broker turns a client away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong user name or password.
    Login,
    /// Not allowed.
    NotAuthorized,
    /// The broker does not speak this version.
    Version,
    /// It keeps nothing retained, and the CONNECT asked for a retained last will.
    NoRetain,
    /// The client id is not accepted.
    ClientId,
    /// Overloaded or shutting down.
    Unavailable,
    /// Another code of MQTT 5 (its name) or of 3.1.1.
    Other(v5::ConnectReturnCode),
}

impl ConnAck {
    /// From the two bytes of MQTT 3.1.1, which a broker without MQTT 5 also sends to a v5 client.
    pub(super) fn from_311(session_present: bool, code: u8) -> Self {
        let refusal = match code {
            0 => None,
            1 => Some(Refusal::Version),
            2 => Some(Refusal::ClientId),
            3 => Some(Refusal::Unavailable),
            4 => Some(Refusal::Login),
            5 => Some(Refusal::NotAuthorized),
            _ => Some(Refusal::Other(v5::ConnectReturnCode::UnspecifiedError)),
        };
        Self {
            session_present,
            refusal,
            ..Self::default()
        }
    }

    pub(super) fn from_v5(ack: &v5::ConnAck) -> Self {
        use v5::ConnectReturnCode as Code;
        let refusal = match ack.code {
            Code::Success => None,
            Code::BadUserNamePassword => Some(Refusal::Login),
            Code::NotAuthorized => Some(Refusal::NotAuthorized),
            Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
                Some(Refusal::Version)
            }
            Code::RetainNotSupported => Some(Refusal::NoRetain),
            Code::BadClientId | Code::ClientIdentifierNotValid => Some(Refusal::ClientId),
            Code::ServiceUnavailable | Code::ServerUnavailable | Code::ServerBusy => {
                Some(Refusal::Unavailable)
            }
            other => Some(Refusal::Other(other)),
        };
        let properties = ack.properties.as_ref();
        Self {
            session_present: ack.session_present,
            refusal,
            keep_alive_s: properties.and_then(|p| p.server_keep_alive),
            session_expiry_s: properties.and_then(|p| p.session_expiry_interval),
            receive_maximum: properties.and_then(|p| p.receive_max),
            packet_bytes_max: properties.and_then(|p| p.max_packet_size),
            qos_max: properties.and_then(|p| p.max_qos),
            retain_unavailable: properties.and_then(|p| p.retain_available) == Some(0),
        }
    }
}
