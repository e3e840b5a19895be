//! The scan: marks dead tasks, fills the two queues, gives tasks to workers, notes how they end.
//!
//! Promises: a scan never waits for a task; tasks that are open survive a restart in a file of their
//! own; at most `workers` tasks are under way, and a task that never returns costs its worker only
//! until it is dead, when another takes its place, [`LOST_WORKERS_MAX`] times.

pub(in crate::learn) mod drifted;
mod ending;
mod open_tasks;
pub(in crate::learn) mod store;
pub mod task;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
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
    buffer::RowCount,
    sample::{Catalog, StreamId},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    base::glob::means,
    config::settings::RecipeRule,
    learn::{
        Shared,
        scheduler::{
            open_tasks::OpenTasks,
            task::{LineState, Task, TaskKind, TaskState, queue_for},
        },
        training::{run, run::Outcome},
    },
    observe::progress::RecipeProgress,
    record::writer::OWN_TABLE_PREFIX,
};

/// Longest wait before the end of the agent is noticed.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Workers that never came back before nothing more is learnt.
const LOST_WORKERS_MAX: usize = 4;
/// Niceness of a task's thread: whatever else there is to do comes first.
const NICENESS: i32 = 15;
/// Tasks waiting at most, all recipes together.
const QUEUE_MAX: usize = 4_096;

/// Why a task was queued before there were enough records.
const DRIFT: &str = "drift";

/// Records of a stream since some moment, as they were counted once.
#[derive(Clone, Copy, Debug)]
struct Count {
    stream: StreamId,
    since: i64,
    then: RowCount,
}

/// What decides whether there is something to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    next_seq: u64,
    catalog: u64,
    models: u64,
    drifts: u64,
}

/// A task that has come back from its worker.
type Ended = (Task, Outcome);

pub(in crate::learn) struct Scan {
    shared: Arc<Shared>,
    tasks: OpenTasks,
    scratch: VecDeque<u64>,
    fine_tune: VecDeque<u64>,
    /// Tasks that workers have, each with what tells its worker that it was given up.
    working: Vec<(u64, Arc<AtomicBool>)>,
    lost_workers: usize,
    counts: HashMap<ModelKey, Count>,
    /// Newest record that any version of a line has seen, as of `seen_at` changes of the registry.
    seen_to: HashMap<ModelKey, Option<i64>>,
    seen_at: u64,
    /// What there was to look at when the queues were filled last.
    looked_at: Option<Seen>,
    /// Something else has changed since: a task has ended, or could not be opened yet.
    has_news: bool,
    tell_end: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
}

impl Scan {
    /// Takes up the tasks that were open when the agent ended.
    pub(in crate::learn) fn open(shared: Arc<Shared>) -> Self {
        let tasks = OpenTasks::open(&shared.state_dir, &shared.settings.status);
        let (tell_end, ended) = mpsc::channel();
        let mut scan = Self {
            shared,
            tasks,
            scratch: VecDeque::new(),
            fine_tune: VecDeque::new(),
            working: Vec::new(),
            lost_workers: 0,
            counts: HashMap::new(),
            seen_to: HashMap::new(),
            seen_at: 0,
            looked_at: None,
            has_news: false,
            tell_end,
            ended,
        };
        for task in scan.tasks.all().to_vec() {
            scan.enqueue(&task);
        }
        scan.forget_checkpoints();
        scan.keep_streams();
        scan
    }

    /// Scans until the agent ends. What goes wrong is a failed task.
    pub(in crate::learn) fn run(mut self) {
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
        self.keep_streams();
        self.start_tasks();
    }

    /// One scan, and everything that it finds to do, however long it takes.
    #[cfg(all(test, feature = "demo"))]
    pub(in crate::learn) fn work_off(&mut self) {
        self.look();
        while !self.working.is_empty() {
            let Ok((task, outcome)) = self.ended.recv() else {
                return;
            };
            self.settle(task, outcome);
            self.start_tasks();
        }
    }

    fn fill_queues(&mut self) {
        let shared = &self.shared;
        let seen = Seen {
            next_seq: shared.buffer.next_seq(),
            catalog: shared.buffer.catalog().changes(),
            models: shared.models.changes(),
            drifts: shared.drifted.notes(),
        };
        if self.looked_at == Some(seen) && !self.has_news {
            return;
        }
        let before = self.looked_at.replace(seen);
        if before.map(|b| (b.catalog, b.models)) != Some((seen.catalog, seen.models)) {
            self.forget_gone();
        }
        self.has_news = false;
        let before = self.tasks.all().len();
        self.open_where_due();
        self.tasks.save();
        for task in &self.tasks.all()[before..] {
            // The task is stored: somebody looks into it.
            self.shared.drifted.forget(&task.key);
        }
    }

    fn open_where_due(&mut self) {
        let catalog = self.shared.buffer.catalog();
        let open = self.tasks.all().iter();
        let mut with_task: HashSet<ModelKey> = open.map(|task| task.key.clone()).collect();
        let mut progress = Vec::new();
        'all: for rule in self.shared.rules.clone() {
            let mut of_rule = RecipeProgress {
                recipe: rule.name.clone(),
                pattern: rule.streams.clone(),
                rows_needed: rule.min_start_count,
                ..RecipeProgress::default()
            };
            for (id, name) in watched(&catalog, &rule.streams) {
                if self.tasks.all().len() >= QUEUE_MAX {
                    self.has_news = true;
                    break 'all;
                }
                let key = ModelKey::new(&rule.name, name);
                let state = self.state_of(&rule, &key, id, with_task.contains(&key));
                let shown = catalog.name_shown(name);
                of_rule.add(&shown, state.has_model || state.has_task, state.rows);
                if let Some(kind) = queue_for(&rule, &state) {
                    with_task.insert(key.clone());
                    self.open_task(&rule, key, kind);
                }
            }
            progress.push(of_rule);
        }
        let told = &self.shared.stats.progress;
        *told.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        if self.counts.len() > catalog.streams().len() * self.shared.rules.len() {
            // Of streams that are forgotten.
            self.counts
                .retain(|_, count| catalog.stream(count.stream).is_some());
        }
    }

    /// What is kept of streams that were forgotten gives way where there is no room for others.
    fn forget_gone(&mut self) {
        let catalog = self.shared.buffer.catalog();
        let is_gone = |key: &ModelKey| catalog.stream_named(&key.stream).is_none();
        self.tasks.forget_gone(is_gone);
        let mut gone: BTreeSet<ModelKey> = self.shared.models.keys().into_iter().collect();
        gone.retain(is_gone);
        for task in self.tasks.all() {
            gone.remove(&task.key);
        }
        self.shared.models.spare_lines(gone);
    }

    /// Streams of open tasks are not forgotten.
    fn keep_streams(&self) {
        let open = self.tasks.all().iter();
        let streams = open.map(|task| task.key.stream.clone());
        self.shared.buffer.keep_streams(streams.collect());
    }

    fn state_of(
        &mut self,
        rule: &RecipeRule,
        key: &ModelKey,
        stream: StreamId,
        has_task: bool,
    ) -> LineState {
        if has_task {
            return LineState {
                has_task,
                ..LineState::default()
            };
        }
        let tried_to = self.tasks.tried_to(key);
        let tried_to = tried_to.max(self.seen_to(key));
        let models = &self.shared.models;
        LineState {
            has_model: models.number_among(key, &rule.available_status).is_some(),
            rows: self.shared.buffer.rows_seen(stream),
            rows_new: self.rows_new(key, stream, tried_to),
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

    /// Records of `stream` after `since` (nanoseconds UTC); reads blocks only when it is first asked about
    /// that moment.
    fn rows_new(&mut self, key: &ModelKey, stream: StreamId, since: Option<i64>) -> u64 {
        let buffer = &self.shared.buffer;
        let Some(since) = since else {
            return buffer.rows_seen(stream);
        };
        let known = self.counts.get(key);
        let known = known.filter(|count| (count.stream, count.since) == (stream, since));
        let then = match known {
            Some(count) => count.then,
            None => match buffer.rows_after(stream, since) {
                Ok(then) => {
                    let count = Count {
                        stream,
                        since,
                        then,
                    };
                    self.counts.insert(key.clone(), count);
                    then
                }
                Err(why) => {
                    tracing::warn!(why, "cannot count records now");
                    self.has_news = true;
                    return 0;
                }
            },
        };
        then.rows + buffer.rows_seen(stream).saturating_sub(then.rows_seen)
    }

    fn open_task(&mut self, rule: &RecipeRule, key: ModelKey, kind: TaskKind) {
        let shared = Arc::clone(&self.shared);
        let parent = (kind == TaskKind::FineTune)
            .then(|| shared.models.number_among(&key, &rule.available_status))
            .flatten();
        let reason = if shared.drifted.has(&key) {
            DRIFT
        } else {
            "enough records"
        };
        let id = self.tasks.next_id();
        let to_ts = shared.buffer.shape().newest_ts.unwrap_or_default();
        let task = Task {
            id,
            kind,
            state: TaskState::Queued,
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
        shared.journal.task(&task, &shared.settings.status);
        self.tasks.put(task);
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
            let Some(mut task) = self.tasks.get(id).cloned() else {
                // Dead before its turn.
                continue;
            };
            if task.state != TaskState::Training {
                // One that was at work when the agent ended has used up some of its time.
                task.started_ns = (self.shared.wall_ns)();
                task.state = TaskState::Training;
            }
            self.tasks.put(task.clone());
            self.tasks.save();
            self.shared
                .journal
                .task(&task, &self.shared.settings.status);
            let rules = &self.shared.rules;
            let rule = rules.iter().find(|rule| rule.name == task.key.recipe);
            if let Some(rule) = rule.cloned() {
                self.start(task, rule);
            } else {
                let why = "its recipe is not configured any more".to_owned();
                self.settle(task, Outcome::Failed(why));
            }
        }
        let open = self.tasks.all().len() as u64;
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
            let outcome = run::run(&shared, &rule, &mut task, &told);
            // Nobody listens any more when the agent has ended.
            let _gone = ended.send((task, outcome));
        });
        match spawned {
            Ok(_) => self.working.push((id, given_up)),
            Err(error) => self.settle(unstarted, Outcome::Failed(error.to_string())),
        }
    }
}

/// Streams that a glob means, the agent's own left out.
fn watched<'a>(
    catalog: &'a Catalog,
    glob: &'a str,
) -> impl Iterator<Item = (StreamId, &'a str)> + 'a {
    let streams = catalog.streams().filter(move |stream| {
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
