#![allow(clippy::unwrap_used)]

use super::*;

const CONFIG: &str = r#"
device = "press-7"
[[recipe]]
name = "other"
streams = "*"
algorithm = "pca"
[[recipe]]
name = "health"
streams = "press/*"
algorithm = "ridge"
label = "power"
lookback = 8
publish = "out/{stream}"
train = false
min_start_count = 50
"#;

fn job() -> TrainJob {
    TrainJob::new(Path::new("plant.toml"), CONFIG, "health").unwrap()
}

#[test]
fn a_job_has_the_words_of_the_recipe_and_comes_back() {
    let job = TrainJob {
        to_ts: 1_700_000_000_000_000_001,
        seed: u64::MAX,
        ..job()
    };
    let back = TrainJob::read(&job.to_bytes().unwrap()).unwrap();
    assert_eq!(back, job);
    assert_eq!(back.streams, "*/press/*");
    let rule = back.rule().unwrap();
    assert_eq!(
        (&*rule.name, rule.label.as_deref()),
        ("health", Some("power"))
    );
    assert_eq!(rule.recipe.shape().lookback, 8);
    assert!(rule.publish.is_none());
    assert!(rule.train);
}

#[test]
fn what_is_no_job_is_refused_with_a_reason() {
    let named = TrainJob::new(Path::new("plant.toml"), CONFIG, "nobody").unwrap_err();
    assert!(named.contains("no [[recipe]] called \"nobody\""), "{named}");
    let wrong = CONFIG.replace("lookback = 8", "lookback = 0\nspeed = 3");
    let wrong = TrainJob::new(Path::new("plant.toml"), &wrong, "health").unwrap_err();
    assert!(
        wrong.contains("lookback") && wrong.contains("speed"),
        "{wrong}"
    );

    let bytes = job().to_bytes().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let newer = text.replace("\"format\":1", "\"format\":2");
    let newer = TrainJob::read(newer.as_bytes()).unwrap_err();
    assert!(
        newer.contains("format 2") && newer.contains("upgrade"),
        "{newer}"
    );
    for bad in [
        "",
        "[]",
        "{\"format\":1}",
        &text.replace("\"seed\"", "\"sead\""),
    ] {
        assert!(TrainJob::read(bad.as_bytes()).is_err(), "{bad}");
    }
    // Whoever can write to the database can write anything.
    let hostile = text.replace("\"ridge\"", "\"custom:x\"");
    let hostile = TrainJob::read(hostile.as_bytes()).unwrap();
    assert!(hostile.rule().is_err());
}
