#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    data::{Columns, InMemory, Rows, Subset},
    recipe::NullHost,
};

const SHAPE: WindowShape = WindowShape {
    lookback: 1,
    horizon: 0,
};

/// The greatest value seen; more is unlike the usual.
fn ceiling(name: &str, shape: WindowShape) -> Custom {
    Custom::new(
        name,
        Problem::Anomaly,
        shape,
        move |data, known, _, host| {
            let mut most = known.map_or(f32::NEG_INFINITY, |known| known[0]);
            for chunk in 0..data.chunks() {
                host.pace()?;
                let rows = data.read(chunk)?;
                for window in rows.windows(shape, 1, false, Subset::Train) {
                    most = most.max(rows.values[window.start]);
                }
            }
            Ok(vec![most])
        },
        |parameters, input, output| {
            output.score = input[0] / parameters[0];
            output.flag = output.score > 1.0;
        },
    )
}

fn data(values: &[f32]) -> InMemory {
    InMemory {
        columns: Columns {
            features: vec!["x".into()],
            ..Columns::default()
        },
        chunks: vec![Arc::new(Rows {
            ts: (0..values.len() as i64).collect(),
            values: values.to_vec(),
            is_train: vec![true; values.len()],
            ..Rows::default()
        })],
        ..InMemory::default()
    }
}

fn score(model: &dyn Model, input: f32) -> (f32, bool) {
    let mut output = Output {
        values: vec![9.0],
        score: 9.0,
        flag: true,
    };
    model.infer(&[input], &mut Scratch::default(), &mut output);
    assert!(output.values.is_empty(), "what was left of the one before");
    (output.score, output.flag)
}

#[test]
fn closures_train_answer_are_kept_and_fine_tuned() {
    let recipe = ceiling("ceiling", SHAPE);
    let train = |values: &[f32], before: Option<&dyn Model>| {
        let data = data(values);
        recipe
            .train(&data, before, 1, &mut NullHost::default())
            .unwrap()
    };
    let first = train(&[1.0, 2.0], None);
    assert_eq!(score(&*first, 1.0), (0.5, false));
    let bytes = first.save().to_bytes().unwrap();
    let loaded = recipe.load(&Artifact::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(score(&*loaded, 4.0), (2.0, true));
    let tuned = train(&[1.0], Some(&*loaded));
    assert_eq!(score(&*tuned, 4.0), (2.0, true), "nothing was forgotten");
}

#[test]
fn what_does_not_fit_is_refused() {
    let recipe = ceiling("ceiling", SHAPE);
    let host = &mut NullHost::default();
    let model = recipe.train(&data(&[1.0]), None, 1, host).unwrap();
    let artifact = model.save();
    assert!(ceiling("other", SHAPE).load(&artifact).is_err());
    let longer = WindowShape {
        lookback: 2,
        horizon: 0,
    };
    assert!(ceiling("ceiling", longer).load(&artifact).is_err());
    let other = ceiling("other", SHAPE);
    let tuned = other.train(&data(&[1.0]), Some(&*model), 1, host);
    assert!(matches!(tuned, Err(TrainError::Recipe(_))));
    // No rows: minus infinity is no parameter.
    let nothing = recipe.train(&data(&[]), None, 1, host);
    assert!(matches!(nothing, Err(TrainError::Recipe(_))));
    let mut bare = artifact;
    bare.tensors.clear();
    assert!(recipe.load(&bare).is_err());
}
