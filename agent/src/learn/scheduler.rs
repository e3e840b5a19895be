//! The scheduler: looks for what is to be learnt and begins it.
//!
//! Promises: a look never waits for a task; tasks that are open survive a restart in a file of their own; at most
//! `workers` tasks are under way, and a task that never returns costs its worker only until it is dead.
//!
//! `lines` says what is known, `queue` what follows from it and which task is next, `workers` do it, the `rescuer`
//! gives up what is dead, and every task ends in `ending`.

pub(in crate::learn) mod drifted;
pub(in crate::learn) mod ending;
mod lines;
mod open_tasks;
mod queue;
mod rescuer;
pub(in crate::learn) mod store;
pub mod task;
mod workers;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use dunlin_models::registry::ModelKey;
use dunlin_sync::{
    lock::unpoisoned,
    sample::{Catalog, Stream},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    base::{glob::means, progress::RecipeProgress},
    learn::{
        Shared,
        released::Candidate,
        scheduler::{
            ending::Ending,
            lines::{Lines, RecipeLine},
            open_tasks::OpenTasks,
            queue::{Queue, queue_for},
            task::{DRIFT, Task, TaskKind, TaskState},
            workers::{Returned, Workers},
        },
        training::checkpoint,
    },
    record::writer::OWN_TABLE_PREFIX,
};

/// Longest wait before the end of the agent is noticed.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Tasks that are open at most, all recipes together.
const OPEN_MAX: usize = 4_096;

/// What decides whether there is something to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    next_seq: u64,
    catalog: u64,
    models: u64,
    drifts: u64,
    releases: u64,
    ends: u64,
}

pub(in crate::learn) struct Scheduler {
    shared: Arc<Shared>,
    tasks: OpenTasks,
    queue: Queue,
    workers: Workers,
    lines: Lines,
    /// What there was to look at when the queues were filled last.
    looked_at: Option<Seen>,
    /// Then something was left for the next look.
    left_some: bool,
}

impl Scheduler {
    /// Takes up the tasks that were open when the agent ended.
    pub(in crate::learn) fn open(shared: Arc<Shared>) -> Self {
        let tasks = OpenTasks::open(&shared.state_dir, &shared.settings.status);
        let mut queue = Queue::default();
        for task in tasks.all() {
            queue.push(task);
        }
        let scheduler = Self {
            shared,
            tasks,
            queue,
            workers: Workers::new(),
            lines: Lines::default(),
            looked_at: None,
            left_some: false,
        };
        scheduler.sweep_checkpoints();
        scheduler.keep_streams();
        scheduler
    }

    /// Looks and begins until the agent ends. What goes wrong is a failed task.
    pub(in crate::learn) fn run(mut self) {
        let mut next_look = Instant::now();
        while !self.shared.stop.load(Relaxed) {
            if let Some(returned) = self.workers.next_returned(WAIT_MAX) {
                self.settle(returned);
                // Whoever waits behind it need not wait for the next look.
                self.start_tasks();
            }
            if Instant::now() >= next_look {
                next_look = Instant::now() + self.shared.settings.scan;
                self.look();
            }
        }
    }

    fn look(&mut self) {
        rescuer::bury_dead(&self.shared, &mut self.tasks, &mut self.workers);
        self.sweep_checkpoints();
        self.fill_queues();
        self.keep_streams();
        self.start_tasks();
    }

    /// One look, and everything that it finds to do, however long it takes.
    #[cfg(all(test, feature = "demo"))]
    pub(in crate::learn) fn work_off(&mut self) {
        self.look();
        while !self.workers.are_idle() {
            if let Some(returned) = self.workers.next_returned(WAIT_MAX) {
                self.settle(returned);
                self.start_tasks();
            }
        }
    }

    /// Opens tasks where there is something to learn, if anything has changed.
    fn fill_queues(&mut self) {
        let shared = &self.shared;
        let seen = Seen {
            next_seq: shared.buffer.next_seq(),
            catalog: shared.buffer.catalog().changes(),
            models: shared.models.changes(),
            drifts: shared.drifted.notes(),
            releases: shared.released.notes(),
            ends: self.tasks.ends(),
        };
        if self.looked_at == Some(seen) && !self.left_some {
            return;
        }
        let before = self.looked_at.replace(seen);
        if before.map(|b| (b.catalog, b.models)) != Some((seen.catalog, seen.models)) {
            self.forget_gone();
        }
        let before = self.tasks.all().len();
        self.open_tasks();
        self.tasks.save();
        for task in &self.tasks.all()[before..] {
            if task.kind != TaskKind::Released {
                // The task is stored: somebody looks into it.
                self.shared.drifted.forget(&task.key);
            }
        }
    }

    fn open_tasks(&mut self) {
        self.left_some = false;
        let shared = Arc::clone(&self.shared);
        let catalog = shared.buffer.catalog();
        let open = self.tasks.all().iter();
        let mut with_task: HashSet<ModelKey> = open.map(|task| task.key.clone()).collect();
        let mut progress = Vec::new();
        'all: for rule in &shared.rules {
            let mut of_rule = RecipeProgress {
                recipe: rule.name.clone(),
                pattern: rule.streams.clone(),
                rows_needed: rule.min_start_count,
                waits_for_release: !rule.train,
                ..RecipeProgress::default()
            };
            for stream in watched(&catalog, &rule.streams) {
                if self.tasks.all().len() >= OPEN_MAX {
                    self.left_some = true;
                    break 'all;
                }
                let key = ModelKey::new(&rule.name, &stream.name);
                let shown = catalog.name_shown(&stream.name);
                if with_task.contains(&key) {
                    of_rule.add(&shown, true, 0);
                    continue;
                }
                let stream = stream.id;
                let line = RecipeLine { rule, key, stream };
                let tried_to = self.tasks.tried_to(&line.key);
                let state = self.lines.state(&shared, &line, tried_to);
                self.left_some |= state.rows_new.is_none();
                let can_judge = state.has_model || state.rows >= rule.min_start_count;
                let released = shared.released.due(&line.key).filter(|_| can_judge);
                of_rule.add(&shown, state.has_model, state.rows);
                let kind = released.as_ref().map(|_| TaskKind::Released);
                if let Some(kind) = kind.or_else(|| queue_for(rule, &state)) {
                    with_task.insert(line.key.clone());
                    self.open_task(line, kind, released.as_ref());
                }
            }
            progress.push(of_rule);
        }
        let told = &shared.stats.progress;
        *unpoisoned(told.lock()) = progress;
        let lines_max = catalog.streams().len() * shared.rules.len();
        self.lines.shrink(&catalog, lines_max);
    }

    fn open_task(&mut self, line: RecipeLine<'_>, kind: TaskKind, released: Option<&Candidate>) {
        let shared = &self.shared;
        let RecipeLine { rule, key, .. } = line;
        let parent = (kind == TaskKind::FineTune)
            .then(|| shared.models.number_among(&key, &rule.available_status))
            .flatten();
        let reason = match released {
            Some(candidate) => format!("release {}", candidate.serial),
            None if shared.drifted.has(&key) => DRIFT.to_owned(),
            None => "enough records".to_owned(),
        };
        let id = self.tasks.next_id();
        let to_ts = shared.buffer.shape().newest_ts.unwrap_or_default();
        let task = Task {
            id,
            kind,
            state: TaskState::Queued,
            started_ns: (shared.wall_ns)(),
            // The same records, the same model.
            seed: released.map_or_else(
                || xxh3_64(format!("{id} {key} {to_ts}").as_bytes()),
                |candidate| candidate.seed(&key),
            ),
            to_ts,
            parent,
            version: None,
            query: String::new(),
            reason,
            key,
        };
        self.queue.push(&task);
        shared.tables.task(&task, &shared.settings.status);
        self.tasks.put(task);
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

    /// Those of tasks that nobody knows any more: left by a cut, or stored by a worker that was given up while
    /// it did.
    fn sweep_checkpoints(&self) {
        checkpoint::sweep(&self.shared.state_dir, self.tasks.all());
    }

    /// Gives waiting tasks to free workers.
    fn start_tasks(&mut self) {
        while self.workers.has_room(self.shared.settings.workers) {
            let Some(id) = self.queue.pop() else {
                break;
            };
            let Some(task) = self.tasks.get(id) else {
                // Dead before its turn.
                continue;
            };
            self.start(task.clone());
        }
        let open = self.tasks.all().len() as u64;
        self.shared.stats.tasks_open.store(open, Relaxed);
    }

    fn start(&mut self, mut task: Task) {
        let shared = Arc::clone(&self.shared);
        if task.state != TaskState::Training {
            // One that was at work when the agent ended has used up some of its time.
            task.started_ns = (shared.wall_ns)();
            task.state = TaskState::Training;
        }
        self.tasks.put(task.clone());
        self.tasks.save();
        shared.tables.task(&task, &shared.settings.status);
        let mut rules = shared.rules.iter();
        let why = match rules.find(|rule| rule.name == task.key.recipe) {
            // It was put in line before the configuration was changed.
            Some(rule) if !rule.train && task.kind != TaskKind::Released => {
                Err("its recipe makes no models here any more (train = false)".to_owned())
            }
            Some(rule) => {
                shared.stats.tasks_started.fetch_add(1, Relaxed);
                let started = self.workers.start(&shared, Arc::clone(rule), task.clone());
                started.map_err(|error| error.to_string())
            }
            None => Err("its recipe is not configured any more".to_owned()),
        };
        if let Err(why) = why {
            ending::close(&shared, &mut self.tasks, task, Ending::Failed(why));
        }
    }

    /// A task has come back from its worker.
    fn settle(&mut self, returned: Returned) {
        let Returned { task, ending } = returned;
        if !self.workers.free(task.id) && self.tasks.get(task.id).is_none() {
            // It was given up, and has come back after all.
            self.workers.find_again();
            return;
        }
        ending::close(&self.shared, &mut self.tasks, task, ending);
    }
}

/// Streams that a glob means, the agent's own left out.
fn watched<'a>(catalog: &'a Catalog, glob: &'a str) -> impl Iterator<Item = &'a Arc<Stream>> + 'a {
    catalog.streams().filter(move |stream| {
        let schema = catalog.schema(stream.schema);
        schema.is_some_and(|schema| !schema.name.starts_with(OWN_TABLE_PREFIX))
            && catalog.is_here(stream)
            && means(glob, catalog, stream)
    })
}

#[cfg(test)]
mod tests;
