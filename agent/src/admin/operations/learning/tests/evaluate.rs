//! k-fold evaluation, of a running agent and of the directory of a stopped one.

#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::mpsc};

use crate::{
    admin::operations::learning::{Evaluate, Evaluated, FoldRule},
    app::Agent,
    cli::commands::{
        Exit,
        connection::{Connection, ConnectionArgs},
    },
    config,
    record::writer::{Request, RequestContent},
};

const CONFIG: &str = r#"
device = "d"
data_dir = "data"
[mqtt]
url = "mqtt://127.0.0.1:1"
[upstream]
url = "sqlite:up.db"
[http]
listen = ""
[clock]
hold_s = 0
[buffer]
commit_gap_ms_min = 0
[[stream]]
name = "plant"
topic = "plant/+machine"
split = { method = "kfold", k = 4, seed = 1 }
[[recipe]]
name = "double"
streams = "plant/*"
algorithm = "ridge"
features = ["x"]
label = "y"
min_start_count = 1000000
"#;

async fn evaluate(path: &Path, recipe: &str, folds: Option<u8>) -> Result<Evaluated, Exit> {
    let args = ConnectionArgs {
        config: Some(path.to_path_buf()),
        ..ConnectionArgs::default()
    };
    let mut connection = Connection::open(&args).await?;
    let evaluate = Evaluate {
        recipe: recipe.into(),
        stream: "plant/press".into(),
        folds,
    };
    let answer = connection.request(evaluate).await;
    connection.close().await?;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_judged_once_by_a_model_that_has_not_seen_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    std::fs::write(&path, CONFIG).unwrap();
    let settings = config::load(Some(&path), &config::Overrides::default()).unwrap();
    let agent = Agent::start(settings).await.unwrap();
    let (reply, answers) = mpsc::channel();
    for row in 0..400 {
        let x = row * 37 % 101;
        let content = RequestContent::Publish {
            wanted: None,
            at_ns: None,
            topic: b"plant/press".to_vec(),
            payload: format!("{{\"x\":{x}.5,\"y\":{}.0}}", 2 * x + 1).into_bytes(),
        };
        let reply = reply.clone();
        assert!(agent.requests().send(Request { content, reply }).is_ok());
    }
    drop(reply);
    tokio::task::block_in_place(|| assert!(answers.iter().all(|stored| stored == Ok(1))));

    let stored = evaluate(&path, "double", None).await.unwrap();
    assert_eq!(stored.fold_rule, FoldRule::Stored);
    assert_eq!((stored.candidate.folds, stored.candidate.windows), (4, 400));
    assert_eq!(stored.baseline.windows, 400);
    assert!(
        stored.candidate.error.mean < 0.1 * stored.baseline.error.mean,
        "{stored:?}"
    );
    let blocks = evaluate(&path, "double", Some(5)).await.unwrap();
    assert_eq!(blocks.fold_rule, FoldRule::Time);
    let windows: Vec<u64> = blocks.folds.iter().map(|(fold, _)| fold.windows).collect();
    assert_eq!(windows, [80; 5]);
    let unknown = evaluate(&path, "triple", None)
        .await
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("there are double"), "{unknown}");
    let too_many = evaluate(&path, "double", Some(101)).await.unwrap_err();
    assert!(matches!(too_many, Exit::Usage(_)), "{too_many}");

    agent.stop().await.unwrap();
    let offline = evaluate(&path, "double", None).await.unwrap();
    assert_eq!(offline, stored, "the same rows give the same figures");
}
