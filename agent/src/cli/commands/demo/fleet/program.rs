//! This program's own commands, as anybody would give them: the story is one that can be played by hand.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use dunlin_sync::centre::Centre;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

use crate::{
    centre::{CentreOptions, connect},
    cli::commands::{Exit, demo::setup::Setup},
};

/// The key that signs releases.
const KEY: &str = "release.key";

/// This program, and the centre that its commands are about.
pub(super) struct Program {
    path: PathBuf,
    dir: PathBuf,
    /// `sqlite:...`
    url: OsString,
}

impl Program {
    pub(super) fn new(setup: &Setup) -> Result<Self, Exit> {
        let path = std::env::current_exe()
            .map_err(|error| Exit::Failed(format!("this program's own file: {error}")))?;
        let mut url = OsString::from("sqlite:");
        url.push(setup.database_path());
        Ok(Self {
            path,
            dir: setup.path(""),
            url,
        })
    }

    /// The centre itself, to look at.
    pub(super) fn centre(&self) -> Result<Arc<dyn Centre>, Exit> {
        let url = self.url.to_str();
        let url = url.ok_or_else(|| {
            let dir = self.dir.display();
            Exit::Usage(format!("{dir} is no UTF-8; name another directory"))
        })?;
        let options = CentreOptions {
            url: url.into(),
            ..CentreOptions::default()
        };
        Ok(connect(&options)?)
    }

    /// Makes the key that signs; the public one.
    pub(super) async fn keygen(&self) -> Result<String, Exit> {
        let mut command = self.command(&["release", "keygen", "--key", KEY]);
        output(&mut command).await?;
        let path = self.dir.join(KEY).with_added_extension("pub");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Exit::Failed(format!("{}: {error}", path.display())))?;
        let key = text.lines().nth(1);
        key.map(str::to_owned)
            .ok_or_else(|| Exit::Failed(format!("{}: there is no key in it", path.display())))
    }

    /// What a command about the centre prints with `--json`.
    pub(super) async fn json<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T, Exit> {
        let mut command = self.command(words);
        command.arg("--json").arg("--centre").arg(&self.url);
        let text = output(&mut command).await?;
        serde_json::from_slice(&text)
            .map_err(|error| Exit::Failed(format!("dunlin {}: {error}", words.join(" "))))
    }

    /// Lets everybody try the model in `file`.
    pub(super) async fn publish(&self, line: &str, file: &str) -> Result<u64, Exit> {
        #[derive(serde::Deserialize)]
        struct Released {
            serial: u64,
        }
        let words = [
            "release", "publish", "--key", KEY, "--line", line, "--model", file, "--share", "100",
        ];
        let released: Released = self.json(&words).await?;
        Ok(released.serial)
    }

    /// A builder, until it is killed or dropped. What it says goes to a file.
    pub(super) fn builder(&self, name: &str) -> Result<Building, Exit> {
        let failed = |path: &Path, error: std::io::Error| {
            Exit::Failed(format!("{}: {error}", path.display()))
        };
        let log = self.dir.join(name).with_added_extension("log");
        let mut command = self.command(&["builder", "--name", name, "--work-dir", name]);
        command.arg("--centre").arg(&self.url);
        command.stderr(File::create(&log).map_err(|error| failed(&log, error))?);
        let child = command.spawn().map_err(|error| failed(&self.path, error))?;
        Ok(Building(child))
    }

    /// Its paths are relative to the demo's directory.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(words).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// What a command prints. It bounds its own waiting.
async fn output(command: &mut Command) -> Result<Vec<u8>, Exit> {
    let told = format!("{command:?}");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command
        .spawn()
        .map_err(|error| Exit::Failed(format!("{told}: {error}")))?;
    let output = spawn_blocking(move || child.wait_with_output()).await;
    let output = output.map_err(|error| Exit::Failed(error.to_string()))?;
    let output = output.map_err(|error| Exit::Failed(format!("{told}: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(Exit::Failed(format!("{told}: {}", why.trim())))
}

/// A builder at work.
pub(super) struct Building(Child);

impl Building {
    /// At once, whatever it is doing: SIGKILL.
    pub(super) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        self.end();
    }
}
