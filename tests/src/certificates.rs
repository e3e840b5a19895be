//! Authorities, certificates and servers that show them, made for a test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

/// An authority.
pub type Issuer = CertifiedIssuer<'static, KeyPair>;

/// An authority of this name that nobody trusts yet.
///
/// # Panics
/// If no key can be made.
pub fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no names to be wrong");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

/// Certificate and key for `name`, signed `by`.
///
/// # Panics
/// If `name` cannot be in a certificate.
pub fn issue(by: &Issuer, name: &str, purpose: ExtendedKeyUsagePurpose) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a good name");
    params.extended_key_usages.push(purpose);
    (params.signed_by(&key, by).expect("a certificate"), key)
}

/// The server's side of TLS for `name`; asks for a certificate from `clients` if there are any.
///
/// # Panics
/// If `name` cannot be in a certificate.
pub fn acceptor(ca: &Issuer, name: &str, clients: Option<&Issuer>) -> TlsAcceptor {
    let (certificate, key) = issue(ca, name, ExtendedKeyUsagePurpose::ServerAuth);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has them");
    let builder = if let Some(clients) = clients {
        let mut roots = RootCertStore::empty();
        roots.add(clients.der().clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let chain = vec![certificate.der().clone()];
    let config = builder.with_single_cert(chain, key).expect("they fit");
    TlsAcceptor::from(Arc::new(config))
}
