#![allow(clippy::unwrap_used, clippy::float_cmp)]
use std::{fs, sync::Arc};

use dunlin_models::{
    data::{Columns, InMemory, Rows},
    recipe::NullHost,
};

use super::*;

const CONFIG: &str = r#"
[[recipe]]
name = "health"
algorithm = "ridge"
streams = "press/*"
features = ["a"]
label = "power"
lookback = 2
min_start_count = 50
"#;

fn data(from: usize) -> InMemory {
    let mut rows = Rows::default();
    for at in from..from + 40 {
        let value = (at * 7_919 % 101) as f32;
        rows.ts.push(at as i64);
        rows.values.push(value);
        rows.label.push(2.0 * value + from as f32);
        rows.is_train.push(true);
    }
    InMemory {
        columns: Columns {
            features: vec!["a".into()],
            label: Some("power".into()),
            classes: Vec::new(),
        },
        chunks: vec![Arc::new(rows)],
        ..InMemory::default()
    }
}

/// Files of two models and a configuration, and a merge of them.
fn prepared(dir: &Path) -> MergeArgs {
    let config = dir.join("dunlin.toml");
    fs::write(&config, CONFIG).unwrap();
    let recipe = rule(&config, "health").unwrap().recipe.build().unwrap();
    let models = [0, 1_000].map(|from| {
        let path = dir.join(format!("{from}.safetensors"));
        let model = recipe.train(&data(from), None, 1, &mut NullHost::default());
        fs::write(&path, model.unwrap().save().to_bytes().unwrap()).unwrap();
        path
    });
    MergeArgs {
        models: models.to_vec(),
        config,
        recipe: "health".into(),
        output: dir.join("out.safetensors"),
        weights: None,
        json: false,
    }
}

#[test]
fn files_of_two_devices_become_one_model_that_any_agent_reads() {
    let dir = tempfile::tempdir().unwrap();
    let args = prepared(dir.path());
    let written = merge(&args).unwrap();
    assert_eq!((written.models, written.windows), (2, 78.0));
    let rule = rule(&args.config, "health").unwrap();
    let recipe = rule.recipe.build().unwrap();
    let mut room = MODELS_BYTES_MAX;
    load(&*recipe, &rule.features, &args.output, &mut room).unwrap();
    assert_eq!(MODELS_BYTES_MAX - room, written.bytes);
    let doubled = MergeArgs {
        weights: Some(vec![1.0, 3.0]),
        ..prepared(dir.path())
    };
    assert_eq!(merge(&doubled).unwrap().windows, 156.0);
    assert!(run(&doubled).is_ok());
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 4, "nothing is left beside the files");
}

#[test]
fn a_refusal_names_the_file_and_leaves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |args: &MergeArgs| {
        let error = merge(args).unwrap_err();
        assert!(matches!(error, Exit::Usage(_)), "{error}");
        assert!(!args.output.exists());
        error.to_string()
    };
    let args = prepared(dir.path());
    let other = CONFIG.replace("lookback = 2", "lookback = 3");
    fs::write(&args.config, other).unwrap();
    let text = refused(&args);
    assert!(
        text.contains("0.safetensors: the artifact does not fit"),
        "{text}"
    );
    let other = CONFIG.replace("lookback = 2", "lookback = 2\nridge = 0.5");
    fs::write(&args.config, other).unwrap();
    let text = refused(&args);
    assert!(
        text.ends_with("0.safetensors: it was made with ridge = 0.01, the recipe says 0.5"),
        "{text}"
    );
    let other = CONFIG.replace("features = [\"a\"]", "features = [\"b\"]");
    fs::write(&args.config, other).unwrap();
    let text = refused(&args);
    assert!(
        text.ends_with("0.safetensors: it is for the fields [\"a\"], and the recipe's are [\"b\"]"),
        "{text}"
    );
    let args = MergeArgs {
        weights: Some(vec![1.0]),
        ..prepared(dir.path())
    };
    assert_eq!(refused(&args), "1 weights for 2 models: one each");
    let mut args = prepared(dir.path());
    args.models.push(args.config.clone());
    let text = refused(&args);
    assert!(text.contains("dunlin.toml: the artifact"), "{text}");
    args.recipe = "nobody".into();
    let text = refused(&args);
    assert!(text.contains("no [[recipe]] called \"nobody\""), "{text}");
}
