//! States and their words.

use super::*;

#[test]
fn an_open_task_keeps_a_word_that_was_configured_before_and_is_at_work_by_words_that_are_now() {
    let mut settings = crate::learn::tests::settings(vec![]);
    let of_open = |word: &str| TaskState::of_open(word.into(), &settings.status);
    assert_eq!(of_open("queued"), TaskState::Queued);
    assert_eq!(of_open("training"), TaskState::Training);
    let before = of_open("at school");
    assert_eq!(before.word(&settings.status), "at school");
    assert!(!before.is_at_work(&settings));
    settings.working_status.push("at school".into());
    assert!(before.is_at_work(&settings));
    assert!(TaskState::Training.is_at_work(&settings));
    assert!(!TaskState::Failed.is_at_work(&settings));
}
