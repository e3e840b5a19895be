//! TLS: a private authority, the right name, a client certificate, and never plain where it was asked for.

use std::path::PathBuf;

use dunlin_sync::{
    rows::Batch,
    sample::FieldType,
    upstream::{UpstreamError, UpstreamOptions, connect},
};
use dunlin_tests::{
    batches::{one, schema, waves, write_all},
    certificates::{Issuer, acceptor, authority, issue},
};
use rcgen::ExtendedKeyUsagePurpose;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{Target, is_unavailable, options};

/// Answers the question for TLS, and speaks it, in front of a server that does not.
async fn front(target: &Target, ca: &Issuer, name: &str, clients: Option<&Issuer>) -> u16 {
    let acceptor = acceptor(ca, name, clients);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = target.address();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut question = [0; 8];
                let asked = socket.read_exact(&mut question).await.is_ok();
                // A plain client gets nothing.
                if asked && question[4..] == [0x04, 0xd2, 0x16, 0x2f] {
                    socket.write_all(b"S").await.unwrap();
                    if let Ok(mut inner) = acceptor.accept(socket).await {
                        let mut server = TcpStream::connect(to).await.unwrap();
                        let _ended = tokio::io::copy_bidirectional(&mut inner, &mut server).await;
                    }
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

fn options_of(target: &Target, authority: &str, ca_file: Option<PathBuf>) -> UpstreamOptions {
    UpstreamOptions {
        ca_file,
        ..options(&target.url_through(authority, "?sslmode=verify-full"))
    }
}

fn batch() -> Batch {
    one(waves(&schema("s", &[("x", FieldType::F64)]), "m", 300))
}

async fn error_of(options: &UpstreamOptions) -> UpstreamError {
    connect(options).unwrap().write(&batch()).await.unwrap_err()
}

#[tokio::test]
async fn only_a_server_with_the_right_name_from_the_right_authority_hears_anything() {
    let Some(target) = Target::real().await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let right = Some(file(&dir, "ours.pem", &ours.pem()));
    let wrong = Some(file(&dir, "theirs.pem", &theirs.pem()));
    let good = format!(
        "127.0.0.1:{}",
        front(&target, &ours, "127.0.0.1", None).await
    );
    let misnamed = format!(
        "127.0.0.1:{}",
        front(&target, &ours, "db.example", None).await
    );

    let error = error_of(&options_of(&target, &good, wrong)).await;
    assert!(is_unavailable(&error), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let error = error_of(&options_of(&target, &misnamed, right.clone())).await;
    assert!(error.to_string().contains("not valid for name"), "{error}");
    // A server without TLS is no way round.
    let error = error_of(&options_of(&target, &target.authority(), right.clone())).await;
    assert!(matches!(error, UpstreamError::Rejected(_)), "{error}");
    assert!(error.to_string().contains("speaks no TLS"), "{error}");

    let upstream = connect(&options_of(&target, &good, right)).unwrap();
    write_all(&*upstream, &batch()).await;
    assert!(upstream.location().ends_with("?sslmode=verify-full"));
    target.clean().await;
}

#[tokio::test]
async fn a_client_certificate_opens_the_door() {
    let Some(target) = Target::real().await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (ours, clients) = (authority("ours"), authority("clients"));
    let port = front(&target, &ours, "127.0.0.1", Some(&clients)).await;
    let ca_file = Some(file(&dir, "ca.pem", &ours.pem()));
    let mut options = options_of(&target, &format!("127.0.0.1:{port}"), ca_file);
    let error = error_of(&options).await;
    assert!(is_unavailable(&error), "{error}");

    let (certificate, key) = issue(&clients, "device-1", ExtendedKeyUsagePurpose::ClientAuth);
    options.cert_file = Some(file(&dir, "device.pem", &certificate.pem()));
    options.key_file = Some(file(&dir, "device.key", &key.serialize_pem()));
    write_all(&*connect(&options).unwrap(), &batch()).await;
    target.clean().await;
}
