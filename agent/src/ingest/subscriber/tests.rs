use super::*;

fn filters(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_remembered_until_it_is() {
    let (subscriber, mut wanted) = channel(filters(&["a", "b"]));
    assert!(!wanted.take());
    subscriber.subscribe(filters(&["b", "c"]));
    wanted.changed().await;
    assert!(wanted.take());
    assert_eq!(
        (wanted.filters, wanted.retired),
        (filters(&["b", "c"]), filters(&["a"]))
    );
    let (subscriber, mut wanted) = channel(filters(&["a"]));
    subscriber.subscribe(filters(&["b"]));
    assert!(wanted.take());
    subscriber.subscribe(filters(&["a"]));
    assert!(wanted.take());
    assert_eq!(
        (wanted.filters, wanted.retired),
        (filters(&["a"]), filters(&["b"]))
    );
}
