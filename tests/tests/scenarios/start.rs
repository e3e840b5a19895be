//! What is in the way at the start: said clearly, with the exit code that the README names, and nothing
//! is lost by it.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram, process::CommandExt as _},
    path::Path,
    process::Command,
};

use crate::world::{PATIENCE, PROGRAM, World};

/// A user who owns nothing.
const NOBODY: u32 = 65_534;

/// Starts the agent, which does not stay; the code it ended with and what it said.
fn refused(world: &mut World) -> (Option<i32>, String) {
    world.device.start().unwrap();
    let end = world.device.wait_exit(PATIENCE).unwrap();
    (end.code(), world.device.log())
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let mut world = World::with_sessions();
    world.start();
    world.publish(1_000);
    world.all_upstream();
    world.stop();
    let marker = world.device.data_dir().join("format");
    assert_eq!(fs::read_to_string(&marker).unwrap(), "dunlin 2\n");
    fs::write(&marker, "dunlin 3\n").unwrap();
    let (code, log) = refused(&mut world);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("upgrade dunlin"), "{log}");
    assert_eq!(fs::read_to_string(&marker).unwrap(), "dunlin 3\n");
    // As the newer version would find it.
    fs::write(&marker, "dunlin 2\n").unwrap();
    world.start();
    world.publish(1_000);
    world.all_upstream();
    world.stop();
}

/// A tmpfs, unmounted when dropped.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    /// `None` where none can be mounted.
    fn mount(dir: &'a Path) -> Option<Self> {
        fs::create_dir(dir).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(dir)
            .status();
        done.is_ok_and(|done| done.success()).then_some(Self(dir))
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let done = Command::new("mount")
            .args(["-o", &how])
            .arg(self.0)
            .status();
        assert!(done.unwrap().success(), "{how}");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_read_only_file_system_is_named_and_keeps_what_it_has() {
    let mut world = World::with_sessions();
    let dir = world.path("disk");
    let Some(disk) = Disk::mount(&dir) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    world.device.set("--buffer-bytes-max", 8 << 20);
    world.device.set("--buffer-disk-free-bytes-min", 0);
    world.device.move_to(&dir.join("data"));
    world.start();
    world.publish(1_000);
    world.all_acknowledged();
    world.stop();
    disk.remount("ro");
    let (code, log) = refused(&mut world);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("mounted read-only"), "{log}");
    disk.remount("rw");
    world.start();
    world.publish(1_000);
    world.all_upstream();
    world.stop();
}

#[test]
fn a_disk_without_any_room_is_named_and_one_with_room_again_is_taken() {
    let mut world = World::with_sessions();
    let dir = world.path("disk");
    let Some(_disk) = Disk::mount(&dir) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let others = dir.join("others");
    let mut file = fs::File::create(&others).unwrap();
    while file.write_all(&[0; 1 << 12]).is_ok() {}
    drop(file);
    world.device.set("--buffer-bytes-max", 8 << 20);
    world.device.set("--buffer-disk-free-bytes-min", 0);
    world.device.move_to(&dir.join("data"));
    let (code, log) = refused(&mut world);
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("no space left") && log.contains("free some"),
        "{log}"
    );
    fs::remove_file(&others).unwrap();
    world.start();
    world.publish(1_000);
    world.all_upstream();
    world.stop();
}

#[test]
fn a_directory_of_another_user_is_named_with_what_to_do() {
    let mut world = World::new();
    let data_dir = world.device.data_dir().to_owned();
    fs::create_dir(&data_dir).unwrap();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = world.device.command().unwrap();
    let Ok(mut child) = command.uid(NOBODY).gid(NOBODY).spawn() else {
        println!("skipped: only root can become another user");
        return;
    };
    let code = child.wait().unwrap().code();
    let log = world.device.log();
    assert_eq!(code, Some(2), "{log}");
    assert!(
        log.contains("permission denied") && log.contains("chown -R 65534"),
        "{log}"
    );
    assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 0);
    world.start();
    world.publish(10);
    world.all_upstream();
}

#[test]
fn a_configuration_that_may_not_be_read_is_named_with_what_to_do() {
    let world = World::new();
    let file = world.write("dunlin.toml", "");
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["check", "run", "doctor"] {
        let mut command = Command::new(PROGRAM);
        command.args([name, "-c"]).arg(&file);
        let Ok(output) = command.uid(NOBODY).gid(NOBODY).output() else {
            println!("skipped: only root can become another user");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("Permission denied") && said.contains("chmod 640"),
            "{said}"
        );
    }
}

#[test]
fn a_service_manager_hears_of_start_and_end_with_the_broker_away() {
    let mut world = World::new();
    world.device.set("--mqtt", "mqtt://127.0.0.1:1");
    let path = world.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |wanted: &str| {
        let mut bytes = [0; 1024];
        loop {
            let length = manager.recv(&mut bytes).unwrap();
            let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if said.lines().any(|line| line.starts_with(wanted)) {
                return said;
            }
        }
    };
    let mut command = world.device.command().unwrap();
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut child = command.spawn().unwrap();
    hear("READY=1");
    let status = hear("STATUS=");
    assert!(status.contains("NOT connected to 127.0.0.1:1"), "{status}");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    hear("STOPPING=1");
    assert!(child.wait().unwrap().success(), "{}", world.device.log());
}
