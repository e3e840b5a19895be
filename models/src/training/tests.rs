#![allow(clippy::unwrap_used)]
use super::*;

fn input(network: &Network, samples: usize) -> Vec<f32> {
    let mut random = Random::new(7, 1);
    let count = network.inputs * samples;
    (0..count).map(|_| random.uniform(2.0)).collect()
}

/// A network with every kind of layer, one with an odd number of rows.
fn convolutional() -> Network {
    let conv = |rows, channels, filters, stride| Layer::Conv {
        rows,
        channels,
        filters,
        kernel: 5,
        stride,
    };
    let layers = vec![
        conv(9, 3, 4, 2),
        Layer::Relu,
        Layer::Double {
            rows: 5,
            channels: 4,
            rows_out: 9,
        },
        conv(9, 4, 6, 1),
        Layer::Relu,
        Layer::MeanRows {
            rows: 9,
            channels: 6,
        },
        Layer::Dense {
            inputs: 6,
            outputs: 2,
        },
    ];
    Network::new(27, layers).unwrap()
}

fn dense() -> Network {
    Network::new(40, perceptron(&[40, 24, 5, 7])).unwrap()
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let room = 1e-5 * expected.abs().max(1.0);
        assert!(
            (found - expected).abs() < room,
            "{what} {at}: {found} {expected}"
        );
    }
}

#[test]
fn the_answer_by_hand_is_that_of_burn() {
    for network in [dense(), convolutional()] {
        let mut parameters = network.initial(&mut Random::new(3, 0));
        for (at, parameter) in parameters.iter_mut().enumerate() {
            *parameter += (at % 3) as f32 * 0.01;
        }
        let inputs = input(&network, 4);
        let graph = Graph::forward(&network, &parameters, &inputs, 4, false);
        let expected = graph.outputs().unwrap();
        let mut room = Vec::new();
        let mut found = Vec::new();
        for row in inputs.chunks(network.inputs) {
            let mut answer = row.to_vec();
            network.answer(&parameters, &mut answer, &mut room);
            found.extend(answer);
        }
        close(&found, &expected, "answer");
        if network.is_dense() {
            let found = Dense::default()
                .forward(&network, &parameters, &inputs, 4)
                .clone();
            close(&found, &expected, "batch");
        }
    }
}

#[test]
fn the_gradient_by_hand_is_that_of_burn() {
    let network = dense();
    let parameters = network.initial(&mut Random::new(3, 0));
    let inputs = input(&network, 6);
    let slope: Vec<f32> = (0..42).map(|x| (x % 5) as f32 - 1.5).collect();

    let mut expected = vec![0.0; network.parameters()];
    let graph = Graph::forward(&network, &parameters, &inputs, 6, true);
    graph.backward(&network, &slope, &mut expected).unwrap();

    let mut found = vec![9.0; network.parameters()];
    let mut dense = Dense::default();
    dense
        .forward(&network, &parameters, &inputs, 6)
        .copy_from_slice(&slope);
    dense.backward(&network, &parameters, &inputs, &mut found);
    close(&found, &expected, "gradient");
}

#[test]
fn the_gradient_of_convolutions_is_what_small_differences_show() {
    let network = convolutional();
    let parameters = network.initial(&mut Random::new(3, 0));
    let inputs = input(&network, 3);
    let targets = vec![0.0; 6];
    let loss_at = |parameters: &[f32]| {
        let graph = Graph::forward(&network, parameters, &inputs, 3, false);
        let mut outputs = graph.outputs().unwrap();
        Loss::Squares.differentiate(&mut outputs, &targets, 3)
    };
    let graph = Graph::forward(&network, &parameters, &inputs, 3, true);
    let mut slope = graph.outputs().unwrap();
    Loss::Squares.differentiate(&mut slope, &targets, 3);
    let mut gradient = vec![0.0; network.parameters()];
    graph.backward(&network, &slope, &mut gradient).unwrap();
    for at in (0..parameters.len()).step_by(5) {
        let moved = |by: f32| {
            let mut parameters = parameters.clone();
            parameters[at] += by;
            loss_at(&parameters)
        };
        let expected = ((moved(1e-2) - moved(-1e-2)) / 2e-2) as f32;
        assert!(
            (gradient[at] - expected).abs() < 2e-3,
            "{at}: {} {expected}",
            gradient[at]
        );
    }
}

#[test]
fn a_network_too_great_or_that_does_not_fit_together_is_refused() {
    let refused = |inputs, layers| Network::new(inputs, layers).unwrap_err();
    assert!(refused(1 << 20, perceptron(&[1 << 20, 1 << 20])).contains("parameters"));
    assert!(refused(5, perceptron(&[4, 3])).contains("does not take 5"));
    assert!(refused(4, perceptron(&[4, 0])).contains("would give 0"));
    let conv = |rows, filters, kernel, stride| Layer::Conv {
        rows,
        channels: 1,
        filters,
        kernel,
        stride,
    };
    refused(65_536, vec![conv(65_536, 65_536, 3, 2)]);
    refused(usize::MAX, vec![conv(usize::MAX, usize::MAX, 3, 2)]);
    refused(8, vec![conv(8, 2, 4, 1)]);
    refused(8, vec![conv(8, 2, 3, 0)]);
    let double = |rows, rows_out| Layer::Double {
        rows,
        channels: 2,
        rows_out,
    };
    refused(8, vec![double(4, 9)]);
    assert_eq!(Network::new(8, vec![double(4, 7)]).unwrap().outputs(), 14);
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let network = Network::new(3, perceptron(&[3, 2])).unwrap();
    let loss = Loss::CrossEntropy {
        weights: vec![1.0; 2],
    };
    let learn = |inputs: &[f32], targets: &[f32]| {
        let batch = MiniBatch {
            inputs: inputs.to_vec(),
            targets: targets.to_vec(),
            samples: 1,
            windows: 1,
        };
        Engine::new(&network).learn(&network, &[0.1; 8], &loss, &batch)
    };
    assert!(learn(&[1.0; 3], &[1.0]).is_ok());
    for (inputs, target) in [(&[1.0; 2][..], 1.0), (&[1.0; 3], 2.0), (&[1.0; 3], -1.0)] {
        let refused = learn(inputs, &[target]);
        assert!(matches!(refused, Err(TrainError::Recipe(_))));
    }
    assert!(learn(&[1.0; 3], &[f32::NAN]).is_err());
}
