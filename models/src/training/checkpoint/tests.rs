#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn progress() -> Progress {
    Progress {
        epochs: 3,
        epochs_without_better: 1,
        best_loss: 0.1,
        parameters: vec![1.0, -0.0, 3.5],
        best: vec![0.5, f32::MIN_POSITIVE, 1e30],
        adam: Adam {
            steps: 77,
            mean: vec![1.0, 2.0, 3.0],
            square: vec![4.0, 5.0, 6.0],
        },
    }
}

#[test]
fn comes_back_as_it_was_for_its_own_job_alone() {
    let bytes = progress().to_bytes(9);
    assert_eq!(Progress::from_bytes(&bytes, 9, 3).unwrap(), progress());
    assert_eq!(Progress::from_bytes(&bytes, 8, 3), None);
    assert_eq!(Progress::from_bytes(&bytes, 9, 4), None);
    assert_eq!(Progress::from_bytes(&bytes, 9, usize::MAX), None);
    assert_eq!(Progress::from_bytes(&[], 9, 3), None);
}

proptest! {
    #[test]
    fn any_damage_is_noticed(at in 0usize..200, flip in 1u8.., keep in 0usize..200) {
        let whole = progress().to_bytes(9);
        let mut bytes = whole.clone();
        let length = bytes.len();
        bytes[at % length] ^= flip;
        prop_assert_eq!(Progress::from_bytes(&bytes, 9, 3), None);
        let kept = &whole[..keep.min(length - 1)];
        prop_assert_eq!(Progress::from_bytes(kept, 9, 3), None);
    }
}
