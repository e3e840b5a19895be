//! The way in: everything that happens to connections.

use std::time::{Duration, Instant};

use crate::world::{PATIENCE, World};

#[test]
fn a_connection_cut_in_the_middle_of_a_batch_loses_and_doubles_nothing() {
    let mut world = World::with_sessions();
    world.start();
    world.publish(1_000);
    world.all_acknowledged();
    for round in 0..4 {
        world.relay.cut_after(150 + 370 * round);
        world.publish(2_000);
        world.all_acknowledged();
    }
    assert!(world.relay.seen().connections >= 5);
    world.all_upstream();
}

#[test]
fn a_half_open_connection_is_noticed() {
    let mut world = World::with_sessions();
    world.device.set("--mqtt-keep-alive-s", 5);
    world.start();
    world.publish(300);
    world.all_acknowledged();
    world.relay.half_open();
    world.publish(300);
    world.all_acknowledged();
    assert_eq!(world.relay.seen().connections, 2);
    world.all_upstream();
}

#[test]
fn a_slow_connection_is_only_slow() {
    let mut world = World::with_sessions();
    world.start();
    world.relay.slow(Some(40_000));
    world.publish(1_500);
    world.all_acknowledged();
    world.all_upstream();
    assert_eq!(world.relay.seen().connections, 1);
}

#[test]
fn what_the_broker_took_while_we_were_away_arrives() {
    let mut world = World::with_sessions();
    world.start();
    world.publish(500);
    world.all_acknowledged();
    world.relay.refuse(true);
    world.relay.cut();
    world.wait("the loss", |s| !s.mqtt.connected);
    world.publish(3_000);
    let status = world.wait("words for it", |s| s.mqtt.last_error.is_some());
    assert_eq!(status.records.committed, 500);
    world.relay.refuse(false);
    world.all_acknowledged();
    world.all_upstream();
}

#[test]
fn a_storm_of_reconnects_loses_and_doubles_nothing() {
    let mut world = World::with_sessions();
    world.start();
    for _ in 0..25 {
        let connections = world.relay.seen().connections;
        world.relay.cut_after(37);
        world.publish(200);
        world.until("the next connection", |world| {
            (world.relay.seen().connections > connections).then_some(())
        });
    }
    world.all_acknowledged();
    world.all_upstream();
}

#[test]
fn publishes_committed_but_not_acknowledged_before_a_kill_are_not_stored_again() {
    let mut world = World::with_sessions();
    world.start();
    world.publish(100);
    world.all_acknowledged();
    world.relay.lose_acks(true);
    world.publish(900);
    world.until("lost PUBACKs", |world| {
        (world.relay.seen().acks_lost.len() == 900).then_some(())
    });
    world.device.kill();
    world.relay.lose_acks(false);
    world.start();
    world.all_acknowledged();
    let status = world.wait("the duplicates", |s| s.mqtt.duplicates == 900);
    assert_eq!(status.records.committed, 0);
    assert!(world.relay.seen().sent_again >= 900);
    world.publish(100);
    world.all_acknowledged();
    world.all_upstream();
}

#[test]
fn a_broker_without_mqtt_5_is_spoken_to_with_3_1_1_and_that_is_remembered() {
    let mut world = World::without_mqtt_5();
    world.start();
    world.publish(200);
    world.all_acknowledged();
    let log = world.device.log();
    assert!(log.contains("does not take MQTT 5"), "{log}");
    world.stop();
    let connections = world.relay.seen().connections;
    world.start();
    assert_eq!(world.relay.seen().connections, connections + 1);
    world.publish(200);
    world.all_acknowledged();
    world.all_upstream();
    let again = world.device.log().matches("does not take MQTT 5").count();
    assert_eq!(again, 1);
}

#[test]
fn a_stalled_broker_is_outlived() {
    let mut world = World::with_sessions();
    world.start();
    world.publish(200);
    world.all_acknowledged();
    world.relay.stall(true);
    world.publish(200);
    // The stall itself: long enough for a batch and its PUBACKs to wait, short of the keep-alive.
    std::thread::sleep(Duration::from_secs(1));
    let status = world.wait("an answer", |_| true);
    assert_eq!(status.records.committed, 200);
    world.relay.stall(false);
    world.all_acknowledged();
    world.all_upstream();
    assert_eq!(world.relay.seen().connections, 1);
}

#[test]
fn a_broker_that_ignores_our_window_costs_no_memory_and_no_duplicates() {
    let mut world = World::without_window();
    world.device.set("--mqtt-receive-maximum", 100);
    world.start();
    world.relay.lose_acks_after(200);
    world.publish(15_000);
    world.wait("the rest", |s| s.records.committed == 15_000);
    world.device.kill();
    world.relay.lose_acks(false);
    world.start();
    world.all_acknowledged();
    let status = world.wait("the duplicates", |s| s.mqtt.duplicates > 0);
    assert_eq!(status.records.committed, 0, "{status:?}");
    world.all_upstream();
}

#[test]
fn a_trial_leaves_no_session_and_a_configured_agent_does() {
    for (version, keeps) in [("5", true), ("5", false), ("3.1.1", true), ("3.1.1", false)] {
        let mut world = World::of_version(version);
        if !keeps {
            world.device.end_session();
        }
        world.start();
        world.publish(100);
        world.all_acknowledged();
        world.all_upstream();
        world.stop();
        let log = world.device.log();
        let said = if keeps {
            "keeps the session"
        } else {
            "has ended with the agent"
        };
        assert!(log.contains(said), "{version}: {log}");
        // Published meanwhile: what was kept is there after the next start.
        world.publish(100);
        world.start();
        if keeps {
            world.all_acknowledged();
            world.all_upstream();
        } else {
            // What had waited would come before what is published now.
            world.publish(1);
            let status = world.wait("the next one", |s| s.mqtt.publishes > 0);
            assert_eq!(status.mqtt.publishes, 1, "{version}");
        }
    }
}

#[test]
fn a_trial_does_not_touch_the_session_of_a_service_of_the_same_name() {
    for version in ["5", "3.1.1"] {
        let mut world = World::of_version(version);
        world.start();
        world.publish(50);
        world.all_acknowledged();
        world.stop();
        world.publish(50);
        let mut trial = world.trial();
        trial.start().unwrap();
        trial.wait_connected().unwrap();
        trial.terminate();
        assert!(trial.wait_exit(PATIENCE).unwrap().success());
        world.start();
        world.all_acknowledged();
        world.all_upstream();
    }
}

#[test]
fn a_broker_that_keeps_few_under_way_is_not_waited_for() {
    for window_max in [16, 100] {
        let mut world = World::with_window(window_max);
        world.start();
        let begun = Instant::now();
        let published = world.publish(3_000);
        world.all_acknowledged();
        let rate = published.count() as f64 / begun.elapsed().as_secs_f64();
        println!("{rate:.0} records/s with a window of {window_max}");
        assert!(rate >= 300.0, "{rate} records/s");
        world.all_upstream();
    }
}

#[test]
fn a_session_is_ended_by_command_once_the_agent_has_stopped() {
    for version in ["5", "3.1.1"] {
        let mut world = World::of_version(version);
        let end = |world: &World| {
            let mut command = world.device.another(["session", "end"]).unwrap();
            command.status().unwrap().code()
        };
        world.start();
        world.publish(100);
        world.all_acknowledged();
        assert_eq!(end(&world), Some(2), "the agent is running");
        world.stop();
        assert_eq!(end(&world), Some(0), "{}", world.device.log_tail());
        world.publish(100);
        world.start();
        // What had waited would come before what is published now.
        world.publish(1);
        let status = world.wait("the next one", |s| s.mqtt.publishes > 0);
        assert_eq!(status.mqtt.publishes, 1, "{version}");
        assert!(
            !world.device.log().contains("lost the session"),
            "{version}"
        );
    }
}
