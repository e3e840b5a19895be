#![allow(clippy::unwrap_used)]

use super::*;

fn standing(model: &str, seen: bool, error: Option<f64>) -> Standing {
    Standing {
        model: model.into(),
        job: "j".into(),
        seen,
        figures: error.map(|error| Figures {
            model_bytes: 7,
            error,
            streams: 1,
            least: error,
            most: error,
            worst: "s".into(),
        }),
        reason: error.is_none().then(|| "gone".into()),
    }
}

#[test]
fn the_least_error_of_what_has_not_seen_the_rows_is_best_and_a_tie_goes_by_hash() {
    let mut all = [
        standing("f", false, None),
        standing("e", true, Some(0.1)),
        standing("d", false, Some(0.3)),
        standing("c", false, Some(0.2)),
        standing("b", false, Some(0.2)),
        standing("a", true, None),
    ];
    let ranked = |all: &mut [Standing], baseline| -> String {
        all.sort_by(|one, other| by_rank(one, other, baseline));
        all.iter().map(|one| &*one.model).collect()
    };
    // What is no better than the baseline is not the best for having seen nothing.
    assert_eq!(ranked(&mut all, 0.2), "ebcdfa");
    assert_eq!(ranked(&mut all, 1.0), "bcdefa");
    assert_eq!(best(&all).unwrap(), ("b".to_owned(), 7));
    let all_seen = [standing("e", true, Some(0.1)), standing("a", true, None)];
    assert_eq!(best(&all_seen).unwrap().0, "e");
    assert!(matches!(best(&all[4..]), Err(JobError::Last(_))));
    assert!(matches!(best(&[]), Err(JobError::Last(_))));
}
