#![allow(clippy::unwrap_used)]

use super::*;

fn of(text: &str) -> Result<(String, Vec<config::Diagnostic>), Exit> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    std::fs::write(&path, text).unwrap();
    let (_, summary, warnings) = check(&ConnectionArgs {
        config: Some(path),
        ..ConnectionArgs::default()
    })?;
    Ok((summary, warnings))
}

#[test]
fn says_what_was_understood_without_secrets() {
    let (summary, _) = of(config::EXAMPLE).unwrap();
    assert!(summary.starts_with("ok: device press-7, broker mqtt://broker.example:1883, "));
    assert!(
        summary.contains("streams vibration, temperature"),
        "{summary}"
    );
    assert!(summary.contains("tdengine.example:6041"), "{summary}");
    assert!(!summary.contains("taosdata"), "{summary}");
}

#[test]
fn says_where_edge_nodes_are_asked_for_their_births() {
    let sparkplug = |lines: &str| {
        let text = format!(
            "device = \"d\"\n[mqtt]\nurl = \"mqtt://b\"\n[upstream]\n\
             url = \"tdengine://root:taosdata@localhost:6041/plant\"\n\
             [[stream]]\nname = \"plant\"\nformat = \"sparkplug_b\"\n{lines}"
        );
        of(&text).unwrap().0
    };
    let asks = |summary: &str| summary.contains("stream plant asks") && summary.contains("NCMD");
    let all = sparkplug("topic = \"spBv1.0/#\"\nrebirth_requests = true\n");
    assert!(asks(&all) && all.contains("ignored"), "{all}");
    let data = sparkplug("topic = \"spBv1.0/+/NDATA/+\"\nrebirth_requests = true\n");
    assert!(asks(&data) && !data.contains("ignored"), "{data}");
    assert!(!asks(&sparkplug("topic = \"spBv1.0/#\"\n")));
}

#[test]
fn names_every_mistake_with_its_place() {
    let error = of("device = 7\n[mqtt]\nport = 1\n").unwrap_err();
    let Exit::Usage(text) = &error else {
        panic!("{error}")
    };
    assert!(text.contains("dunlin.toml:1:"), "{text}");
    assert!(text.contains("dunlin.toml:3:"), "{text}");
    assert!(text.contains("mistakes\n"), "{text}");
}

#[tokio::test]
async fn looks_at_what_a_stopped_agent_holds() {
    use dunlin_sync::{
        buffer::{Buffer, BufferOptions, Declaration},
        sample::{Field, FieldType, Stage},
    };

    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let (buffer, _) = Buffer::open(BufferOptions::new(data_dir.join("buffer"), 8 << 20)).unwrap();
    let declaration = Declaration {
        fields: &[Field {
            name: "t".into(),
            kind: FieldType::I64,
        }],
        stages: &[(0, Stage::Begun)],
        ..Declaration::default()
    };
    buffer.declare("plant", &declaration).unwrap();
    buffer.commit(&[], &[]).unwrap();
    drop(buffer);
    let overrides = config::Overrides::default()
        .set("data_dir", data_dir.to_str().unwrap())
        .set("device", "d");
    let args = ConnectionArgs {
        config: None,
        overrides,
    };
    let schemas = schemas(&args).await.unwrap();
    assert_eq!(schemas[0].fields[0].name, "t");
    assert_eq!(schemas[0].origin(0).stage, Stage::Begun);
}
