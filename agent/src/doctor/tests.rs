//! A machine made of files, a broker that lets in or does not, directories in every state.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use super::*;
use crate::{
    config::{self, Overrides},
    record::clock::{EARLIEST_NS, Manual},
    simulate::broker::EmbeddedBroker,
    store::Store,
};

fn settings(data_dir: &Path, set: &[(&str, &str)]) -> Settings {
    let overrides = Overrides::default()
        .set("data_dir", data_dir.to_str().unwrap())
        .set("mqtt.url", "mqtt://127.0.0.1:1")
        .set("upstream.url", "tdengine://127.0.0.1:1/plant")
        .set("http.listen", "")
        .topic("plant=plant");
    let overrides = set
        .iter()
        .fold(overrides, |all, (path, text)| all.set(path, *text));
    config::load(None, &overrides).unwrap()
}

/// Level and text of what was found.
fn told(found: &Findings) -> Vec<(Level, &str)> {
    found.0.iter().map(|f| (f.level, f.what.as_str())).collect()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A machine with so much memory available, and a limit for this process's group.
fn machine(dir: &Path, available_kib: u64, limit: &str) -> Roots {
    let roots = Roots {
        proc: dir.join("proc"),
        sys: dir.join("sys"),
    };
    let meminfo = format!("MemTotal: 1000000 kB\nMemAvailable: {available_kib} kB\n");
    write(&roots.proc.join("meminfo"), &meminfo);
    write(
        &roots.proc.join("self/cgroup"),
        "0::/system.slice/dunlin.service\n",
    );
    let slice = roots.sys.join("fs/cgroup/system.slice");
    write(&slice.join("memory.max"), limit);
    write(&slice.join("dunlin.service/memory.max"), "max\n");
    roots
}

fn machine_told(roots: &Roots, heat_limit_c: Option<f64>) -> Vec<(&'static str, Level)> {
    let mut found = Findings::default();
    machine::examine(roots, heat_limit_c, &mut found);
    found.0.iter().map(|f| (f.about, f.level)).collect()
}

#[test]
fn memory_is_what_is_free_and_what_the_group_may_have() {
    let dir = tempfile::tempdir().unwrap();
    let level = |available, limit| machine_told(&machine(dir.path(), available, limit), None)[0].1;
    assert_eq!(level(500_000, "max\n"), Level::Ok);
    assert_eq!(level(500_000, "134217728\n"), Level::Ok);
    assert_eq!(level(500_000, "33554432\n"), Level::Warning);
    assert_eq!(level(40_000, "max\n"), Level::Warning);
    fs::remove_dir_all(dir.path().join("proc")).unwrap();
    let nothing = Roots {
        proc: dir.path().join("proc"),
        sys: dir.path().join("sys"),
    };
    assert_eq!(machine_told(&nothing, None)[0].1, Level::Note);
}

#[test]
fn heat_is_held_against_the_limit_of_learning() {
    let dir = tempfile::tempdir().unwrap();
    let roots = machine(dir.path(), 500_000, "max\n");
    assert_eq!(machine_told(&roots, None)[1], ("temperature", Level::Note));
    assert_eq!(machine_told(&roots, Some(75.0))[1].1, Level::Warning);
    let zone = roots.sys.join("class/thermal/thermal_zone0");
    write(&zone.join("type"), "cpu-thermal\n");
    write(&zone.join("temp"), "51234\n");
    assert_eq!(machine_told(&roots, Some(75.0))[1].1, Level::Ok);
    assert_eq!(machine_told(&roots, Some(50.0))[1].1, Level::Warning);
}

#[test]
fn a_clock_before_this_program_is_a_problem_and_an_unsynchronised_one_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("class/rtc/rtc0")).unwrap();
    let settings = settings(dir.path(), &[]);
    let level = |wall_ns, synchronised| {
        let mut found = Findings::default();
        let source = Manual::new(wall_ns, synchronised);
        clock::examine(&source, dir.path(), &settings, &mut found);
        assert_eq!(found.0.len(), 1, "{found:?}");
        found.0[0].level
    };
    let now = EARLIEST_NS + 86_400_000_000_000;
    assert_eq!(level(now, Some(true)), Level::Ok);
    assert_eq!(level(now, Some(false)), Level::Warning);
    assert_eq!(level(now, None), Level::Note);
    assert_eq!(level(0, Some(true)), Level::Problem);
    assert_eq!(level(EARLIEST_NS - 1, Some(true)), Level::Problem);
}

#[test]
fn what_others_may_change_or_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    fs::write(&file, "").unwrap();
    let level = |mode| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let mut found = Findings::default();
        files::examine(Some(&file), &[], &mut found);
        found.0[0].level
    };
    assert_eq!(level(0o640), Level::Ok);
    assert_eq!(level(0o666), Level::Warning);
}

async fn broker_told(settings: &Settings) -> Findings {
    let mut found = Findings::default();
    broker::examine(settings, &mut found).await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_lets_us_in_or_says_why_not_and_never_shows_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(Some(("ann", "hush-hush"))).unwrap();
    let url = |user: &str| format!("mqtt://{user}@{}", broker.v5);
    let good = settings(dir.path(), &[("mqtt.url", &url("ann:hush-hush"))]);
    let found = broker_told(&good).await;
    let first = told(&found)[0];
    assert_eq!(first.0, Level::Ok, "{found:?}");
    assert!(first.1.contains("as ann, with MQTT 5"), "{found:?}");
    // This broker has 100 under way, whatever it is told.
    let told_of = |what: &str| format!("{found:?}").contains(what);
    assert!(
        told_of("sends us 100 publishes without waiting"),
        "{found:?}"
    );
    assert!(
        told_of("keeps what is published while we are away"),
        "{found:?}"
    );
    assert!(!format!("{found:?}").contains("hush"), "{found:?}");

    let wrong = settings(dir.path(), &[("mqtt.url", &url("ann:hush-not"))]);
    let found = broker_told(&wrong).await;
    assert_eq!(told(&found)[0].0, Level::Problem, "{found:?}");
    assert!(!format!("{found:?}").contains("hush"), "{found:?}");

    let nobody = settings(dir.path(), &[]);
    let found = broker_told(&nobody).await;
    assert!(
        matches!(&told(&found)[..], [(Level::Problem, what)] if what.contains("refused")),
        "{found:?}"
    );

    let tls = format!("mqtts://{}", broker.v5);
    let tls = settings(dir.path(), &[("mqtt.url", &tls)]);
    let found = broker_told(&tls).await;
    assert_eq!(told(&found)[0].0, Level::Problem, "{found:?}");

    let old = format!("mqtt://ann:hush-hush@{}", broker.v311);
    let old = settings(dir.path(), &[("mqtt.url", &old), ("mqtt.version", "3.1.1")]);
    let found = broker_told(&old).await;
    assert!(told(&found)[0].1.contains("MQTT 3.1.1"), "{found:?}");
}

async fn data_told(dir: &Path) -> Findings {
    let mut found = Findings::default();
    data::examine(&settings(dir, &[]), &mut found).await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_renamed_is_told_with_the_client_id_that_stays() {
    let dir = tempfile::tempdir().unwrap();
    let named = |device: &str| settings(dir.path(), &[("device", device)]);
    let told_of = async |device: &str| {
        let mut found = Findings::default();
        data::examine(&named(device), &mut found).await;
        found
    };
    drop(Store::open(&named("press-7")).unwrap());
    let found = told_of("press-7").await;
    assert!(
        !told(&found)
            .iter()
            .any(|(_, what)| what.contains("press-7")),
        "{found:?}"
    );
    let found = told_of("press-8").await;
    let of = |level: Level, words: &str| {
        let mut all = found.0.iter();
        all.any(|f| f.level == level && f.what.contains(words) && f.advice.contains("press-7"))
    };
    assert!(
        of(Level::Warning, "was called press-7 and is press-8 now"),
        "{found:?}"
    );
    assert!(told(&found).contains(&(Level::Note, "the MQTT client id stays dunlin-press-7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_looked_into_unless_an_agent_is_at_work_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let found = data_told(&data_dir).await;
    assert_eq!(found.0[0].level, Level::Ok, "{found:?}");

    let settings = settings(&data_dir, &[("shutdown_ms_max", "1s")]);
    let agent = crate::app::Agent::start(settings).await.unwrap();
    let found = data_told(&data_dir).await;
    assert!(format!("{found:?}").contains("at work on it"), "{found:?}");
    let worst = found.0.iter().map(|f| f.level).max();
    assert_eq!(worst, Some(Level::Problem), "no broker: {found:?}");
    agent.stop().await.unwrap();

    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o700)).unwrap();
    let found = data_told(&data_dir).await;
    let [(Level::Ok, what)] = told(&found)[..] else {
        panic!("{found:?}");
    };
    assert!(what.contains("0 rows"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_user_are_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let stray = dir.path().join("state");
    fs::create_dir(&stray).unwrap();
    if std::os::unix::fs::chown(&stray, Some(65_534), None).is_err() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    assert_eq!(stray.metadata().unwrap().uid(), 65_534);
    let found = data_told(dir.path()).await;
    assert_eq!(told(&found)[0].0, Level::Problem, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_away_is_named_with_what_happens_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(
        dir.path(),
        &[
            (
                "upstream.url",
                "tdengine://root:hush-hush@127.0.0.1:1/plant",
            ),
            ("upstream.timeout_ms", "2s"),
        ],
    );
    assert_eq!(settings.upstream.timeout, Duration::from_secs(2));
    let mut found = Findings::default();
    upstream::examine(&settings, &mut found).await;
    assert_eq!(told(&found)[0].0, Level::Problem);
    assert!(
        found.0[0].advice.contains("wait in the buffer"),
        "{found:?}"
    );
    assert!(!format!("{found:?}").contains("hush"), "{found:?}");
}
