//! What commands ask about models, of a running agent and of the directory of a stopped one.

#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::net::UnixListener};

use dunlin_models::{
    artifact::Artifact,
    registry::{AVAILABLE, IMPORTED, ModelKey, RETIRED, ROLLED_BACK, Version},
};

use crate::{
    admin::operations::{
        learning::{
            CohortView, ExportModel, ImportModel, ListModels, PromoteModel, RollBackModel,
            ShowModel, ViewCohort, Which,
        },
        tests::{Device, Taken},
    },
    cli::commands::{Exit, export::to_file, models::read_model},
    cohort::CohortQuery,
};

fn key() -> ModelKey {
    ModelKey::new("ridge", "plant/m1")
}

/// The bytes of a model with this many numbers.
fn model(numbers: usize) -> Vec<u8> {
    let mut artifact = Artifact {
        kind: "test".into(),
        features: vec!["x".into()],
        settings: "{}".into(),
        ..Artifact::default()
    };
    artifact.insert_f32("w", &[numbers], vec![0.5; numbers]);
    artifact.to_bytes().unwrap()
}

fn which(number: Option<u64>) -> Which {
    Which { key: key(), number }
}

async fn import(device: &Device, bytes: Vec<u8>) -> Result<Version, Exit> {
    let import = ImportModel {
        key: key(),
        bytes,
        status: None,
    };
    Ok(device.request(import).await?.version)
}

async fn promote(device: &Device, number: u64) -> Result<Version, Exit> {
    let promote = PromoteModel {
        key: key(),
        number,
        status: None,
        replaced: None,
    };
    device.request(promote).await
}

async fn list(device: &Device, stream: &str) -> Vec<(u64, String, bool)> {
    let list = ListModels {
        recipe: None,
        stream: Some(stream.into()),
    };
    let versions = device.request(list).await.unwrap().into_iter();
    versions
        .map(|version| (version.number, version.status, version.is_current))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_nothing_would_use_is_taken_in_and_that_is_said() {
    let device = Device::new(true).await;
    let import = |stream: &str| ImportModel {
        key: ModelKey {
            recipe: "no such recipe".into(),
            stream: stream.into(),
        },
        bytes: model(1),
        status: None,
    };
    let imported = device.request(import("no/such")).await.unwrap();
    assert_eq!(imported.version.number, 1);
    let why = imported.unused_because.join("; ");
    assert!(
        why.contains("\"no/such\"") && why.contains("\"no such recipe\""),
        "{why}"
    );
    let json = serde_json::to_value(&imported).unwrap();
    assert_eq!(
        json["number"], 1,
        "what a version is stays where it was: {json}"
    );
    assert_eq!(
        serde_json::from_value::<Version>(json).unwrap(),
        imported.version
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_go_in_serve_are_taken_back_and_go_out() {
    for running in [true, false] {
        let mut device = Device::new(true).await;
        if !running {
            device.stop().await;
        }
        let changes = |device: &Device| {
            let agent = device.agent.as_ref();
            agent.map_or(0, |agent| agent.view().models.changes())
        };
        assert!(list(&device, "*").await.is_empty());
        // Larger than any other request.
        let large = model(2_000_000);
        let first = import(&device, large.clone()).await.unwrap();
        assert_eq!((first.number, first.status.as_str()), (1, IMPORTED));
        let nobody = device.request(ShowModel(which(None))).await.unwrap_err();
        assert!(
            matches!(&nobody, Exit::Usage(text) if text.contains("serves")),
            "{nobody}"
        );
        let before = changes(&device);
        let promoted = promote(&device, 1).await.unwrap();
        assert_eq!(
            (promoted.status.as_str(), promoted.is_current),
            (AVAILABLE, true)
        );
        assert_eq!(
            changes(&device) > before,
            running,
            "whoever serves must notice"
        );
        import(&device, model(1)).await.unwrap();
        promote(&device, 2).await.unwrap();
        assert_eq!(
            list(&device, "plant/*").await,
            [
                (1, RETIRED.to_owned(), false),
                (2, AVAILABLE.to_owned(), true)
            ]
        );
        let roll_back = |status: Option<&str>| RollBackModel {
            key: key(),
            status: status.map(str::to_owned),
        };
        let serves = device.request(roll_back(None)).await.unwrap();
        assert_eq!(serves.number, 1);
        assert_eq!(
            list(&device, "plant/*").await,
            [
                (1, AVAILABLE.to_owned(), true),
                (2, ROLLED_BACK.to_owned(), false)
            ]
        );
        let error = device.request(roll_back(None)).await.unwrap_err();
        assert!(
            matches!(&error, Exit::Usage(text) if text.contains("promote another")),
            "{error}"
        );

        let taken = Taken::default();
        let mut connection = device.connection().await;
        let export = ExportModel(which(None));
        let (version, _) = connection
            .request_with(export, taken.clone())
            .await
            .unwrap();
        assert_eq!((version.number, &*taken.0.lock().unwrap()), (1, &large));
        let path = device.dir.path().join("out.safetensors");
        let export = |number| ExportModel(which(Some(number)));
        to_file(&mut connection, export(2), &path).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), model(1));
        assert!(to_file(&mut connection, export(3), &path).await.is_err());
        connection.close().await.unwrap();
        assert_eq!(
            read_model(&path).unwrap(),
            model(1),
            "what failed left it alone"
        );
        device.stop().await;
        // It is all there for the next one to open it.
        device.start().await;
        assert_eq!(list(&device, "*").await.len(), 2);
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_since_the_last_training_begins_behind_it() {
    let mut device = Device::new(true).await;
    device.import("plant/m1", "x\n1\n2\n").await.unwrap();
    import(&device, model(1)).await.unwrap();
    let trained_to = promote(&device, 1).await.unwrap().lineage.last_ts;
    for running in [true, false] {
        if !running {
            device.stop().await;
        }
        let cohort = ViewCohort {
            query: CohortQuery::of("plant/*"),
            since_training: Some("ridge".into()),
            view: CohortView::Count,
        };
        let found = device.request(cohort).await.unwrap();
        let expected = format!("--streams='plant/*' --after={trained_to}");
        assert_eq!((found.lineage.query, found.lineage.rows), (expected, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_says_what_to_do() {
    for running in [true, false] {
        let mut device = Device::new(true).await;
        import(&device, model(1)).await.unwrap();
        if !running {
            device.stop().await;
        }
        let error = promote(&device, 9).await.unwrap_err();
        assert!(
            matches!(&error, Exit::Usage(text) if text.contains("it has 1")
                && text.contains("dunlin models list")),
            "{error}"
        );
        for foreign in [b"MZ".to_vec(), Vec::new(), model(1)[1..].to_vec()] {
            let error = import(&device, foreign).await.unwrap_err();
            assert!(matches!(&error, Exit::Usage(_)), "{error}");
        }
        let lines = device.dir.path().join("data/models/lines");
        let line = fs::read_dir(lines).unwrap().next().unwrap().unwrap().path();
        fs::write(line.join("0000000001/model.safetensors"), b"x").unwrap();
        let show = ShowModel(which(Some(1)));
        let error = device.request(show).await.unwrap_err();
        // A stopped agent's directory is looked through as it is opened, a running one's as asked.
        assert!(error.to_string().contains("set aside"), "{error}");
        assert!(list(&device, "*").await.is_empty());
        device.stop().await;
    }
}

#[test]
fn only_a_regular_file_of_a_models_size_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let _socket = UnixListener::bind(path("socket")).unwrap();
    let large = fs::File::create(path("large")).unwrap();
    large
        .set_len(dunlin_models::registry::ARTIFACT_BYTES_MAX + 1)
        .unwrap();
    for (name, hint) in [
        ("none", "No such file"),
        ("", "regular file"),
        ("socket", "regular file"),
        ("large", "larger than a model may be"),
    ] {
        let error = read_model(&path(name)).unwrap_err();
        assert!(
            matches!(&error, Exit::Usage(text) if text.contains(hint)),
            "{error}"
        );
    }
}
