#![allow(clippy::unwrap_used)]

use super::*;
use crate::config;

pub(super) fn args(seconds: u64) -> DemoArgs {
    DemoArgs {
        seconds,
        rate: 400.0,
        machines: 3,
        fleet: None,
        dir: None,
        json: true,
        seed: 7,
        bad_every: 50,
    }
}

async fn run(args: &DemoArgs, stopped: watch::Receiver<bool>) -> tally::Tally {
    let setup = Setup::new(args).unwrap();
    let settings = config::load(Some(&setup.config_path()), &Overrides::default()).unwrap();
    run::run(args, &setup, settings, Style::Silent, stopped)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_to_the_record() {
    let (_stop, stopped) = watch::channel(false);
    let tally = run(&args(3), stopped).await;
    assert_eq!(tally.imbalance(), None, "{tally:?}");
    assert_eq!(tally.published, tally.committed + tally.quarantined);
    assert_eq!(tally.committed, tally.upstream_rows);
    assert_eq!(tally.quarantined, tally.published / 50);
    // 400 a second, for as long as it took.
    let most = 400.0 * tally.seconds + 1.0;
    assert!(
        tally.published >= 300 && tally.published as f64 <= most,
        "{tally:?}"
    );
    // 0.8 of a thousand draws: seven standard deviations either way.
    assert!(
        (0.7..0.9).contains(&tally.train_fraction.unwrap()),
        "{tally:?}"
    );
    assert!(tally.seconds >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_early_and_balances_all_the_same() {
    let (stop, stopped) = watch::channel(false);
    let args = DemoArgs {
        rate: 0.0,
        ..args(3_600)
    };
    let early = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        stop.send_replace(true);
    };
    let (tally, ()) = tokio::join!(run(&args, stopped), early);
    assert_eq!(tally.imbalance(), None, "{tally:?}");
    assert!(tally.published > 0 && tally.seconds < 600.0, "{tally:?}");
}

#[test]
fn the_line_has_these_keys_in_this_order() {
    let tally = tally::Tally {
        published: 10,
        received: 10,
        committed: 9,
        quarantined: 1,
        dropped: 0,
        uploaded: 9,
        upstream_rows: 9,
        duplicates: 0,
        train_fraction: Some(0.8),
        seconds: 1.25,
        models_promoted: 1,
        predictions: 5,
        anomalies_true_positive: 2,
        anomalies_missed: 0,
        anomalies_false_positive: 1,
        anomalies_true_negative: 2,
        drifts: 0,
    };
    assert_eq!(
        tally.json(),
        "{\"published\":10,\"received\":10,\"committed\":9,\"quarantined\":1,\"dropped\":0,\
         \"uploaded\":9,\"upstream_rows\":9,\"duplicates\":0,\"train_fraction\":0.8,\
         \"seconds\":1.25,\"models_promoted\":1,\"predictions\":5,\
         \"anomalies_true_positive\":2,\"anomalies_missed\":0,\"anomalies_false_positive\":1,\
         \"anomalies_true_negative\":2,\"drifts\":0}"
    );
    assert_eq!(tally.imbalance(), None);
    let lost = tally::Tally {
        upstream_rows: 8,
        ..tally
    };
    let imbalance = lost.imbalance().unwrap();
    assert!(
        imbalance.contains("9 committed, 8 rows upstream"),
        "{imbalance}"
    );
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("thesis.txt");
    std::fs::write(&file, "mine").unwrap();
    let args = DemoArgs {
        dir: Some(dir.path().to_owned()),
        ..args(1)
    };
    let refused = Setup::new(&args).err().unwrap();
    assert!(matches!(refused, Exit::Usage(_)), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
