//! Kills a process that commits to a buffer, at random moments, and looks at each start whether all it had
//! acknowledged is there.
//!
//! `buffer_kills [--kills N] [--seed S]`. What `crash_loop` does to the whole agent, done to the buffer alone, many
//! times as often: a kill hits opening, committing, sealing, reading and deleting. Records have numbers, and follow
//! each other in the buffer without a gap: from one of those that were let go of, or the next, to the last
//! acknowledged one at least. What was not acknowledged comes again, and is recognised. Prints one line of JSON;
//! exits with 1 on a violation.

use std::{
    collections::HashSet,
    error::Error,
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
    sample::{Field, FieldType, Sample, Schema, Split, Timestamp, Value},
};
use dunlin_tests::options::{option, refuse_others};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

/// Longest life of a process that is killed.
const LIFE_MAX: Duration = Duration::from_millis(150);
/// Bound of the buffer: generations of 1 MiB.
const BYTES_MAX: u64 = 8 << 20;
/// Uploaded blocks that it keeps.
const REPLAY_BYTES_MAX: u64 = 2 << 20;
const STREAMS: u64 = 25;
/// Every so many-th record takes several blocks.
const WIDE_EVERY: u64 = 1_009;
const WIDE_FIELDS: u64 = 1_200;
/// Most records in a commit.
const COMMIT_MAX: u64 = 1_000;
const FIRST_TS: i64 = 1_800_000_000_000_000_000;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let done = match &args[..] {
        [_, what, dir, seed] if what == "work" || what == "look" => {
            let dir = Path::new(dir);
            seed.parse().map_err(Failed::from).and_then(|seed| {
                let victim = Victim::start(dir, seed)?;
                if what == "work" {
                    victim.work()
                } else {
                    Ok(())
                }
            })
        }
        _ => {
            refuse_others(&["kills", "seed"]);
            let kills = option("kills").unwrap_or(300);
            let seed = option("seed").unwrap_or_else(rand::random::<u64>);
            run(kills, seed).map_err(|error| {
                format!("{error}\nagain with: buffer_kills --kills {kills} --seed {seed}").into()
            })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(kills: u64, seed: u64) -> Result<(), Failed> {
    let begun = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir()?;
    let program = std::env::current_exe()?;
    let mut victim = |what: &str| {
        let seed = rng.random::<u64>().to_string();
        let life = rng.random_range(Duration::ZERO..LIFE_MAX);
        let mut command = Command::new(&program);
        command.arg(what).arg(dir.path()).arg(seed);
        (command, life)
    };
    let mut wrong = None;
    for kill in 0..kills {
        let (mut command, life) = victim("work");
        let mut process = command.spawn()?;
        sleep(life);
        process.kill()?;
        // One that found something wrong, or could not go on, has an exit code.
        if process.wait()?.code().is_some() {
            wrong = Some(kill);
            break;
        }
    }
    if !victim("look").0.status()?.success() {
        wrong = wrong.or(Some(kills));
    }
    let (acknowledged, let_go) = (
        Journal::last(dir.path(), ACKNOWLEDGED),
        Journal::last(dir.path(), LET_GO),
    );
    let line = json!({
        "kills": kills, "seed": seed, "acknowledged": acknowledged.number, "let_go": let_go.number,
        "seconds": begun.elapsed().as_secs_f64(),
    });
    println!("{line}");
    match wrong {
        None if kills > 0 && acknowledged.number == 0 => {
            Err("nothing was acknowledged before a kill: nothing was tried".into())
        }
        None => Ok(()),
        Some(kill) => {
            let kept = dir.keep();
            Err(format!(
                "after {kill} kills; everything is kept in {}",
                kept.display()
            )
            .into())
        }
    }
}

/// How far somebody is.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// Of the next record.
    number: u64,
    /// Of the next block.
    seq: u64,
}

/// Marks, one after the other, in a file.
struct Journal(File);

const ACKNOWLEDGED: &str = "acknowledged";
const LET_GO: &str = "let_go";
const MARK_BYTES: usize = 16;

impl Journal {
    fn last(dir: &Path, name: &str) -> Mark {
        let bytes = fs::read(dir.join(name)).unwrap_or_default();
        let last = bytes.chunks_exact(MARK_BYTES).next_back();
        let word = |at: usize| {
            let bytes = last.and_then(|mark| mark[at..at + 8].try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        Mark {
            number: word(0),
            seq: word(8),
        }
    }

    /// To go on with, after what may have been cut short.
    fn open(dir: &Path, name: &str) -> Result<Self, Failed> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(name))?;
        let bytes = file.metadata()?.len();
        file.set_len(bytes - bytes % MARK_BYTES as u64)?;
        Ok(Self(file))
    }

    fn add(&mut self, mark: Mark) -> Result<(), Failed> {
        let mut bytes = mark.number.to_le_bytes().to_vec();
        bytes.extend(mark.seq.to_le_bytes());
        Ok(self.0.write_all(&bytes)?)
    }
}

/// The process that is killed.
struct Victim {
    buffer: Arc<Buffer>,
    acknowledged: Journal,
    let_go: Journal,
    /// Uploaded so far.
    uploaded: Mark,
    /// Of the next record to arrive.
    next: u64,
    rng: StdRng,
}

impl Victim {
    /// Opens the buffer and looks at everything in it.
    fn start(dir: &Path, seed: u64) -> Result<Self, Failed> {
        let (acknowledged, uploaded) =
            (Journal::last(dir, ACKNOWLEDGED), Journal::last(dir, LET_GO));
        let mut options = BufferOptions::new(dir.join("buffer"), BYTES_MAX);
        options.replay_bytes_max = REPLAY_BYTES_MAX;
        options.seq_floor = uploaded.seq;
        let (buffer, recovery) = Buffer::open(options)?;
        if recovery.newest_lost || !recovery.set_aside.is_empty() {
            return Err(format!("damaged by a kill: {recovery:?}").into());
        }
        let (mut first, mut next, mut seq) = (None, 0, buffer.oldest_seq());
        while seq < buffer.next_seq() {
            for number in numbers(&buffer, seq)? {
                if *first.get_or_insert(number) != number && number != next {
                    return Err(format!("block {seq}: record {number} in place of {next}").into());
                }
                next = number + 1;
            }
            seq += 1;
        }
        let first = first.unwrap_or(acknowledged.number);
        if first > uploaded.number || next.max(first) < acknowledged.number {
            let (let_go, acknowledged) = (uploaded.number, acknowledged.number);
            return Err(format!(
                "records {first} to {next} are there, {let_go} to {acknowledged} should be"
            )
            .into());
        }
        Ok(Self {
            buffer: Arc::new(buffer),
            acknowledged: Journal::open(dir, ACKNOWLEDGED)?,
            let_go: Journal::open(dir, LET_GO)?,
            uploaded,
            next: acknowledged.number,
            rng: StdRng::seed_from_u64(seed),
        })
    }

    /// Commits and uploads until it is killed.
    fn work(self) -> Result<(), Failed> {
        let Self {
            buffer,
            mut acknowledged,
            let_go,
            uploaded,
            mut next,
            mut rng,
        } = self;
        let kinds = Kinds::declare(&buffer, rng.random_range(0..4))?;
        let known: HashSet<u64> = buffer.fingerprints().into_iter().collect();
        let ours = Arc::clone(&buffer);
        let uploading = thread::spawn(move || upload(&ours, let_go, uploaded));
        let mut builder = BlockBuilder::new(Compression::default());
        let mut last_ts = buffer.shape().newest_ts.unwrap_or(FIRST_TS);
        loop {
            let end = next + rng.random_range(1..COMMIT_MAX);
            // Some of these were committed, and nobody was told.
            let new: Vec<u64> = (next..end)
                .filter(|number| !known.contains(number))
                .collect();
            for number in &new {
                last_ts += 1;
                kinds.push(&mut builder, *number, last_ts)?;
            }
            let blocks = builder.finish();
            while let Err(error) = buffer.commit(&blocks, &new) {
                if uploading.is_finished() {
                    return Err(error.into());
                }
                thread::yield_now();
            }
            next = end;
            acknowledged.add(Mark {
                number: next,
                seq: 0,
            })?;
        }
    }
}

/// Reads what is committed, and lets go of it.
fn upload(buffer: &Buffer, mut let_go: Journal, mut uploaded: Mark) -> Result<(), Failed> {
    loop {
        while uploaded.seq < buffer.next_seq() {
            if let Some(last) = numbers(buffer, uploaded.seq)?.last() {
                uploaded.number = last + 1;
            }
            uploaded.seq += 1;
        }
        let_go.add(uploaded)?;
        buffer.uploaded_to(uploaded.seq);
        thread::yield_now();
    }
}

/// Of the records in block `seq`, in order.
fn numbers(buffer: &Buffer, seq: u64) -> Result<Vec<u64>, Failed> {
    let block = buffer
        .read_block(seq)?
        .ok_or_else(|| format!("block {seq} is lost"))?;
    let mut rows = Vec::new();
    for section in &block.sections {
        let numbers = section.rows.columns.get(0).ok_or("no number")?;
        for (row, ts) in section.rows.ts.iter().enumerate() {
            let Some(Value::I64(number)) = numbers.get(row) else {
                return Err(format!("block {seq}: no number").into());
            };
            rows.push((*ts, number as u64));
        }
    }
    rows.sort_unstable();
    Ok(rows.into_iter().map(|(_, number)| number).collect())
}

/// What records there are.
struct Kinds {
    narrow: Arc<Schema>,
    wide: Arc<Schema>,
    /// Of narrow ones.
    streams: Vec<u32>,
    wide_stream: u32,
}

impl Kinds {
    /// Declares them; the streams have other names for each `name`.
    fn declare(buffer: &Buffer, name: u64) -> Result<Self, Failed> {
        let field = |name: &str, kind| Field {
            name: name.to_owned(),
            kind,
        };
        let mut fields = vec![field("n", FieldType::I64), field("v", FieldType::F64)];
        let tags = ["device".to_owned()];
        let narrow = buffer.declare_schema("narrow", &tags, &fields)?;
        fields.extend((0..WIDE_FIELDS).map(|number| field(&format!("w{number}"), FieldType::F64)));
        let wide = buffer.declare_schema("wide", &tags, &fields)?;
        let stream = |schema: &Schema, number: u64| {
            let name = format!("{}/{name}/{number}", schema.name);
            buffer
                .declare_stream(schema.id, &name, &["device".to_owned()])
                .id
        };
        let streams = (0..STREAMS).map(|number| stream(&narrow, number)).collect();
        let wide_stream = stream(&wide, 0);
        Ok(Self {
            narrow,
            wide,
            streams,
            wide_stream,
        })
    }

    fn push(&self, builder: &mut BlockBuilder, number: u64, ts: i64) -> Result<(), Failed> {
        let is_wide = number % WIDE_EVERY == WIDE_EVERY - 1;
        let (schema, stream) = if is_wide {
            (&self.wide, self.wide_stream)
        } else {
            (&self.narrow, self.streams[(number % STREAMS) as usize])
        };
        let mut values = vec![Some(Value::I64(number as i64)), Some(Value::F64(0.5))];
        if is_wide {
            let value = |field: u64| Value::F64((number.wrapping_mul(field) % 4_099) as f64 / 8.0);
            values.extend((0..WIDE_FIELDS).map(|field| Some(value(field))));
        }
        let sample = Sample {
            stream,
            ts: Timestamp(ts),
            split: Split {
                is_train: !number.is_multiple_of(5),
                fold: 0,
            },
            source_ts: None,
            values: values.into_iter().collect(),
        };
        Ok(builder.push(schema, sample)?)
    }
}
