//! Brokers that send again in ways of their own, over kills of the agent and of the broker: nothing is lost,
//! and records that say when they were made are there once.

use std::{env, process::Command};

use dunlin_tests::doubles::mqtt::Habit;

use crate::world::World;

const ROUNDS: u64 = 9;
const RECORDS: u64 = 300;

/// Publishes, and now and then kills the agent, or has the broker restarted.
fn live(world: &mut World, mut restart_broker: impl FnMut(&mut World)) {
    world.start();
    for round in 0..ROUNDS {
        let enough = world.relay.acknowledged() + (round * 61 % RECORDS) as usize;
        world.publish(RECORDS);
        world.until("some PUBACKs", |world| {
            (world.relay.acknowledged() >= enough).then_some(())
        });
        match round % 3 {
            0 => {
                world.device.kill();
                world.start();
            }
            1 => restart_broker(world),
            _ => {
                world.relay.lose_acks(true);
                world.publish(RECORDS);
                world.until("lost PUBACKs", |world| {
                    (!world.relay.seen().acks_lost.is_empty()).then_some(())
                });
                world.device.kill();
                world.relay.lose_acks(false);
                world.start();
            }
        }
    }
    world.all_acknowledged();
}

fn live_with(habit: Habit, version: &str) -> World {
    let mut world = World::with_habit(habit, version);
    live(&mut world, |world| {
        let connections = world.relay.seen().connections;
        world.double().restart(20);
        world.until("the next connection", |world| {
            (world.relay.seen().connections > connections).then_some(())
        });
    });
    world.until("an end", |world| {
        (world.double().outstanding() == 0).then_some(())
    });
    assert!(world.double().counts().sent_again > 100);
    world
}

#[test]
fn a_broker_that_keeps_packet_ids_doubles_nothing() {
    live_with(Habit::KeepsIds, "5").all_upstream();
}

#[test]
fn a_broker_that_numbers_anew_doubles_nothing() {
    live_with(Habit::NumbersAnew, "3.1.1").all_upstream();
}

#[test]
fn a_broker_that_neither_marks_nor_knows_the_session_doubles_nothing() {
    live_with(Habit::MarksNothing, "3.1.1").all_upstream();
}

#[test]
fn a_broker_that_sends_the_newest_first_doubles_nothing() {
    live_with(Habit::NewestFirst, "5").all_upstream_once();
}

#[test]
fn a_broker_whose_live_publishes_overtake_the_queue_doubles_nothing() {
    live_with(Habit::LiveOvertakes, "3.1.1").all_upstream_once();
}

#[test]
fn a_broker_whose_marks_and_ids_are_those_since_its_restart_doubles_nothing() {
    // What the double has under way with MQTT 3.1.1.
    const WINDOW: usize = 20;
    let mut world = World::with_habit(Habit::ForgetsAtRestart, "3.1.1");
    live(&mut world, |world| {
        let connections = world.relay.seen().connections;
        let next = |world: &World, count| {
            world.until("the next connection", |world| {
                (world.relay.seen().connections >= connections + count).then_some(())
            });
        };
        let lost = world.relay.seen().acks_lost.len();
        // Of what the double has under way then some was sent again, and some is new and stored.
        world.relay.lose_acks_after(60 + 5);
        world.double().restart(60);
        world.publish(RECORDS);
        next(world, 1);
        world.until("lost PUBACKs", |world| {
            (world.relay.seen().acks_lost.len() >= lost + WINDOW / 2).then_some(())
        });
        // It must not be back before PUBACKs get through again.
        world.relay.refuse(true);
        world.relay.cut();
        world.relay.lose_acks(false);
        world.relay.refuse(false);
        next(world, 2);
    });
    world.all_upstream_once();
}

/// It numbers anew and, with MQTT 3.1.1, marks nothing.
#[test]
fn the_embedded_broker_doubles_nothing() {
    for version in ["5", "3.1.1"] {
        let mut world = World::of_version(version);
        world.make_timed();
        live(&mut world, |world| world.relay.cut());
        world.all_upstream_once();
    }
}

/// With the broker that `DUNLIN_BROKER_URL` names; `DUNLIN_BROKER_RESTART` is a program that kills and
/// starts it, `DUNLIN_BROKER_VERSION` the version of MQTT (3.1.1 unless set).
#[test]
fn a_real_broker_doubles_nothing() {
    let Ok(url) = env::var("DUNLIN_BROKER_URL") else {
        return;
    };
    let restart = env::var("DUNLIN_BROKER_RESTART");
    let version = env::var("DUNLIN_BROKER_VERSION").unwrap_or_else(|_| "3.1.1".into());
    let mut world = World::with_broker(url, &version);
    live(&mut world, |world| {
        world.all_acknowledged();
        if let Ok(restart) = &restart {
            assert!(Command::new(restart).status().unwrap().success());
            world.broker_restarted();
            world.wait("the connection", |s| s.mqtt.connected);
        }
    });
    world.all_upstream_once();
}
