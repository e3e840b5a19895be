#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn artifact() -> Artifact {
    let mut artifact = Artifact {
        kind: "test".into(),
        features: vec!["a".into(), "b\"".into()],
        settings: "{\"x\":1}".into(),
        ..Artifact::default()
    };
    artifact.insert_f32("weights", &[2, 2], vec![1.0, -2.5, f32::MIN_POSITIVE, 4.0]);
    artifact.insert_f64("sums", &[3], vec![1e300, 0.1, -0.0]);
    artifact
}

#[test]
fn comes_back_as_it_was_and_always_as_the_same_bytes() {
    let bytes = artifact().to_bytes().unwrap();
    assert_eq!(Artifact::from_bytes(&bytes).unwrap(), artifact());
    assert_eq!(artifact().to_bytes().unwrap(), bytes);
}

#[test]
fn another_shape_type_kind_or_version_does_not_fit() {
    let artifact = artifact();
    let misfits = |result: Result<Vec<f32>, _>| {
        assert!(
            matches!(result, Err(ArtifactError::Misfit(_))),
            "{result:?}"
        );
    };
    misfits(artifact.f32("weights", &[4]));
    misfits(artifact.f32("sums", &[3]));
    misfits(artifact.f32("none", &[1]));
    misfits(
        artifact
            .settings::<serde_json::Value>("other")
            .map(|_| Vec::new()),
    );
    let mut bytes = artifact.to_bytes().unwrap();
    let before = b"format\\\":";
    let at = bytes.windows(before.len()).position(|part| part == before);
    bytes[at.unwrap() + before.len()] = b'2';
    let error = Artifact::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, ArtifactError::Misfit(_)), "{error}");
}

#[test]
fn features_and_tensors_from_elsewhere_are_counted_before_anything_is_made_of_them() {
    let with = |features: Vec<String>| {
        let artifact = Artifact {
            features,
            ..artifact()
        };
        let error = Artifact::from_bytes(&artifact.to_bytes().unwrap()).unwrap_err();
        assert!(matches!(error, ArtifactError::Misfit(_)), "{error}");
        error.to_string()
    };
    let name = |n: usize| format!("f{n}");
    assert!(with(vec!["a".into(), "b".into(), "a".into()]).contains("\"a\" twice"));
    assert!(with(vec![String::new()]).contains("0 bytes"));
    assert!(with(vec!["x".repeat(257)]).contains("257 bytes"));
    assert!(with((0..4_097).map(name).collect()).contains("4097 features"));
    let many = |n: usize| format!("{n}{}", "x".repeat(240));
    assert!(with((0..20_000).map(many).collect()).contains("names and settings"));
    let mut wide = artifact();
    for n in 0..1_100 {
        wide.insert_f32(&name(n), &[1], vec![1.0]);
    }
    let error = Artifact::from_bytes(&wide.to_bytes().unwrap()).unwrap_err();
    assert!(error.to_string().contains("1102 tensors"), "{error}");
}

#[test]
fn numbers_that_are_not_finite_are_damage() {
    let mut artifact = artifact();
    artifact.insert_f32("weights", &[1], vec![f32::NAN]);
    let error = Artifact::from_bytes(&artifact.to_bytes().unwrap()).unwrap_err();
    assert!(matches!(error, ArtifactError::Damaged(_)), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _refused = Artifact::from_bytes(&bytes);
    }

    #[test]
    fn a_changed_or_shortened_file_never_panics(at in 0usize..400, to: u8, keep in 0usize..400) {
        let mut bytes = artifact().to_bytes().unwrap();
        let length = bytes.len();
        bytes[at % length] = to;
        bytes.truncate(keep.max(1));
        let _refused = Artifact::from_bytes(&bytes);
    }
}
