#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn draws_what_there_is_even_if_nothing() {
    assert!(draw(&[]).unwrap().contains("</svg>"));
    assert!(draw(&[Chart::default()]).unwrap().contains("</svg>"));
    let chart = Chart {
        title: "scores".into(),
        lines: vec![Line {
            name: "score <1>".into(),
            points: vec![
                (0.0, 1.0),
                (1.0, f64::NAN),
                (2.0, f64::INFINITY),
                (3.0, 1.0),
            ],
        }],
        shaded: vec![1.0..2.0],
        level: Some(1.0),
        ..Chart::default()
    };
    let svg = draw(&[chart.clone(), chart]).unwrap();
    assert_eq!(svg.matches("scores").count(), 2);
    assert!(svg.contains("score &lt;1&gt;"), "{svg}");
}

#[test]
fn a_long_line_is_thinned_and_keeps_its_peak() {
    let points: Vec<_> = (0..100_000)
        .map(|x| (f64::from(x), f64::from(u8::from(x == 54_321))))
        .collect();
    let thinned = thinned(&points);
    assert!(thinned.len() <= POINTS_MAX);
    assert!(thinned.contains(&(54_321.0, 1.0)));
    assert!(thinned.is_sorted_by_key(|point| point.0));
}
