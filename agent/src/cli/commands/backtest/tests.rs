#![allow(clippy::unwrap_used)]
use std::{fmt::Write as _, path::Path};

use clap::Parser;
use dunlin_models::{
    artifact::{Artifact, ArtifactError},
    data::Source,
    recipe::{Host, Model, Output, Scratch},
};
use serde_json::Value;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: BacktestArgs,
}

fn try_backtest(file: &Path, rest: &str) -> Result<Value, Exit> {
    let words = ["backtest", "--csv", file.to_str().unwrap()];
    let words = words.into_iter().chain(rest.split_whitespace());
    let args = Cli::try_parse_from(words).unwrap().args;
    let report = backtest(&args)?;
    assert!(report.text().contains("trained in"), "{}", report.text());
    if let Some(path) = &args.plot {
        plot::write(path, &report.charts).unwrap();
    }
    Ok(serde_json::from_str(&report.json()).unwrap())
}

fn of(text: &str, rest: &str) -> Result<Value, Exit> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.csv");
    std::fs::write(&path, text).unwrap();
    try_backtest(&path, rest)
}

fn refusal(text: &str, rest: &str) -> String {
    match of(text, rest) {
        Err(Exit::Usage(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn noise(row: usize) -> f64 {
    ((row * 7_919 + 13) % 101) as f64 / 101.0 - 0.5
}

/// Two waves; a fault in rows 700..760.
fn waves(rows: usize, delimiter: char) -> String {
    let d = delimiter;
    let mut text = format!("time{d}a{d}b{d}fault{d}note\n");
    for row in 0..rows {
        let wave = (row as f64 * 0.4).sin();
        let is_fault = (700..760).contains(&row);
        let a = wave + 0.1 * noise(row);
        let b = 5.0 * wave + noise(row + 50) + if is_fault { 6.0 } else { 0.0 };
        let fault = u8::from(is_fault);
        let minute = row / 60;
        writeln!(
            text,
            "2026-01-{:02} {:02}:{:02}:{:02}{d}{a}{d}{b}{d}{fault}{d}fine",
            minute / 1440 + 1,
            minute / 60 % 24,
            minute % 60,
            row % 60,
        )
        .unwrap();
    }
    text
}

#[test]
fn a_forecast_is_judged_on_every_window_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let (csv, svg) = (dir.path().join("a.csv"), dir.path().join("a.svg"));
    std::fs::write(&csv, waves(600, ',')).unwrap();
    let rest = format!(
        "--task forecast --lookback 24 --horizon 4 --train-rows 300 --validation-rows 100 \
         --test-rows 150 --ignore note fault --plot {}",
        svg.display()
    );
    let report = try_backtest(&csv, &rest).unwrap();
    let pooled = &report["pooled"];
    assert_eq!(pooled["windows"], 150 - 4 + 1);
    let (error, naive) = (&pooled["mse"], &pooled["baseline"]["mse"]);
    assert!(error.as_f64() < naive.as_f64(), "{pooled}");
    assert!(error.as_f64().unwrap() < 0.2, "{pooled}");
    assert!(pooled["mae_by_channel"]["b"].is_number(), "{pooled}");
    assert!(std::fs::read_to_string(&svg).unwrap().contains("measured"));
}

#[test]
fn rows_without_time_and_with_missing_values_are_taken_as_they_come() {
    let mut text = "a\tb\n".to_owned();
    for row in 0..500 {
        let value = (row as f64 * 0.4).sin();
        match row {
            450 => text.push_str("\t1\n"),
            20 => text.push_str("1\t2\t3\n"),
            30 => text.push_str("nan\t1\n"),
            _ => writeln!(text, "{value}\t{}", value + noise(row)).unwrap(),
        }
    }
    let report = of(&text, "--task forecast --lookback 12 --horizon 4").unwrap();
    // 100 rows to judge by; 97 windows, 16 of which touch row 450.
    assert_eq!(report["pooled"]["windows"], 97 - 16);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("1 line taken as missing"), "{warnings}");
    assert!(warnings.contains("2 missing values"), "{warnings}");
}

#[test]
fn a_fault_is_flagged_without_a_look_at_its_label() {
    let rest = "--task anomaly --fit-rows 500 --label fault --ignore note --delimiter ;";
    let text = waves(1_000, ';');
    let report = of(&text, rest).unwrap();
    let pooled = &report["pooled"];
    assert_eq!(
        (&pooled["spans"], &pooled["spans_hit"]),
        (&1.into(), &1.into())
    );
    assert_eq!(pooled["rows_judged"], 500);
    assert!(pooled["f1"].as_f64().unwrap() > 0.8, "{pooled}");
    assert!(
        pooled["false_alarm_rate"].as_f64().unwrap() < 0.05,
        "{pooled}"
    );
    // The label turned round: the flags stay.
    let turned = text
        .replace(";0;fine", ";2;fine")
        .replace(";1;fine", ";0;fine");
    let turned = of(&turned, rest).unwrap();
    assert_eq!(turned["pooled"]["flagged"], pooled["flagged"]);
    let unlabelled = of(
        &text,
        &rest
            .replace("--label fault", "")
            .replace("note", "note fault"),
    );
    let unlabelled = unlabelled.unwrap();
    assert_eq!(unlabelled["pooled"]["flagged"], pooled["flagged"]);
    assert!(unlabelled["pooled"]["f1"].is_null());
}

#[test]
fn labelled_spans_come_from_a_file_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (csv, json) = (dir.path().join("a.csv"), dir.path().join("w.json"));
    std::fs::write(&csv, waves(1_000, ',')).unwrap();
    // Rows 700 to 759, and one among those to fit.
    let text = r#"{"a.csv": [["2026-01-01 00:11:40", "2026-01-01 00:12:39"],
                             ["2026-01-01 00:00:00", "2026-01-01 00:00:09"]]}"#;
    std::fs::write(&json, text).unwrap();
    let rest = format!(
        "--task anomaly --fit-rows 500 --ignore note fault --windows {}",
        json.display()
    );
    let report = try_backtest(&csv, &rest).unwrap();
    assert_eq!(report["pooled"]["spans"], 1);
    assert_eq!(report["pooled"]["spans_hit"], 1);
}

#[test]
fn a_number_is_estimated_before_it_is_learnt() {
    let mut text = "a,b,y\n".to_owned();
    for row in 0..900 {
        let (a, b) = (noise(row), noise(row * 3 + 1));
        let sign = if row < 500 { 1.0 } else { -1.0 };
        writeln!(text, "{a},{b},{}", sign * (3.0 * a - b) + 1.0).unwrap();
    }
    let rest = "--task regress --label y --fit-rows 200 --learn-every 50";
    let pooled = of(&text, rest).unwrap()["pooled"].clone();
    assert_eq!(pooled["predictions"], 700);
    // Right until the relation turns round, which nobody can know beforehand.
    let mae = pooled["mae"].as_f64().unwrap();
    assert!(mae > 0.1 && mae < pooled["baseline"]["last_mae"].as_f64().unwrap());
    let before: String = text
        .lines()
        .take(501)
        .fold(String::new(), |all, line| all + line + "\n");
    let pooled = of(&before, rest).unwrap()["pooled"].clone();
    assert!(pooled["rmse"].as_f64().unwrap() < 0.01, "{pooled}");
}

/// Classifies by the sign of the first feature of the window's last row.
struct Sign;

impl Recipe for Sign {
    fn problem(&self) -> Problem {
        Problem::Classify
    }

    fn shape(&self) -> WindowShape {
        WindowShape {
            lookback: 2,
            horizon: 0,
        }
    }

    fn train(
        &self,
        data: &dyn Source,
        incumbent: Option<&dyn Model>,
        _: u64,
        _: &mut dyn Host,
    ) -> Result<Box<dyn Model>, TrainError> {
        assert_eq!(data.columns().classes, ["up", "down"]);
        assert_eq!(data.chunks(), 1 + usize::from(incumbent.is_some()));
        Ok(Box::new(Self))
    }

    fn load(&self, _: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        Ok(Box::new(Self))
    }
}

impl Model for Sign {
    fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
        let up = f32::from(u8::from(input[1] > 0.0));
        output.values = vec![up, 1.0 - up];
    }

    fn save(&self) -> Artifact {
        Artifact::default()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[test]
fn a_class_is_predicted_before_it_is_learnt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let mut text = "a,state\n".to_owned();
    for row in 0..300 {
        // Three rows up, one down; every tenth one contrary.
        let up = row % 4 != 3;
        let sign = if up == (row % 10 == 0) { -1 } else { 1 };
        writeln!(text, "{sign},{}", if up { "up" } else { "down" }).unwrap();
    }
    std::fs::write(&path, text).unwrap();
    let words = "backtest --csv x --task classify --label state --lookback 2 --fit-rows 100";
    let args = Cli::try_parse_from(words.split(' ')).unwrap().args;
    let job = Job {
        args: &args,
        settings: &settings(&args).unwrap(),
        recipe: &Sign,
        bar: ProgressBar::hidden(),
    };
    let reading = Reading {
        time: None,
        delimiter: None,
        label: Some("state"),
        ignore: &[],
        task: Problem::Classify,
    };
    let table = read::read(&path, &reading).unwrap();
    let mut report = Report::new(Algorithm::MlpClassifier);
    prequential::run(&job, &table, &mut report).unwrap();
    let report: Value = serde_json::from_str(&report.json()).unwrap();
    let pooled = &report["pooled"];
    assert_eq!(pooled["predictions"], 200);
    assert_eq!(pooled["accuracy"], 0.9);
    // Up, up, up, down: the last class is right half of the time, the most frequent three quarters.
    assert_eq!(pooled["baseline"]["last_class_accuracy"], 0.5);
    assert_eq!(pooled["baseline"]["majority_accuracy"], 0.75);
    assert!((pooled["kappa_temporal"].as_f64().unwrap() - 0.8).abs() < 1e-9);
}

/// Pieces of ten rows of a wave, slow or fast, with the class at the last row alone.
fn pieces(count: usize) -> String {
    let mut text = "a,b,state\n".to_owned();
    for row in 0..count * 10 {
        let is_fast = row / 10 % 3 == 0;
        let wave = (row as f64 * if is_fast { 1.6 } else { 0.3 }).sin() + 0.1 * noise(row);
        let class = match (row % 10, is_fast) {
            (9, true) => "fast",
            (9, false) => "slow",
            _ => "",
        };
        writeln!(text, "{wave},{},{class}", wave * 20.0 + noise(row + 7)).unwrap();
    }
    text
}

#[test]
fn windows_with_a_class_at_their_end_are_told_apart_by_default() {
    let rest = "--task classify --label state --lookback 10";
    let report = of(&pieces(120), rest).unwrap();
    assert_eq!(report["recipe"], "rocket", "{report}");
    let pooled = &report["pooled"];
    assert_eq!(pooled["predictions"], 80);
    assert!(pooled["accuracy"].as_f64().unwrap() > 0.95, "{pooled}");
    // What comes later changes no answer before.
    let more = pieces(120) + &"5,-3,\n".repeat(200);
    let more = of(&more, rest).unwrap()["pooled"].clone();
    assert_eq!(more["predictions"], pooled["predictions"]);
    assert_eq!(more["accuracy"], pooled["accuracy"]);
}

#[test]
fn classes_are_judged_beside_the_last_and_the_most_frequent() {
    let mut errors = errors::Errors {
        count: 10,
        absolute: [1.0, 4.0, 5.0],
        squared: [1.0, 4.0, 5.0],
        refused: 0,
    };
    assert_eq!(errors.kappa_temporal(), Some(0.75));
    errors.absolute[1] = 0.0;
    assert_eq!(errors.kappa_temporal(), None);
}

#[test]
fn what_a_file_does_not_allow_is_said_with_its_name_and_a_way_out() {
    let text = waves(100, ',');
    for (rest, parts) in [
        ("--task forecast", &["data.csv", "--ignore note"][..]),
        (
            "--task forecast --ignore note",
            &["needed: 432 ", "at most 80"],
        ),
        (
            "--task forecast --ignore note --train-rows 99 --test-rows 99",
            &["found: 100"],
        ),
        (
            "--task anomaly --ignore note",
            &["400", "found: 100", "--fit-rows"],
        ),
        (
            "--task anomaly --label none",
            &["no column none", "a, b, fault, note"],
        ),
        ("--task anomaly --label note", &["note", "text"]),
        ("--task regress --ignore note", &["--label"]),
        (
            "--task anomaly --recipe ridge --ignore note",
            &["ridge", "anomaly"],
        ),
        ("--task anomaly --lookback 0 --ignore note", &["lookback"]),
        (
            "--task anomaly --time a --ignore note",
            &["does not hold times"],
        ),
        (
            "--task anomaly --ignore a b note fault",
            &["no column of numbers"],
        ),
    ] {
        let error = refusal(&text, rest);
        for part in parts {
            assert!(error.contains(part), "{rest}: {error}");
        }
    }
    assert!(refusal("", "--task anomaly").contains("empty"));
    assert!(refusal("a,b\n", "--task anomaly").contains("no data"));
    let missing = try_backtest(Path::new("/no/such.csv"), "--task anomaly").unwrap_err();
    assert!(matches!(missing, Exit::Failed(_)), "{missing}");
    let recipe = [
        "backtest", "--csv", "x", "--task", "anomaly", "--recipe", "none",
    ];
    let error = Cli::try_parse_from(recipe).err().unwrap().to_string();
    assert!(error.contains("ridge_nlinear"), "{error}");
}

/// The published data, where there is a copy: `DUNLIN_DATA=dir cargo test`.
#[test]
fn published_figures_are_reached() {
    let Some(data) = std::env::var_os("DUNLIN_DATA").map(PathBuf::from) else {
        println!("skipped: DUNLIN_DATA names no directory with the published data");
        return;
    };
    let rest = "--task forecast --time date --lookback 512 --horizon 96 --train-rows 8640 \
                --validation-rows 2880 --test-rows 2880";
    let report = try_backtest(&data.join("etth1/ETTh1.csv"), rest).unwrap();
    assert_eq!(report["pooled"]["windows"], 2_785);
    assert!(report["pooled"]["mse"].as_f64().unwrap() <= 0.368);

    let mut files = Vec::new();
    for (dir, count) in [("valve1", 16), ("valve2", 4)] {
        files.extend((0..count).map(|file| data.join(format!("skab/{dir}/{file}.csv"))));
    }
    let more: Vec<&str> = files[1..]
        .iter()
        .map(|file| file.to_str().unwrap())
        .collect();
    let rest = format!(
        "{} --task anomaly --fit-rows 400 --label anomaly --delimiter ; --ignore changepoint \
         --false-alarm-rate 0.001",
        more.join(" ")
    );
    let pooled = try_backtest(&files[0], &rest).unwrap()["pooled"].clone();
    assert!(pooled["f1"].as_f64().unwrap() >= 0.78, "{pooled}");
    assert!(
        pooled["false_alarm_rate"].as_f64().unwrap() <= 0.25,
        "{pooled}"
    );

    let rest = format!(
        "--task anomaly --fit-rows 1000 --lookback 288 --variance-kept 0.8 \
         --false-alarm-rate 0.001 --windows {}",
        data.join("nab/combined_windows.json").display()
    );
    let file = data.join("nab/realKnownCause/machine_temperature_system_failure.csv");
    let pooled = try_backtest(&file, &rest).unwrap()["pooled"].clone();
    assert_eq!(pooled["spans"], pooled["spans_hit"], "{pooled}");
    assert!(
        pooled["false_alarms_a_month"].as_f64().unwrap() <= 5.0,
        "{pooled}"
    );
}

#[test]
fn irregular_rows_are_judged_on_a_grid() {
    // A wave seen twice a second at first, then every two; a value of each column in a row of its own.
    let mut text = String::from("time,a,b\n");
    let (mut at, mut row) = (0.0_f64, 0);
    while at < 3_000.0 {
        let value = (at * 0.2).sin();
        let (minute, second) = ((at / 60.0) as u64, at % 60.0);
        let (hour, minute) = (minute / 60, minute % 60);
        let cells = if row % 2 == 0 {
            format!("{value},")
        } else {
            format!(",{}", 5.0 * value)
        };
        writeln!(
            text,
            "2026-01-01T{hour:02}:{minute:02}:{second:06.3}Z,{cells}"
        )
        .unwrap();
        at += if at < 1_500.0 { 0.5 } else { 1.0 };
        row += 1;
    }
    let rest = "--task forecast --lookback 60 --horizon 5";
    let bare = of(&text, rest);
    assert!(bare.is_err(), "no window is whole: {bare:?}");
    let words = "--every 2s --how interpolate --fill-ms-max 4000";
    let found = of(&text, &format!("{rest} {words}")).unwrap();
    let rows = found["files"][0]["rows"].as_u64().unwrap();
    assert!((1_490..=1_500).contains(&rows), "{rows}");
    let mse = found["files"][0]["mse"].as_f64().unwrap();
    assert!(mse < 0.01, "{found:#}");

    let refused = refusal("a,b\n1,2\n3,4\n", &format!("{rest} --every 2s"));
    assert!(
        refused.ends_with("a grid needs times; name the column with --time"),
        "{refused}"
    );
}

#[test]
fn an_export_is_judged_on_a_grid_by_its_source_times() {
    let mut text = "ts,time,is_train,fold,source_ts,stream,tag.device,a\n".to_owned();
    for row in 0..600_u64 {
        let ns = row * 500_000_000;
        let source_ts = if row % 2 == 0 {
            ns.to_string()
        } else {
            String::new()
        };
        let value = (row as f64 * 0.4).sin();
        writeln!(
            text,
            "{ns},1970-01-01T00:00:00Z,true,0,{source_ts},m/1,\"pi\",{value}"
        )
        .unwrap();
    }
    let rest = "--task forecast --lookback 16 --horizon 4 --every 1s";
    of(&text, rest).unwrap();
}
