//! The scan: marks dead tasks, fills the two queues, gives tasks to workers, notes how they end.
//!
//! Promises: a scan never waits for a task; tasks that are open survive a restart in a file of their
//! own; at most `workers` tasks are under way, and a task that never returns costs its worker only
//! until it is dead, when another takes its place, [`LOST_WORKERS_MAX`] times.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use dunlin_models::registry::ModelKey;
use dunlin_sync::{
    buffer::Query,
    sample::{Catalog, StreamId, TimeRange, Timestamp},
    state_file::{self, StateFileError},
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Shared,
    task::{LineState, Task, TaskKind, is_dead, queue_for},
    train::{self, Outcome},
};
use crate::{
    glob::means,
    settings::{LearnSettings, RecipeRule},
    status::RecipeProgress,
    writer::OWN_TABLE_PREFIX,
};

/// Longest wait before the end of the agent is noticed.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Workers that never came back before nothing more is learnt.
const LOST_WORKERS_MAX: usize = 4;
/// Niceness of a task's thread: whatever else there is to do comes first.
const NICENESS: i32 = 15;
/// Tasks waiting at most, all recipes together.
const QUEUE_MAX: usize = 4_096;

/// Name of the list of open tasks.
const TASKS: &str = "tasks";

/// Why a task was queued before there were enough records.
const DRIFT: &str = "drift";

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    next_id: u64,
    /// Tasks that wait or work.
    open: Vec<Task>,
    /// Newest record that the last failed task of a line saw.
    tried_to: HashMap<ModelKey, i64>,
}

/// Tasks that were open when an agent ended, by the list in its `state_dir`.
///
/// # Errors
/// The list cannot be read.
pub fn open_tasks(state_dir: &Path) -> Result<Vec<Task>, StateFileError> {
    Ok(read_table(state_dir)?.open)
}

fn read_table(state_dir: &Path) -> Result<Table, StateFileError> {
    Ok(state_file::read(&state_dir.join(TASKS))?.unwrap_or_default())
}

/// Records of a stream counted so far.
#[derive(Clone, Copy, Debug)]
struct Count {
    since: i64,
    counted_to: i64,
    rows: u64,
}

/// A task that has come back from its worker.
type Ended = (Task, Outcome);

pub(super) struct Scan {
    shared: Arc<Shared>,
    path: PathBuf,
    table: Table,
    scratch: VecDeque<u64>,
    fine_tune: VecDeque<u64>,
    /// Tasks that workers have, each with what tells its worker that it was given up.
    working: Vec<(u64, Arc<AtomicBool>)>,
    lost_workers: usize,
    counts: HashMap<(ModelKey, bool), Count>,
    /// Newest record that any version of a line has seen, as of `seen_at` changes of the registry.
    seen_to: HashMap<ModelKey, Option<i64>>,
    seen_at: u64,
    tell_end: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
}

impl Scan {
    /// Takes up the tasks that were open when the agent ended.
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        let path = shared.state_dir.join(TASKS);
        let table = read_table(&shared.state_dir).unwrap_or_else(|error| {
            tracing::error!(%error, "open tasks are forgotten; the scan finds them again");
            Table::default()
        });
        let (tell_end, ended) = mpsc::channel();
        let mut scan = Self {
            shared,
            path,
            table,
            scratch: VecDeque::new(),
            fine_tune: VecDeque::new(),
            working: Vec::new(),
            lost_workers: 0,
            counts: HashMap::new(),
            seen_to: HashMap::new(),
            seen_at: 0,
            tell_end,
            ended,
        };
        for task in scan.table.open.clone() {
            scan.enqueue(&task);
        }
        scan.forget_checkpoints();
        scan
    }

    /// Scans until the agent ends. What goes wrong is a failed task.
    pub(super) fn run(mut self) {
        let mut next_scan = Instant::now();
        while !self.shared.stop.load(Relaxed) {
            match self.ended.recv_timeout(WAIT_MAX) {
                Ok((task, outcome)) => {
                    self.settle(task, outcome);
                    // Whoever waits behind it need not wait for the next scan.
                    self.start_tasks();
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if Instant::now() >= next_scan {
                next_scan = Instant::now() + self.shared.settings.scan;
                self.look();
            }
        }
    }

    fn look(&mut self) {
        self.bury_dead();
        self.forget_checkpoints();
        self.fill_queues();
        self.start_tasks();
    }

    /// One scan, and everything that it finds to do, however long it takes.
    #[cfg(all(test, feature = "demo"))]
    pub(super) fn work_off(&mut self) {
        self.look();
        while !self.working.is_empty() {
            let Ok((task, outcome)) = self.ended.recv() else {
                return;
            };
            self.settle(task, outcome);
            self.start_tasks();
        }
    }

    fn bury_dead(&mut self) {
        let now_ns = (self.shared.wall_ns)();
        let settings = self.shared.settings.clone();
        let open = std::mem::take(&mut self.table.open);
        let (dead, alive) = open
            .into_iter()
            .partition::<Vec<_>, _>(|task| is_dead(task, &settings, now_ns));
        self.table.open = alive;
        for mut task in dead {
            let was_working = self.working.iter().any(|(id, _)| *id == task.id);
            if let Some(at) = self.working.iter().position(|(id, _)| *id == task.id) {
                self.working.remove(at).1.store(true, Relaxed);
                self.lost_workers += 1;
                tracing::error!(
                    task = task.id,
                    "a task never came back; its worker is given up"
                );
            }
            if !was_working && task.reason == DRIFT {
                // Nobody has looked into it yet.
                self.shared.drifted.note(&task.key);
            }
            task.status.clone_from(&settings.status.dead);
            task.reason = too_old(&settings);
            self.close(&task, was_working);
            self.shared.stats.failed.fetch_add(1, Relaxed);
        }
    }

    fn fill_queues(&mut self) {
        let catalog = self.shared.buffer.catalog();
        let mut progress = Vec::new();
        'all: for rule in self.shared.rules.clone() {
            let mut of_rule = RecipeProgress {
                recipe: rule.name.clone(),
                pattern: rule.streams.clone(),
                rows_needed: rule.min_start_count,
                ..RecipeProgress::default()
            };
            for (id, name) in watched(&catalog, &rule.streams) {
                if self.table.open.len() >= QUEUE_MAX {
                    break 'all;
                }
                let key = ModelKey::new(&rule.name, name);
                let state = self.state_of(&rule, &key, id);
                of_rule.add(name, state.has_model || state.has_task, state.rows);
                if let Some(kind) = queue_for(&rule, &state) {
                    self.open_task(&rule, key, kind);
                }
            }
            progress.push(of_rule);
        }
        let told = &self.shared.stats.progress;
        *told.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    fn state_of(&mut self, rule: &RecipeRule, key: &ModelKey, stream: StreamId) -> LineState {
        let has_task = self.table.open.iter().any(|task| task.key == *key);
        if has_task {
            return LineState {
                has_task,
                ..LineState::default()
            };
        }
        let tried_to = self.table.tried_to.get(key).copied();
        let tried_to = tried_to.max(self.seen_to(key));
        let models = &self.shared.models;
        LineState {
            has_model: models.number_among(key, &rule.available_status).is_some(),
            rows: self.count((key, false), stream, i64::MIN, rule.min_start_count),
            rows_new: self.count(
                (key, true),
                stream,
                tried_to.unwrap_or(i64::MIN),
                rule.min_update_count,
            ),
            has_drifted: self.shared.drifted.has(key),
            has_task,
            was_tried: tried_to.is_some(),
        }
    }

    /// Newest record that any version has seen, nanoseconds UTC; looks at the disk only if versions
    /// have changed.
    fn seen_to(&mut self, key: &ModelKey) -> Option<i64> {
        let models = &self.shared.models;
        let changes = models.changes();
        if self.seen_at != changes {
            self.seen_to.clear();
            self.seen_at = changes;
        }
        *self.seen_to.entry(key.clone()).or_insert_with(|| {
            let versions = models.versions(key).unwrap_or_default();
            versions.iter().map(|version| version.lineage.last_ts).max()
        })
    }

    /// Records of `stream` after `since` (nanoseconds UTC), as far as `enough` asks; reads only what
    /// has arrived since it was asked last.
    fn count(
        &mut self,
        (key, new): (&ModelKey, bool),
        stream: StreamId,
        since: i64,
        enough: u64,
    ) -> u64 {
        let fresh = Count {
            since,
            counted_to: since,
            rows: 0,
        };
        let count = self.counts.entry((key.clone(), new)).or_insert(fresh);
        if count.since != since {
            *count = fresh;
        }
        if count.rows < enough {
            let query = Query {
                range: TimeRange {
                    from: Timestamp(count.counted_to.saturating_add(1)),
                    to: Timestamp::MAX,
                },
                rows_max: Some((enough - count.rows) as usize),
                ..Query::all(stream, Vec::new())
            };
            match self.shared.buffer.matrix(&query) {
                Ok(matrix) => {
                    count.rows += matrix.ts.len() as u64;
                    count.counted_to = matrix.ts.last().copied().unwrap_or(count.counted_to);
                }
                Err(why) => tracing::warn!(why, "cannot count records now"),
            }
        }
        count.rows
    }

    fn open_task(&mut self, rule: &RecipeRule, key: ModelKey, kind: TaskKind) {
        let shared = Arc::clone(&self.shared);
        self.table.next_id += 1;
        let parent = (kind == TaskKind::FineTune)
            .then(|| shared.models.number_among(&key, &rule.available_status))
            .flatten();
        let reason = if shared.drifted.has(&key) {
            DRIFT
        } else {
            "enough records"
        };
        let id = self.table.next_id;
        let to_ts = shared.buffer.shape().newest_ts.unwrap_or_default();
        let task = Task {
            id,
            kind,
            status: shared.settings.status.queued.clone(),
            started_ns: (shared.wall_ns)(),
            // The same records, the same model.
            seed: xxh3_64(format!("{id} {key} {to_ts}").as_bytes()),
            to_ts,
            parent,
            version: None,
            query: String::new(),
            reason: reason.to_owned(),
            key,
        };
        self.enqueue(&task);
        shared.journal.task(&task);
        self.table.open.push(task.clone());
        self.save();
        // The task is stored: somebody looks into it.
        shared.drifted.forget(&task.key);
    }

    fn enqueue(&mut self, task: &Task) {
        match task.kind {
            TaskKind::Scratch => self.scratch.push_back(task.id),
            TaskKind::FineTune => self.fine_tune.push_back(task.id),
        }
    }

    /// Gives waiting tasks to free workers; a stream without any model comes first.
    fn start_tasks(&mut self) {
        while self.working.len() < self.shared.settings.workers
            && self.lost_workers <= LOST_WORKERS_MAX
        {
            let next = self.scratch.pop_front();
            let Some(id) = next.or_else(|| self.fine_tune.pop_front()) else {
                break;
            };
            let status = self.shared.settings.status.training.clone();
            let Some(task) = self.table.open.iter_mut().find(|task| task.id == id) else {
                // Dead before its turn.
                continue;
            };
            if task.status != status {
                // One that was at work when the agent ended has used up some of its time.
                task.started_ns = (self.shared.wall_ns)();
                task.status = status;
            }
            let task = task.clone();
            self.save();
            self.shared.journal.task(&task);
            let rules = &self.shared.rules;
            let rule = rules.iter().find(|rule| rule.name == task.key.recipe);
            if let Some(rule) = rule.cloned() {
                self.start(task, rule);
            } else {
                let why = "its recipe is not configured any more".to_owned();
                self.settle(task, Outcome::Failed(why));
            }
        }
        let open = self.table.open.len() as u64;
        self.shared.stats.tasks_open.store(open, Relaxed);
    }

    fn start(&mut self, mut task: Task, rule: Arc<RecipeRule>) {
        let (shared, ended) = (Arc::clone(&self.shared), self.tell_end.clone());
        let (id, unstarted) = (task.id, task.clone());
        let given_up = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&given_up);
        shared.stats.tasks_started.fetch_add(1, Relaxed);
        let worker = thread::Builder::new().name("dunlin-task".into());
        let spawned = worker.spawn(move || {
            be_nice();
            let outcome = train::run(&shared, &rule, &mut task, &told);
            // Nobody listens any more when the agent has ended.
            let _gone = ended.send((task, outcome));
        });
        match spawned {
            Ok(_) => self.working.push((id, given_up)),
            Err(error) => self.settle(unstarted, Outcome::Failed(error.to_string())),
        }
    }

    fn settle(&mut self, mut task: Task, outcome: Outcome) {
        if let Some(at) = self.working.iter().position(|(id, _)| *id == task.id) {
            self.working.remove(at);
        } else if !self.table.open.iter().any(|open| open.id == task.id) {
            // It was given up, and has come back after all.
            self.lost_workers = self.lost_workers.saturating_sub(1);
            return;
        }
        let (words, stats) = (&self.shared.settings.status, &self.shared.stats);
        match outcome {
            Outcome::Interrupted => return,
            Outcome::Promoted(version) => {
                stats.promoted.fetch_add(1, Relaxed);
                task.version = Some(version);
                task.status.clone_from(&words.available);
                task.reason = "passed the gate".into();
            }
            Outcome::Rejected(version, why) => {
                stats.rejected.fetch_add(1, Relaxed);
                task.version = Some(version);
                task.status.clone_from(&words.rejected);
                task.reason = why;
            }
            Outcome::Failed(why) => {
                stats.failed.fetch_add(1, Relaxed);
                task.status.clone_from(&words.failed);
                task.reason = why;
            }
            Outcome::TimedOut => {
                stats.failed.fetch_add(1, Relaxed);
                task.status.clone_from(&words.dead);
                task.reason = too_old(&self.shared.settings);
            }
        }
        self.table.open.retain(|open| open.id != task.id);
        self.close(&task, true);
        let keep = self.shared.settings.versions_max;
        if let Err(error) = self.shared.models.prune(&task.key, keep) {
            tracing::warn!(key = %task.key, %error, "cannot delete old versions");
        }
    }

    /// A task has come to its end; if it `was_tried`, it is not tried again without new records.
    fn close(&mut self, task: &Task, was_tried: bool) {
        let (id, key, status, reason) = (task.id, &task.key, &task.status, &task.reason);
        tracing::info!(task = id, %key, status, reason, "task ended");
        if task.version.is_some() {
            // What it has seen is told by its version, as long as there is one.
            self.table.tried_to.remove(key);
        } else if was_tried {
            self.table.tried_to.insert(key.clone(), task.to_ts);
        }
        self.shared.journal.task(task);
        self.save();
        // There may never have been one.
        let _none = std::fs::remove_file(train::checkpoint_path(&self.shared, task));
    }

    /// Deletes checkpoints of tasks that nobody knows any more: left by a cut, or stored by a worker
    /// that was given up while it did.
    fn forget_checkpoints(&self) {
        let open = self.table.open.iter();
        let wanted: HashSet<PathBuf> = open
            .map(|task| train::checkpoint_path(&self.shared, task))
            .collect();
        for entry in std::fs::read_dir(&self.shared.state_dir)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let is_checkpoint = name
                .to_str()
                .is_some_and(|name| name.starts_with(train::CHECKPOINT));
            // One that is being stored has a name of its own until it is whole.
            let of = state_file::stored_as(&entry.path());
            if is_checkpoint && !wanted.contains(&of) {
                // The next look tries again.
                let _left = std::fs::remove_file(entry.path());
            }
        }
    }

    fn save(&self) {
        if let Err(error) = state_file::write(&self.path, &self.table) {
            tracing::warn!(path = %self.path.display(), %error, "cannot store the open tasks");
        }
    }
}

fn too_old(settings: &LearnSettings) -> String {
    format!("older than {} s (learn.limit_s)", settings.limit.as_secs())
}

/// Streams that a glob means, the agent's own left out.
fn watched<'a>(
    catalog: &'a Catalog,
    glob: &'a str,
) -> impl Iterator<Item = (StreamId, &'a str)> + 'a {
    let streams = catalog.streams.iter().filter(move |stream| {
        let schema = catalog.schema(stream.schema);
        schema.is_some_and(|schema| !schema.name.starts_with(OWN_TABLE_PREFIX))
            && catalog.is_here(stream)
            && means(glob, catalog, stream)
    });
    streams.map(|stream| (stream.id, stream.name.as_str()))
}

/// Lowers the priority of this thread, as far as the system lets it.
#[allow(unsafe_code)]
fn be_nice() {
    // On Linux this concerns the calling thread alone.
    // SAFETY: a system call on numbers.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
    }
}

#[cfg(test)]
mod tests;
