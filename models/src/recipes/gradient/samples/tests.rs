use super::*;

#[test]
fn trend_and_rest_add_up_and_the_trend_is_the_moving_mean() {
    for length in [1, 2, 24, 25, 60] {
        let series: Vec<f32> = (0..length).map(|x| (x * x % 17) as f32).collect();
        let mut values = vec![9.0];
        values.extend(&series);
        put_trend_beside(&mut values, 1);
        let (rest, trend) = values[1..].split_at(length);
        for (at, value) in series.iter().enumerate() {
            assert!((rest[at] + trend[at] - value).abs() < 1e-5);
            let near = (0..25).map(|step| (at + step).saturating_sub(12).min(length - 1));
            let mean = near.map(|near| series[near]).sum::<f32>() / 25.0;
            assert!((trend[at] - mean).abs() < 1e-4, "{length} {at}");
        }
    }
}
