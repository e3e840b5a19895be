//! `tdengines://`: a private authority, the right name, a client certificate, and never plain.

use std::{path::PathBuf, time::Duration};

use dunlin_sync::{
    rows::Batch,
    sample::FieldType,
    upstream::{UpstreamOptions, connect},
};
use dunlin_tests::{
    batches::{one, schema, waves, write_all},
    certificates::{Issuer, acceptor, authority, issue},
    doubles::taos::TaosDouble,
};
use rcgen::ExtendedKeyUsagePurpose;
use tokio::net::{TcpListener, TcpStream};

use crate::faults::is_unavailable;

/// Terminates TLS in front of the double.
async fn front(double: &TaosDouble, ca: &Issuer, name: &str, clients: Option<&Issuer>) -> u16 {
    let acceptor = acceptor(ca, name, clients);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), double.address());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut inner) = acceptor.accept(socket).await {
                    let mut double = TcpStream::connect(to).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut inner, &mut double).await;
                }
            });
        }
    });
    port
}

fn file(dir: &tempfile::TempDir, name: &str, pem: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, pem).unwrap();
    path
}

fn options(port: u16, ca_file: Option<PathBuf>) -> UpstreamOptions {
    UpstreamOptions {
        password_file: None,
        ca_file,
        ..crate::support::options(&format!("tdengines://127.0.0.1:{port}/plant"))
    }
}

fn batch() -> Batch {
    one(waves(&schema("s", &[("x", FieldType::F64)]), "m", 300))
}

#[tokio::test]
async fn only_a_server_with_the_right_name_from_the_right_authority_hears_anything() {
    let dir = tempfile::tempdir().unwrap();
    let double = TaosDouble::start().await;
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let right = Some(file(&dir, "ours.pem", &ours.pem()));
    let port = front(&double, &ours, "127.0.0.1", None).await;

    let wrong = Some(file(&dir, "theirs.pem", &theirs.pem()));
    let error = connect(&options(port, wrong))
        .unwrap()
        .write(&batch())
        .await;
    let error = error.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");

    let misnamed = front(&double, &ours, "db.example", None).await;
    let error = connect(&options(misnamed, right.clone())).unwrap();
    let error = error.write(&batch()).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");

    // A plain server is no way round.
    let plain = connect(&options(double.address().port(), right.clone())).unwrap();
    let mut quick = options(double.address().port(), right.clone());
    quick.timeout = Duration::from_millis(300);
    drop(plain);
    let error = connect(&quick).unwrap().write(&batch()).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    assert!(double.statements().is_empty());

    let upstream = connect(&options(port, right)).unwrap();
    write_all(&*upstream, &batch()).await;
    assert!(upstream.location().starts_with("tdengines://127.0.0.1:"));
}

#[tokio::test]
async fn a_client_certificate_opens_the_door() {
    let dir = tempfile::tempdir().unwrap();
    let double = TaosDouble::start().await;
    let (ours, clients) = (authority("ours"), authority("clients"));
    let port = front(&double, &ours, "127.0.0.1", Some(&clients)).await;
    let mut options = options(port, Some(file(&dir, "ca.pem", &ours.pem())));

    let error = connect(&options)
        .unwrap()
        .write(&batch())
        .await
        .unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    assert!(
        error.to_string().to_lowercase().contains("certificate"),
        "{error}"
    );
    assert_eq!(double.connections(), 0);

    let (certificate, key) = issue(&clients, "device-1", ExtendedKeyUsagePurpose::ClientAuth);
    options.cert_file = Some(file(&dir, "device.pem", &certificate.pem()));
    options.key_file = Some(file(&dir, "device.key", &key.serialize_pem()));
    write_all(&*connect(&options).unwrap(), &batch()).await;
    assert_eq!(double.connections(), 1);
}
