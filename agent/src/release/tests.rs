#![allow(clippy::unwrap_used)]

use super::{
    signing::{SigningError, SigningKey, public_path},
    *,
};

fn release() -> Release {
    Release {
        format: FORMAT,
        line: "health".into(),
        serial: 7,
        sha256: BlobHash::of(b"a model").to_string(),
        bytes: 7,
        share_percent: 25.0,
        published_ns: 1,
        paused: false,
    }
}

fn key() -> (tempfile::TempDir, SigningKey) {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::make(&dir.path().join("key")).unwrap();
    (dir, key)
}

fn keys(of: &[&SigningKey]) -> Vec<PublicKey> {
    let keys = of.iter().map(|key| public_key(&key.public()).unwrap());
    keys.collect()
}

#[test]
fn what_a_key_has_signed_comes_back_and_what_a_stranger_has_does_not() {
    let ((_dir, ours), (_other, strangers)) = (key(), key());
    let document = ours.sign(&release()).unwrap();
    let both = keys(&[&strangers, &ours]);
    assert_eq!(open("health", &document, &both), Ok(release()));
    let theirs = keys(&[&strangers]);
    assert_eq!(
        open("health", &document, &theirs),
        Err(ReleaseError::Stranger)
    );
    assert_eq!(open("health", &document, &[]), Err(ReleaseError::Stranger));
}

#[test]
fn a_release_that_was_changed_or_moved_is_refused() {
    let (_dir, ours) = key();
    let keys = keys(&[&ours]);
    let signed = ours.sign(&release()).unwrap();
    let text = String::from_utf8(signed.bytes.clone()).unwrap();
    let more = Document {
        bytes: text.replace("25.0", "99.0").into_bytes(),
        ..signed.clone()
    };
    assert_eq!(open("health", &more, &keys), Err(ReleaseError::Stranger));
    let later = Document {
        serial: 8,
        ..signed.clone()
    };
    assert_eq!(open("health", &later, &keys), Err(ReleaseError::Misplaced));
    assert_eq!(open("other", &signed, &keys), Err(ReleaseError::Misplaced));
}

#[test]
fn what_is_of_a_later_format_or_out_of_range_is_refused_though_it_is_signed() {
    let (_dir, ours) = key();
    let keys = keys(&[&ours]);
    let opened = |release: &Release| open("health", &ours.sign(release).unwrap(), &keys);
    let later = Release {
        format: 2,
        ..release()
    };
    assert_eq!(opened(&later), Err(ReleaseError::Newer(2)));
    for share_percent in [-1.0, 100.5] {
        let out = Release {
            share_percent,
            ..release()
        };
        assert!(matches!(opened(&out), Err(ReleaseError::Damaged(_))));
    }
    let nameless = Release {
        sha256: "..".into(),
        ..release()
    };
    assert!(matches!(opened(&nameless), Err(ReleaseError::Damaged(_))));
}

#[test]
fn no_bytes_make_it_panic() {
    let (_dir, ours) = key();
    let keys = keys(&[&ours]);
    let signed = ours.sign(&release()).unwrap();
    for at in 0..signed.bytes.len() {
        let mut document = signed.clone();
        document.bytes[at] ^= 1;
        // Some bytes say nothing: the comment that nobody signs.
        let _anything = open("health", &document, &keys);
        document.bytes.truncate(at);
        assert!(open("health", &document, &keys).is_err());
    }
    let envelope = |signature: String| Document {
        serial: 7,
        bytes: serde_json::to_vec(&Envelope {
            release: "{}".into(),
            signature,
        })
        .unwrap(),
    };
    for signature in [
        "",
        "\n\n\n",
        "untrusted comment: \nAA==\ntrusted comment: \nAA==",
    ] {
        let refused = open("health", &envelope(signature.into()), &keys);
        assert!(matches!(refused, Err(ReleaseError::Damaged(_))));
    }
    let long = Document {
        serial: 7,
        bytes: vec![b' '; DOCUMENT_BYTES_MAX + 1],
    };
    assert!(matches!(
        open("health", &long, &keys),
        Err(ReleaseError::Damaged(_))
    ));
}

#[test]
fn a_share_is_what_it_says_stable_and_grows() {
    let of = |share_percent: f64| Release {
        share_percent,
        ..release()
    };
    let shares = [0.0, 5.0, 25.0, 100.0];
    let mut taken = [0; 4];
    for device in (0..10_000).map(|n| format!("press-{n}")) {
        let are_for = shares.map(|share| of(share).is_for(&device));
        assert!(are_for.is_sorted(), "{device}: {are_for:?}");
        for (count, is_for) in taken.iter_mut().zip(are_for) {
            *count += u32::from(is_for);
        }
    }
    assert_eq!((taken[0], taken[3]), (0, 10_000));
    assert!((400..600).contains(&taken[1]), "{taken:?}");
    assert!((2_300..2_700).contains(&taken[2]), "{taken:?}");
    // What is documented must not move: devices of several versions share a fleet.
    assert!((place_percent("health", "press-7") - PLACE_OF_PRESS_7).abs() < 1e-6);
    let other = |device: &str| place_percent("other", device);
    assert!((other("press-7") - PLACE_OF_PRESS_7).abs() > 1e-6);
}

/// SHA-256 of eight bytes `0 .. 6`, `health` and `press-7` begins with these bits.
const PLACE_OF_PRESS_7: f64 = 16.081_156;

#[test]
fn a_key_is_its_owners_alone_and_none_is_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;

    let (dir, made) = key();
    let path = dir.path().join("key");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(
        SigningKey::make(&path),
        Err(SigningError::Disk { .. })
    ));
    let read = SigningKey::read(&path, None).unwrap();
    assert_eq!(read.public(), made.public());
    let public = std::fs::read_to_string(public_path(&path)).unwrap();
    assert_eq!(public.lines().nth(1), Some(&*made.public()));
    std::fs::write(&path, "nothing of the kind\n").unwrap();
    let error = SigningKey::read(&path, None).err().unwrap();
    assert!(matches!(error, SigningError::Key { .. }), "{error}");
}
