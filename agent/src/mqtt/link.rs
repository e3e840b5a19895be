//! One connection to a broker: TCP, TLS if asked, CONNECT and CONNACK, under one time-out.

use std::{fmt, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use dunlin_sync::{
    files::secret_file::FollowedPassword,
    tls::{FollowedTls, TlsError},
};
use rumqttc::{
    mqttbytes::v4,
    tokio_rustls::{
        TlsConnector,
        rustls::{self, pki_types::ServerName},
    },
    v5::mqttbytes::v5,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    connack::{ConnAck, Refusal},
    wire::{self, Decoder, WireError},
};
use crate::config::settings::{MqttSettings, MqttVersion};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Verified TLS; `None`: plain.
    pub tls: Option<Arc<FollowedTls>>,
    /// Protocol version spoken.
    pub version: MqttVersion,
    /// Another version may be tried, by [`LinkOptions::approach`].
    pub any_version: bool,
    /// The broker keeps retained publishes, as far as is known.
    pub retains: bool,
    /// Client id.
    pub client_id: String,
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<FollowedPassword>,
    /// Forget an earlier session of this client id.
    pub clean_start: bool,
    /// How long the broker keeps the session without us, seconds (MQTT 5).
    pub session_expiry_s: u32,
    /// Keep-alive, seconds; 0: none.
    pub keep_alive_s: u16,
    /// Publishes the broker may send before a PUBACK (MQTT 5).
    pub receive_maximum: u16,
    /// Payloads longer than this are cut, bytes.
    pub payload_bytes_max: usize,
    /// Topic and payload the broker publishes, retained if it can, when we vanish.
    pub last_will: Option<(String, String)>,
    /// Bound on connecting, from the name look-up to the CONNACK.
    pub connect_timeout: Duration,
}

/// An established connection.
pub struct Link {
    /// From the broker.
    pub reader: Reader,
    /// To the broker.
    pub writer: Writer,
    /// The broker's answer to our CONNECT.
    pub connack: ConnAck,
}

/// The broker's side of the conversation.
pub struct Reader {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    /// Packets read so far; ask it before reading more.
    pub decoder: Decoder,
}

/// Our side of the conversation.
pub struct Writer {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    /// Bytes still to be written.
    pub out: BytesMut,
    /// Written to a TLS stream that has not been flushed since.
    unflushed: bool,
}

impl Reader {
    /// Reads what there is into the decoder. Cancel-safe.
    ///
    /// # Errors
    /// [`LinkProblem`] if the connection is broken or closed.
    pub async fn fill(&mut self) -> Result<(), LinkProblem> {
        match self.stream.read_buf(self.decoder.read_buffer()).await? {
            0 => Err(LinkProblem::Closed),
            _ => Ok(()),
        }
    }
}

impl Writer {
    /// Whether [`Writer::drain`] has anything to do.
    pub fn pending(&self) -> bool {
        self.unflushed || !self.out.is_empty()
    }

    /// Writes some of `out`, and flushes once all of it is written. Cancel-safe.
    ///
    /// # Errors
    /// [`LinkProblem`] if the connection is broken.
    pub async fn drain(&mut self) -> Result<(), LinkProblem> {
        if !self.out.is_empty() {
            if self.stream.write_buf(&mut self.out).await? == 0 {
                return Err(LinkProblem::Closed);
            }
            self.unflushed = true;
        }
        if self.out.is_empty() {
            self.stream.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }
}

/// A connection that could not be made, or broke: the problem and where.
#[derive(Debug, thiserror::Error)]
#[error("MQTT broker {address}: {problem}")]
pub struct LinkError {
    /// `host:port`.
    pub address: String,
    /// What is wrong.
    pub problem: LinkProblem,
}

/// What is wrong with a connection, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LinkProblem {
    /// No address for the host name.
    #[error("host name cannot be resolved ({0}); check the spelling and the DNS")]
    Resolve(String),
    /// Nobody listens.
    #[error("connection refused; is the broker running, and is this its port?")]
    RefusedTcp,
    /// No way to the host, or the connection broke.
    #[error("{0}")]
    Io(io::Error),
    /// The handshake took too long.
    #[error("no answer within {0:?}; a firewall, a wrong port, or TLS expected by the broker?")]
    TimedOut(Duration),
    /// Connected, and no answer to our CONNECT.
    #[error("takes the connection and says nothing within {0:?}; does this port speak {1}?")]
    Unanswered(Duration, &'static str),
    /// Closed before the first answer.
    #[error("hangs up during the handshake; does this port speak {0}, and this version of MQTT?")]
    HungUp(&'static str),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The broker turned us away.
    #[error("{}", refusal(*.0))]
    Refused(Refusal),
    /// The broker ended the connection with a reason.
    #[error("the broker has closed the connection ({0})")]
    Disconnected(String),
    /// The broker ended the connection: another client has come with the same client id.
    #[error("another client has connected with our client id")]
    TakenOver,
    /// The broker ended the connection without one.
    #[error("the broker has closed the connection")]
    Closed,
    /// Not MQTT as agreed.
    #[error("protocol error: {0}")]
    Protocol(#[from] WireError),
    /// Nothing came back within the keep-alive time.
    #[error("silent for longer than the keep-alive time; connection given up")]
    Silent,
}

fn refusal(refusal: Refusal) -> String {
    match refusal {
        Refusal::Login => "wrong user name or password".into(),
        Refusal::NotAuthorized => {
            "not authorized; check user, password and the broker's access list".into()
        }
        Refusal::Version => {
            "the broker does not speak this version of MQTT; set the other one".into()
        }
        Refusal::NoRetain => {
            "the broker keeps no retained publishes, hence no retained status".into()
        }
        Refusal::ClientId => "the broker does not accept this client id".into(),
        Refusal::Unavailable => "the broker is busy or shutting down".into(),
        Refusal::Other(code) => format!("connection turned down: {code:?}"),
    }
}

impl From<io::Error> for LinkProblem {
    fn from(error: io::Error) -> Self {
        if let Some(tls) = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>())
        {
            return Self::Tls(tls_advice(tls));
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::RefusedTcp,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

fn tls_advice(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Cert, Error};
    match error {
        Error::InvalidCertificate(Cert::UnknownIssuer) => {
            "the broker's certificate is not from a known authority; name its CA file (ca_file)"
                .into()
        }
        Error::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. }) => {
            "the broker's certificate has expired (or the clock of this device is wrong)".into()
        }
        Error::InvalidCertificate(Cert::NotValidYet | Cert::NotValidYetContext { .. }) => {
            "the broker's certificate is not valid yet: is the clock of this device right?".into()
        }
        Error::InvalidCertificate(Cert::NotValidForName | Cert::NotValidForNameContext { .. }) => {
            "the broker's certificate is for another host name".into()
        }
        Error::InvalidCertificate(Cert::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "the broker shows the certificate of an authority as its own; give it one that the \
             authority has signed (with CA:FALSE)"
                .into()
        }
        Error::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure) => {
            format!("the broker wants a client certificate; name cert_file and key_file ({error})")
        }
        Error::AlertReceived(
            Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown,
        ) => format!("the broker does not accept our client certificate ({error})"),
        Error::InvalidMessage(_) => "the answer is not TLS: is this the broker's TLS port?".into(),
        other => other.to_string(),
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("connack", &self.connack)
            .finish_non_exhaustive()
    }
}

impl LinkOptions {
    /// As configured; the last will is left to the caller.
    ///
    /// # Errors
    /// [`TlsError`] if a certificate or key file cannot be used.
    pub fn new(settings: &MqttSettings) -> Result<Self, TlsError> {
        let tls = settings.tls.clone().map(FollowedTls::new);
        let password = settings.password.as_ref().map(|password| {
            let text = password.reveal().to_owned();
            FollowedPassword::new(text, settings.password_file.clone())
        });
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            tls: tls.transpose()?.map(Arc::new),
            version: settings.version.unwrap_or(MqttVersion::V5),
            any_version: settings.version.is_none(),
            retains: true,
            client_id: settings.client_id.clone(),
            user: settings.user.clone(),
            password,
            clean_start: false,
            session_expiry_s: settings.session_expiry_s,
            keep_alive_s: settings.keep_alive_s,
            receive_maximum: settings.receive_maximum,
            payload_bytes_max: settings.payload_bytes_max as usize,
            last_will: None,
            connect_timeout: CONNECT_TIMEOUT,
        })
    }

    /// Connects and says hello.
    ///
    /// # Errors
    /// [`LinkProblem`]: which step failed and why.
    pub async fn connect(&self) -> Result<Link, LinkProblem> {
        let most = self.connect_timeout;
        let mut is_asked = false;
        let ended = timeout(most, self.handshake(&mut is_asked)).await;
        ended
            .unwrap_or_else(|_| {
                Err(if is_asked {
                    LinkProblem::Unanswered(most, self.speech())
                } else {
                    LinkProblem::TimedOut(most)
                })
            })
            .map_err(|problem| match problem {
                LinkProblem::Closed => self.hung_up(),
                LinkProblem::Io(e) if e.kind() == io::ErrorKind::ConnectionReset => self.hung_up(),
                other => other,
            })
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn hung_up(&self) -> LinkProblem {
        LinkProblem::HungUp(self.speech())
    }

    fn speech(&self) -> &'static str {
        if self.tls.is_some() {
            "TLS"
        } else {
            "plain MQTT, without TLS"
        }
    }

    /// `is_asked`: our CONNECT is on its way.
    async fn handshake(&self, is_asked: &mut bool) -> Result<Link, LinkProblem> {
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|e| LinkProblem::Resolve(e.to_string()))?;
        let mut stream = Err(LinkProblem::Resolve("no address".into()));
        for address in addresses {
            stream = TcpStream::connect(address).await.map_err(LinkProblem::from);
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream?;
        stream.set_nodelay(true)?;
        let (reader, writer): (
            Box<dyn AsyncRead + Send + Unpin>,
            Box<dyn AsyncWrite + Send + Unpin>,
        ) = match &self.tls {
            None => {
                let (reader, writer) = stream.into_split();
                (Box::new(reader), Box::new(writer))
            }
            Some(config) => {
                let name = ServerName::try_from(self.host.clone())
                    .map_err(|e| LinkProblem::Tls(format!("{}: {e}", self.host)))?;
                let stream = TlsConnector::from(config.current())
                    .connect(name, stream)
                    .await?;
                let (reader, writer) = tokio::io::split(stream);
                (Box::new(reader), Box::new(writer))
            }
        };
        let decoder = Decoder::new(self.version, self.payload_bytes_max);
        let mut reader = Reader {
            stream: reader,
            decoder,
        };
        let mut writer = Writer {
            stream: writer,
            out: BytesMut::new(),
            unflushed: false,
        };
        self.write_connect(&mut writer.out)?;
        while writer.pending() {
            writer.drain().await?;
        }
        *is_asked = true;
        let connack = loop {
            if let Some(connack) = reader.decoder.connack()? {
                break connack;
            }
            reader.fill().await?;
        };
        match connack.refusal {
            Some(refusal) => Err(LinkProblem::Refused(refusal)),
            None => Ok(Link {
                reader,
                writer,
                connack,
            }),
        }
    }

    fn write_connect(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let user = self.user.clone().unwrap_or_default();
        let password = self
            .password
            .as_ref()
            .map_or_else(String::new, |p| p.last().to_owned());
        let login = !(user.is_empty() && password.is_empty());
        let written = match self.version {
            MqttVersion::V5 => {
                let mut properties = v5::ConnectProperties::new();
                properties.session_expiry_interval = Some(self.session_expiry_s);
                properties.receive_maximum = Some(self.receive_maximum.max(1));
                let connect = v5::Connect {
                    keep_alive: self.keep_alive_s,
                    client_id: self.client_id.clone(),
                    clean_start: self.clean_start,
                    properties: Some(properties),
                };
                let will = self.last_will.as_ref().map(|(topic, payload)| {
                    let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
                    v5::LastWill::new(topic, payload.as_bytes(), qos, self.retains, None)
                });
                let login = login.then(|| v5::Login::new(user, password));
                connect.write(&will, &login, out).map_err(|e| e.to_string())
            }
            MqttVersion::V311 => {
                let mut connect = v4::Connect::new(&self.client_id);
                connect.keep_alive = self.keep_alive_s;
                connect.clean_session = self.clean_start;
                connect.last_will = self.last_will.as_ref().map(|(topic, payload)| {
                    let qos = rumqttc::QoS::AtLeastOnce;
                    v4::LastWill::new(topic, payload.as_bytes(), qos, self.retains)
                });
                if login {
                    connect.set_login(user, password);
                }
                connect.write(out).map_err(|e| e.to_string())
            }
        };
        written
            .map(|_| ())
            .map_err(|e| WireError(format!("CONNECT: {e}")))
    }
}

impl LinkProblem {
    /// The problem with its address, for people.
    pub fn at(self, address: String) -> LinkError {
        LinkError {
            address,
            problem: self,
        }
    }
}

impl Link {
    /// Sends everything still to be written and a DISCONNECT that keeps the session, then reads
    /// until the broker has closed its side: closing earlier, with publishes unread, would reset
    /// the connection and could destroy PUBACKs on their way. The caller bounds the time.
    ///
    /// # Errors
    /// [`LinkProblem`] if the connection breaks before the broker has taken everything.
    pub async fn part(&mut self) -> Result<(), LinkProblem> {
        wire::disconnect(&mut self.writer.out);
        self.close().await
    }

    /// As [`Link::part`], and the broker forgets the session.
    ///
    /// # Errors
    /// As there.
    pub async fn part_for_good(&mut self, version: MqttVersion) -> Result<(), LinkProblem> {
        wire::disconnect_for_good(version, &mut self.writer.out);
        self.close().await
    }

    async fn close(&mut self) -> Result<(), LinkProblem> {
        while self.writer.pending() {
            self.writer.drain().await?;
        }
        self.writer.stream.shutdown().await?;
        let mut sink = BytesMut::with_capacity(16 * 1024);
        while self.reader.stream.read_buf(&mut sink).await? > 0 {
            sink.clear();
        }
        Ok(())
    }
}
