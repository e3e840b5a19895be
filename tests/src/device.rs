//! A device under test: the agent as a process of its own, with everything one can do to it.

use std::{
    fmt, fs,
    fs::File,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use dunlin_agent::{
    admin::{
        client,
        operations::{Listener, Operation},
        protocol::socket_path,
    },
    observe::status::Status,
};
use rustix::process::{Pid, Signal, kill_process};

/// Pause between two looks at something that must change before a deadline.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// For every thread of a device to stop: one that waits for the disk does so only after that.
const STOP_MAX: Duration = Duration::from_secs(10);

/// If this process was started as a device, runs `dunlin` and returns its exit code.
///
/// The programs of this crate call it first, so that each is its own device: never an older build of
/// the agent than the one it was linked with. An argument that is no option begins the agent's.
pub fn as_agent() -> Option<ExitCode> {
    let first = std::env::args().nth(1)?;
    if first.starts_with('-') {
        return None;
    }
    Some(match dunlin_agent::cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("dunlin: {exit}");
            exit.code()
        }
    })
}

/// The program that a device runs: this one (see [`as_agent`]), unless `DUNLIN_AGENT_PROGRAM` names another, such
/// as one built for another processor behind its emulator.
///
/// # Errors
/// The operating system's.
pub fn program() -> io::Result<PathBuf> {
    std::env::var_os("DUNLIN_AGENT_PROGRAM")
        .map_or_else(std::env::current_exe, |named| Ok(named.into()))
}

/// An agent with its data directory. Killed when dropped.
pub struct Device {
    program: PathBuf,
    data_dir: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    keeps_session: bool,
    child: Option<Child>,
}

impl Device {
    /// A device that runs `program` (`dunlin`, or one that calls [`as_agent`]) on `data_dir`; its log goes to
    /// `log`. Nothing is started yet.
    pub fn new(program: &Path, data_dir: &Path, log: &Path) -> Self {
        Self {
            program: program.to_owned(),
            data_dir: data_dir.to_owned(),
            args: Vec::new(),
            log: log.to_owned(),
            keeps_session: true,
            child: None,
        }
    }

    /// Sets a flag of `dunlin run`, such as `--mqtt`.
    #[must_use]
    pub fn with(mut self, flag: &str, value: impl fmt::Display) -> Self {
        self.set(flag, value);
        self
    }

    /// Sets a flag for the starts to come; replaces its value if it was set before.
    pub fn set(&mut self, flag: &str, value: impl fmt::Display) {
        self.unset(flag);
        self.args.push(format!("{flag}={value}"));
    }

    /// Leaves a flag out of the starts to come.
    pub fn unset(&mut self, flag: &str) {
        let start = format!("{flag}=");
        self.args.retain(|arg| !arg.starts_with(&start));
    }

    /// Its session ends with it from its next start on, as in a trial without a configuration file.
    pub fn end_session(&mut self) {
        self.keeps_session = false;
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Lives on another data directory from its next start on.
    pub fn move_to(&mut self, data_dir: &Path) {
        data_dir.clone_into(&mut self.data_dir);
    }

    /// The command as it would be started, with no `DUNLIN_...` variable in its environment.
    ///
    /// # Errors
    /// The log file cannot be written.
    pub fn command(&self) -> io::Result<Command> {
        let keep = self.keeps_session.then_some("--keep-session");
        self.another(["run"].into_iter().chain(keep))
    }

    /// Another command of its program, on its directory and with its settings.
    ///
    /// # Errors
    /// As for [`Device::command`].
    pub fn another<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> io::Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DUNLIN_") {
                command.env_remove(name);
            }
        }
        command
            .args(words)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Starts it.
    ///
    /// # Errors
    /// It is running already, or the operating system's.
    pub fn start(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            return Err(io::Error::other("the device is running already"));
        }
        self.child = Some(self.command()?.spawn()?);
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // It may have ended just now; whoever waits for it will see.
            let _gone = kill_process(Pid::from_child(child), signal);
        }
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.child.take() {
            let _ended = child.wait();
        }
    }

    /// SIGSTOP; returns when every thread has stopped.
    ///
    /// # Errors
    /// It did not stop in time, or is not running.
    pub fn freeze(&self) -> Result<(), String> {
        let pid = self.child.as_ref().ok_or("not running")?.id();
        self.signal(Signal::STOP);
        until(STOP_MAX, "the agent to stop", || {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
            let stopped = tasks.flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                let state = stat
                    .rsplit(')')
                    .next()
                    .and_then(|s| s.trim().chars().next());
                matches!(state, None | Some('T' | 'Z' | 'X'))
            });
            stopped.then_some(())
        })
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT, without waiting.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// SIGHUP: it reads its configuration again.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended by then.
    pub fn wait_exit(&mut self, most: Duration) -> Result<ExitStatus, String> {
        let child = self.child.as_mut().ok_or("not running")?;
        let status = until(most, "the agent to end", || child.try_wait().ok().flatten())?;
        self.child = None;
        Ok(status)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Its status, if it answers within a second.
    pub fn status(&self) -> Option<Status> {
        let mut socket = UnixStream::connect(socket_path(&self.data_dir)).ok()?;
        let wait = Some(Duration::from_secs(1));
        socket.set_read_timeout(wait).ok()?;
        socket
            .write_all(b"GET /status HTTP/1.1\r\nhost: dunlin\r\nconnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its control socket.
    pub fn control(&self) -> Control {
        Control(socket_path(&self.data_dir))
    }

    /// Waits until its status is as wanted.
    ///
    /// # Errors
    /// It is not by then, or the agent has ended; with the end of its log.
    pub fn wait_status(
        &mut self,
        most: Duration,
        what: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status, String> {
        let deadline = Instant::now() + most;
        let mut last = None;
        loop {
            if let Some(status) = self.status() {
                if wanted(&status) {
                    return Ok(status);
                }
                last = Some(status);
            }
            let ended = self.has_ended();
            if ended || Instant::now() > deadline {
                let end = if ended { "the agent ended" } else { "too late" };
                return Err(format!(
                    "{end} waiting for {what}; last status {last:?}; its log ends with\n{}\n{}",
                    self.log_tail(),
                    self.stacks()
                ));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until it is connected to its broker.
    ///
    /// # Errors
    /// As for [`Device::wait_status`].
    pub fn wait_connected(&mut self) -> Result<Status, String> {
        let most = Duration::from_secs(20);
        self.wait_status(most, "a connection", |status| status.mqtt.connected)
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Where each of its threads stands, if it lives and gdb is here to say so.
    fn stacks(&self) -> String {
        let Some(pid) = self.child.as_ref().map(Child::id) else {
            return String::new();
        };
        let stacks = Command::new("gdb")
            .args(["-batch", "-ex", "thread apply all bt 6", "-p"])
            .arg(pid.to_string())
            .output();
        stacks.map_or_else(
            |error| format!("no stacks: gdb: {error}"),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    /// Its whole log, over all starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

/// The control socket of a device, for any thread.
#[derive(Clone, Debug)]
pub struct Control(PathBuf);

impl Control {
    /// Has the agent do something; the answer, and the data that came before it.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub fn request<O: Operation>(&self, operation: O) -> Result<(O::Answer, Vec<u8>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let mut data = Data::default();
        let answer = runtime.block_on(client::request(&self.0, operation, &mut data));
        Ok((answer.map_err(|error| error.to_string())?, data.0))
    }
}

/// Keeps what an operation produces.
#[derive(Default)]
struct Data(Vec<u8>);

impl Listener for Data {
    fn progress(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks until `look` returns something.
///
/// # Errors
/// Nothing by then; names `what`.
pub fn until<T>(
    most: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let deadline = Instant::now() + most;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("waited {most:?} in vain for {what}"));
        }
        thread::sleep(LOOK_AGAIN);
    }
}
