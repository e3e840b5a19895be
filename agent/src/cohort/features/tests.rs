use std::sync::Arc;

use dunlin_sync::sample::{Field, Stream};

use super::*;

fn of(part: &str, names: &[&str]) -> Vec<String> {
    let field = |name: &&str| Field {
        name: (*name).to_owned(),
        kind: FieldType::F64,
    };
    let schema = Schema {
        id: 0,
        name: "burst".into(),
        tag_names: vec!["device".into(), PART_TAG.into()],
        fields: names.iter().map(field).collect(),
        origins: Vec::new(),
    };
    let stream = Stream {
        id: 0,
        schema: 0,
        name: format!("burst/{part}"),
        tags: vec!["d".into(), part.to_owned()],
        first_tags: None,
    };
    features(
        &[(Arc::new(stream), Arc::new(schema))],
        &CohortQuery::default(),
    )
}

#[test]
fn samples_and_features_of_a_burst_have_fields_of_their_own() {
    let fields = ["x", "x.rms", "x.band_1", "fs", "sparkplug_historical"];
    assert_eq!(of("samples", &fields), ["x"]);
    assert_eq!(of("features", &fields), ["x.rms", "x.band_1", "fs"]);
    assert_eq!(of("left", &fields), ["x", "x.rms", "x.band_1", "fs"]);
    // Somebody's own tag.
    assert_eq!(of("samples", &["a", "b.c"]), ["a", "b.c"]);
}
