//! Whose files there are in a data directory, and who may read them: whoever runs a command over it, under
//! whatever umask.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use dunlin_tests::device::until;

use crate::world::{PATIENCE, PROGRAM, World};

/// The user of a service; owns nothing else.
const SERVICE: u32 = 65_534;

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can become another user");
    }
    is_root
}

/// `command` under the umask `umask`, an octal number.
fn under(umask: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script).arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Runs `dunlin` with `args` as this user.
fn dunlin(umask: &str, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    under(umask, &command).output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(error)
    )
}

fn everything_in(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    let mut at = 0;
    while at < all.len() {
        if all[at].symlink_metadata().unwrap().is_dir() {
            let entries = fs::read_dir(&all[at]).unwrap();
            let entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            all.extend(entries);
        }
        at += 1;
    }
    all
}

/// All in the data directory is `user`'s, and nobody else's to read.
fn all_private(data_dir: &Path, user: u32, after: &str) {
    for path in everything_in(data_dir) {
        let meta = path.symlink_metadata().unwrap();
        let mode = if meta.is_dir() { 0o700 } else { 0o600 };
        let is = (meta.uid(), meta.mode() & 0o777);
        assert_eq!(is, (user, mode), "{} after {after}", path.display());
    }
}

/// The agent as the service's user, under an umask, until it has given all upstream.
fn serve(world: &mut World, umask: &str, records: u64) {
    let before = world.relay.seen().subscribed;
    let mut command = under(umask, &world.device.command().unwrap());
    let log = world.path("service.log");
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let mut child = command.uid(SERVICE).gid(SERVICE).spawn().unwrap();
    let subscribed = until(PATIENCE, "the subscription", || {
        (world.relay.seen().subscribed > before).then_some(())
    });
    let log = fs::read_to_string(world.path("service.log")).unwrap_or_default();
    assert!(subscribed.is_ok(), "{log}");
    world.publish(records);
    world.all_acknowledged();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_root_does_leaves_nothing_that_the_service_cannot_open() {
    if !is_root() {
        return;
    }
    let mut world = World::with_sessions();
    let data_dir = world.device.data_dir().to_owned();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    serve(&mut world, "000", 300);
    all_private(&data_dir, SERVICE, "the first start");

    let here = data_dir.to_str().unwrap();
    let command = world.device.command().unwrap();
    let run: Vec<&str> = command
        .get_args()
        .skip(1)
        .map(|arg| arg.to_str().unwrap())
        // Of `run` alone.
        .filter(|arg| *arg != "--keep-session")
        .collect();
    let csv = world.write("new.csv", "a\n1\n");
    fs::set_permissions(&csv, fs::Permissions::from_mode(0o600)).unwrap();
    let roots = world.path("roots");
    fs::create_dir(&roots).unwrap();
    fs::set_permissions(&roots, fs::Permissions::from_mode(0o700)).unwrap();
    for umask in ["077", "000", "0777"] {
        let output = roots.join(format!("{umask}.csv"));
        let output = output.to_str().unwrap();
        let import = ["import", csv.to_str().unwrap(), "--stream", "other"];
        let dry = [&import[..], &["--dry-run"], &run[..]].concat();
        let wet = [&import[..], &run[..]].concat();
        let doctor = [&["doctor"][..], &run[..]].concat();
        let commands: [&[&str]; 7] = [
            &["status", "--data-dir", here],
            &["quarantine", "list", "--data-dir", here],
            &["models", "list", "--data-dir", here],
            &[
                "export",
                "--stream",
                "records*",
                "--output",
                output,
                "--data-dir",
                here,
            ],
            &doctor,
            &dry,
            &wet,
        ];
        for args in commands {
            let done = dunlin(umask, args);
            let after = format!("umask {umask}; {}: {}", args[0], said(&done));
            let is_doctor = args[0] == "doctor";
            assert!(
                done.status.success() || is_doctor && done.status.code() == Some(3),
                "{after}"
            );
            all_private(&data_dir, SERVICE, &after);
        }
        let meta = fs::metadata(output).unwrap();
        let wanted = match umask {
            "000" => 0o666,
            _ => 0o600,
        };
        assert_eq!((meta.uid(), meta.mode() & 0o777), (0, wanted), "{umask}");
    }
    serve(&mut world, "0777", 300);
    all_private(&data_dir, SERVICE, "the second start");
    serve(&mut world, "027", 300);
}

#[test]
fn what_may_not_be_opened_is_named_by_every_command_with_its_owner_and_the_mend() {
    if !is_root() {
        return;
    }
    let mut world = World::with_sessions();
    let data_dir = world.device.data_dir().to_owned();
    world.start();
    world.publish(100);
    world.all_acknowledged();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let here = data_dir.to_str().unwrap().to_owned();
    let commands: [&[&str]; 6] = [
        &["status"],
        &["status", "--json"],
        &["quarantine", "list"],
        &["models", "list"],
        &["export", "--stream", "*"],
        &["cohort", "count", "--streams", "*"],
    ];
    let refused = |named: &Path| {
        for args in commands {
            let mut command = Command::new(PROGRAM);
            command.args(args).args(["--data-dir", &here]);
            let done = command.uid(SERVICE).gid(SERVICE).output().unwrap();
            let said = said(&done);
            assert_eq!(done.status.code(), Some(2), "{args:?}: {said}");
            for part in [
                "permission denied",
                "user 0",
                "chown -R 65534",
                named.to_str().unwrap(),
            ] {
                assert!(said.contains(part), "{args:?}: {part}: {said}");
            }
        }
    };
    // While the agent runs, and after.
    refused(&data_dir);
    world.stop();
    refused(&data_dir);
    // One file that a command of root's has left is enough.
    let stray = data_dir.join("state/clock");
    for path in everything_in(&data_dir) {
        if path != stray {
            chown(path, Some(SERVICE), Some(SERVICE)).unwrap();
        }
    }
    refused(&stray);
}
