use super::*;

#[test]
fn algorithms_are_called_in_the_configuration_as_they_are_stored() {
    for (word, algorithm) in Algorithm::CHOICES {
        let stored = serde_json::to_value(algorithm).ok();
        assert_eq!(stored, Some((*word).into()), "{algorithm:?}");
    }
}
