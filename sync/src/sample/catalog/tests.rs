#![allow(clippy::unwrap_used)]

use super::*;

fn stream(id: StreamId, name: &str) -> Arc<Stream> {
    Arc::new(Stream {
        id,
        schema: 0,
        name: name.into(),
        tags: vec!["gw1".into()],
        first_tags: None,
    })
}

#[test]
fn a_number_is_not_given_out_again_and_a_name_may_come_back() {
    let mut catalog = Catalog::default();
    catalog.put_stream(stream(0, "a"));
    catalog.put_stream(stream(1, "b"));
    let (both, before) = (catalog.share(0), catalog.changes());
    catalog.remove_stream(1);
    assert!(catalog.stream_named("b").is_none() && catalog.stream(1).is_none());
    assert_eq!(catalog.next_stream(), 2);
    assert_ne!(catalog.changes(), before);
    catalog.put_stream(stream(2, "b"));
    assert_eq!(catalog.stream_named("b").unwrap().id, 2);
    assert_eq!(catalog.share(0), both);
}

#[test]
fn what_changes_while_somebody_looks_is_not_seen_there() {
    let mut catalog = Arc::new(Catalog::default());
    Arc::make_mut(&mut catalog).put_stream(stream(0, "a"));
    let seen = Arc::clone(&catalog);
    Arc::make_mut(&mut catalog).put_stream(stream(0, "renamed"));
    assert_eq!(seen.stream_named("a"), seen.stream(0));
    assert!(catalog.stream_named("a").is_none());
    assert_eq!(catalog.streams().len(), 1);
}
