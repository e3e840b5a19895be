//! Bounds: what happens when the buffer or the disk is full, and that it gets better by itself.

use std::{path::Path, process::Command};

use crate::world::World;

/// A world with a buffer of 4 MiB and an upstream that is not there yet.
fn small() -> (World, std::path::PathBuf) {
    let mut world = World::with_sessions();
    world.numbered.pad_bytes = 400;
    world.device.set("--buffer-bytes-max", 8 << 20);
    world.device.set("--buffer-disk-free-bytes-min", 0);
    let upstream = world.path("later");
    world.central = dunlin_tests::central::Central::new(&upstream);
    world.device.set("--upstream", world.central.url());
    (world, upstream)
}

#[test]
fn a_full_buffer_stops_acknowledging_and_goes_on_when_it_has_drained() {
    let (mut world, upstream) = small();
    world.start();
    world.publish(30_000);
    let status = world.wait("a full buffer", |s| s.buffer.full);
    assert!(status.records.committed < 30_000);
    assert!(status.buffer.shape.bytes <= 8 << 20, "{:?}", status.buffer);
    let acknowledged = world.relay.acknowledged();
    assert!(acknowledged as u64 <= status.records.committed && acknowledged < 30_000);
    std::fs::create_dir(&upstream).unwrap();
    world.all_acknowledged();
    world.all_upstream();
    let status = world.wait("room", |s| !s.buffer.full && s.upstream.lag_rows == 0);
    assert_eq!(status.records.dropped, 0);
}

#[test]
fn dropping_the_oldest_is_counted() {
    let (mut world, upstream) = small();
    world.device.set("--buffer-when-full", "drop_oldest");
    world.start();
    world.publish(40_000);
    world.all_acknowledged();
    let status = world.wait("drops", |s| s.records.committed == 40_000);
    assert!(status.records.dropped > 0, "{status:?}");
    std::fs::create_dir(&upstream).unwrap();
    let status = world.wait("the end", |s| s.upstream.lag_rows == 0);
    // Rows on their way up at the moment of the drop are counted, and may arrive all the same.
    let rows = world.central.rows().unwrap().by_number;
    assert!(
        rows.len() as u64 + status.records.dropped >= 40_000,
        "{status:?}"
    );
    assert!(
        rows.len() < 40_000
            && rows.range(status.records.dropped..).count() as u64
                == 40_000 - status.records.dropped
    );
}

/// A small tmpfs, unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_drains_and_goes_on() {
    let (mut world, upstream) = small();
    let dir = world.path("disk");
    std::fs::create_dir(&dir).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(&dir)
        .output();
    match mount {
        Ok(output) if output.status.success() => {}
        other => {
            println!("skipped: no small disk can be mounted here: {other:?}");
            return;
        }
    }
    // Dropped before the world would be too late: the agent must be gone by then.
    let disk = SmallDisk(&dir);
    world.device.set("--buffer-bytes-max", 64 << 20);
    world.device.move_to(&disk.0.join("data"));
    world.start();
    world.publish(60_000);
    let status = world.wait("a full disk", |s| s.buffer.full);
    assert!(status.records.committed < 60_000);
    // Full, and restarted while full: what was acknowledged is there.
    world.device.kill();
    world.device.start().unwrap();
    world.wait("an answer", |_| true);
    std::fs::create_dir(&upstream).unwrap();
    world.all_acknowledged();
    world.all_upstream();
    world.wait("room", |s| !s.buffer.full && s.upstream.lag_rows == 0);
    world.device.kill();
}
