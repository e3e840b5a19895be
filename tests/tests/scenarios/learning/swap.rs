//! Another version every second at 5,000 records/s: every record due an answer has one.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use dunlin_agent::admin::operations::{ExportModel, ImportModel, ListModels, PromoteModel, Which};
use dunlin_tests::{device::Control, records::STREAMS};

use super::school::School;

const RATE_PER_S: f64 = 5_000.0;
const SECONDS: u64 = 10;
/// Between two rounds of promotions.
const ROUND: Duration = Duration::from_secs(1);

#[test]
fn versions_swapped_every_second_at_5000_records_a_second_skip_none_and_answer_none_twice() {
    let recipe = |windows_min: u32| {
        format!(
            "algorithm = \"pca\"\nfeatures = [\"v\"]\nlookback = 4\nmargin = 0.0\n\
             min_start_count = 600\nwindows_min = {windows_min}\nmin_update_count = 1000000000\n"
        )
    };
    let mut school = School::new("versions_max = 64", &[("health", &recipe(20))]);
    school.world.device.set("--buffer-commit-gap-ms-min", 0);
    school.world.start();
    school.world.publish(4_000);
    school.wait("a model a stream", |s| s.learn.models_promoted == STREAMS);
    school.next = 4_000;
    // From now on nobody but us promotes: the gate wants more windows than there will be.
    school.world.stop();
    school.configure("versions_max = 64", &[("health", &recipe(1_000_000_000))]);
    school.world.start();

    let control = school.world.device.control();
    let is_over = AtomicBool::new(false);
    let (began, rounds) = thread::scope(|scope| {
        let promoter = scope.spawn(|| promote_all_the_time(&control, &is_over));
        let began = Instant::now();
        let count = SECONDS * RATE_PER_S as u64;
        school.world.publish_at(count, Some(RATE_PER_S));
        school.world.all_acknowledged();
        school.next += count;
        is_over.store(true, Relaxed);
        (began, promoter.join().unwrap())
    });
    let rate = SECONDS as f64 * RATE_PER_S / began.elapsed().as_secs_f64();
    let answers = school.every_record_is_answered_once("health");
    println!("{rate:.0} records/s, {rounds} rounds of promotions, {answers} answers");

    // In order: a stream's answers follow its records, and no version answers after a later one.
    let rows =
        school.rows("SELECT stream, last_ts, version FROM dunlin_predictions ORDER BY stream, ts");
    let mut lines: BTreeMap<&str, Vec<(i64, u64)>> = BTreeMap::new();
    for row in &rows {
        let answer = (row[1].parse().unwrap(), row[2].parse().unwrap());
        lines.entry(&row[0]).or_default().push(answer);
    }
    assert_eq!(lines.len() as u64, STREAMS);
    for (stream, answers) in lines {
        assert!(
            answers.is_sorted_by(|a, b| a.0 < b.0),
            "{stream}: not in order"
        );
        assert!(
            answers.is_sorted_by(|a, b| a.1 <= b.1),
            "{stream}: back to an old version"
        );
        let versions = answers.chunk_by(|a, b| a.1 == b.1).count() as u64;
        assert!(
            versions > rounds / 2,
            "{stream}: {versions} versions in {rounds} rounds"
        );
    }
    school.world.stop();
}

/// Lets a new version of every line serve, every second; the same model each time, so that none is
/// worse than the one before. Returns how often.
fn promote_all_the_time(control: &Control, is_over: &AtomicBool) -> u64 {
    let list = ListModels {
        recipe: None,
        stream: None,
    };
    let (lines, _) = control.request(list).unwrap();
    let files: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let which = Which {
                key: line.key.clone(),
                number: None,
            };
            let (_, bytes) = control.request(ExportModel(which)).unwrap();
            (line.key, bytes)
        })
        .collect();
    let (mut rounds, mut next) = (0, Instant::now());
    while !is_over.load(Relaxed) {
        for (key, bytes) in &files {
            let import = ImportModel {
                key: key.clone(),
                bytes: bytes.clone(),
                status: None,
            };
            let (version, _) = control.request(import).unwrap();
            let promote = PromoteModel {
                key: key.clone(),
                number: version.version.number,
                status: None,
                replaced: None,
            };
            control.request(promote).unwrap();
        }
        rounds += 1;
        next += ROUND;
        // The pace.
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    rounds
}
