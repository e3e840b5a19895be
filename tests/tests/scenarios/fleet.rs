//! How devices are, seen at the database that they upload to.

use std::process::Command;

use serde_json::Value;

use crate::world::{PROGRAM, World};

/// `dunlin fleet` with these words; what it prints, if there is anything to print.
fn fleet(world: &World, words: &[&str]) -> Option<Value> {
    let mut command = Command::new(PROGRAM);
    command.arg("fleet").args(words);
    command.args(["--json", "--centre", &world.central.url()]);
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn a_device_says_how_it_is_and_is_silent_once_it_has_stopped() {
    let mut world = World::with_sessions();
    let name = world.numbered.prefix.clone();
    world.start();
    world.publish(50);
    world.all_upstream();
    // Nobody has asked it to say anything.
    assert_eq!(fleet(&world, &["list"]), Some(Value::Array(Vec::new())));
    world.stop();
    world.device.set("--fleet-heartbeat-s", 1);
    world.start();
    world.publish(50);
    // Each numbered record is there once, whatever else the device has to say.
    world.all_upstream();
    let listed = |world: &World| {
        let all = fleet(world, &["list"])?;
        let [seen] = all.as_array()?.as_slice() else {
            return None;
        };
        Some(seen.clone())
    };
    let seen = world.until("a row of a device that is well", |world| {
        let seen = listed(world)?;
        let is_well = seen["committed"].as_u64() >= Some(50) && seen["silent"] == false;
        (is_well && seen["broker_connected"] == true).then_some(seen)
    });
    assert_eq!(seen["device"], *name);
    assert_eq!(seen["every_s"], 1);
    assert_eq!(seen["quarantined"], 0);
    assert!(seen["problem"].is_null(), "{seen}");
    assert!(seen["instance"].is_string(), "{seen}");
    let shown = fleet(&world, &["show", &name]).unwrap();
    assert_eq!(shown["device"]["version"], seen["version"]);
    assert_eq!(fleet(&world, &["show", "nobody"]), None);

    world.stop();
    let silent = world.until("that it is silent", |world| {
        listed(world).filter(|seen| seen["silent"] == true)
    });
    let trouble = silent["trouble"][0].as_str().unwrap();
    assert!(trouble.starts_with("silent for"), "{trouble}");
}
