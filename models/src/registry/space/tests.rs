#![allow(clippy::unwrap_used)]

use super::{
    super::{AVAILABLE, CANDIDATE, RETIRED, tests},
    *,
};

/// Less than a block of any file system is no measure.
const MODEL_BYTES: usize = 64 << 10;

fn large() -> crate::artifact::Artifact {
    let mut artifact = tests::artifact(1.0);
    artifact.insert_f32("more", &[MODEL_BYTES / 4], vec![0.0; MODEL_BYTES / 4]);
    artifact
}

#[test]
fn the_oldest_of_all_lines_give_way_where_models_take_too_much_disk() {
    let dir = tempfile::tempdir().unwrap();
    let registry = tests::open(dir.path());
    let bytes_max = 9 * MODEL_BYTES as u64;
    registry.set_disk_bytes_max(bytes_max);
    let key = |line: usize| ModelKey::new("ridge", format!("s/{line}"));
    let add = |line: usize| {
        registry
            .add(&key(line), &large(), tests::new(CANDIDATE))
            .map(|v| v.number)
    };
    let numbers = |line: usize| -> Vec<u64> {
        let versions = registry.versions(&key(line)).unwrap();
        versions.iter().map(|version| version.number).collect()
    };
    for number in 1..=3 {
        assert_eq!(add(0).unwrap(), number);
        registry
            .promote(&key(0), number, AVAILABLE, RETIRED)
            .unwrap();
    }
    // One that is damaged, and set aside.
    let damaged = add(1).unwrap();
    let model = registry
        .version_dir(&key(1), damaged)
        .join("model.safetensors");
    std::fs::write(&model, "nothing").unwrap();
    assert!(numbers(1).is_empty());
    assert!(damaged_dir(&registry.options).exists());
    let fits = bytes_max / (MODEL_BYTES as u64 + 12_000);
    for _ in 0..20 {
        add(1).unwrap();
        assert!(registry.disk_bytes() <= bytes_max);
        assert_eq!(registry.disk_bytes(), disk::bytes_under(dir.path()));
    }
    assert_eq!(numbers(0), [2, 3], "what serves, and what served before");
    let kept = numbers(1);
    assert!(
        kept.len() as u64 + 2 >= fits && kept.last() == Some(&21),
        "{kept:?}"
    );
    assert_eq!(
        disk::names(&damaged_dir(&registry.options)).unwrap(),
        [""; 0]
    );

    // Where all is needed, the newcomer is refused, and nothing is deleted for it.
    for line in 2..20 {
        if add(line).is_err() {
            break;
        }
    }
    let before: Vec<_> = (0..20).map(numbers).collect();
    let refusal = add(19).unwrap_err().to_string();
    assert!(refusal.contains("learn.bytes_max"), "{refusal}");
    assert_eq!((0..20).map(numbers).collect::<Vec<_>>(), before);
    assert!(registry.disk_bytes() <= bytes_max);
    // A line whose stream is gone gives way, whole, and no other.
    registry.spare_lines([key(0), key(99)].into());
    add(19).unwrap();
    assert_eq!(numbers(0), [0; 0]);
    assert_eq!((1..19).map(numbers).collect::<Vec<_>>(), before[1..19]);
    assert!(registry.disk_bytes() <= bytes_max);
    // The next open finds the same.
    let bytes = registry.disk_bytes();
    drop(registry);
    assert_eq!(tests::open(dir.path()).disk_bytes(), bytes);
}
