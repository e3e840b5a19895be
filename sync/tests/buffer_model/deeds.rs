//! Everything else that happens to a buffer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::atomic::Ordering::Relaxed,
};

use dunlin_sync::buffer::WhenFull;

use crate::{
    device::{BYTES_MAX, Device, HEADROOM_BYTES, Kept, Row, SIZE_SLACK_BYTES, rows_of},
    disk::{dir_bytes, tear},
    ops::{Harm, Kind, Op},
};

impl Device {
    pub(crate) fn run(&mut self, op: &Op) {
        match op {
            Op::Commit { rows, salt } => drop(self.commit(*rows, *salt, Kind::Small)),
            Op::CommitLarge { rows, salt } => drop(self.commit(*rows, *salt, Kind::Large)),
            Op::CommitWide { rows, salt } => drop(self.commit(*rows, *salt, Kind::Wide)),
            Op::Fill { salt } => self.fill(*salt),
            Op::Upload { share } => {
                self.upload(*share);
                self.check_counts(*share);
            }
            Op::Reopen => self.reopen(),
            Op::Crash => self.crash(),
            Op::PowerCut { rows, kind, salt } => self.power_cut(*rows, *kind, *salt),
            Op::NewStreams {
                streams,
                name_bytes,
                salt,
            } => drop(self.commit(*streams, *salt, Kind::New(*name_bytes))),
            Op::Forget => self.forget(),
            Op::Correct { share, delta } => {
                self.correct(*share, *delta);
                self.check_counts(*share);
            }
            Op::Query(query) => self.query(query),
            Op::Damage {
                pick,
                at,
                while_open,
                newest,
            } => self.damage(*pick, at, *while_open, *newest),
            Op::Harm(harm, pick) => self.harm(harm, *pick),
            Op::DiskFull => self.disk_full(),
        }
        self.check();
    }

    pub(crate) fn place(&self, share: u8) -> u64 {
        let (oldest, next) = (self.buffer().oldest_seq(), self.buffer().next_seq());
        oldest + (next - oldest) * u64::from(share) / 255
    }

    pub(crate) fn upload(&mut self, share: u8) {
        let shape_before = self.buffer().shape();
        let sizes: BTreeMap<u64, u64> = self
            .generations()
            .into_iter()
            .map(|id| (id, dir_bytes(&self.generation_dir(id))))
            .collect();
        self.uploaded = self.uploaded.max(self.place(share));
        self.buffer().uploaded_to(self.uploaded);
        let left = self.generations();
        // One without blocks holds nothing of the window; a damaged one may have been set aside instead.
        let is_of_window = |id: &u64| {
            let mut blocks = self.blocks.values();
            !self.damaged.contains(id) && blocks.any(|kept| kept.generation == *id)
        };
        let mut gone = sizes.keys().filter(|id| !left.contains(id));
        if let Some(newest_gone) = gone.rfind(|id| is_of_window(id)) {
            let from_there: u64 = sizes.range(newest_gone..).map(|(_, bytes)| bytes).sum();
            // Now and then sled's file is longer for a moment: no telling then.
            let on_disk: u64 = sizes.values().sum();
            let steady = shape_before.bytes.abs_diff(on_disk) < SIZE_SLACK_BYTES;
            assert!(
                !steady || from_there + SIZE_SLACK_BYTES > self.options.replay_bytes_max,
                "{from_there} bytes of the replay window were trimmed: {shape_before:?}, {sizes:?}, damaged: {:?}",
                self.damaged
            );
        }
    }

    pub(crate) fn correct(&mut self, share: u8, delta: i16) {
        // What was uploaded is not moved; nor is it known what lies in a damaged generation.
        let from_seq = self.place(share).max(self.uploaded);
        let last_ts = |kept: &Kept| kept.rows.last().unwrap().ts;
        let before = self
            .blocks
            .range(..from_seq)
            .next_back()
            .map(|(_, kept)| last_ts(kept));
        let Some((_, first)) = self.blocks.range(from_seq..self.next_seq).next() else {
            return;
        };
        let first_ts = first.rows[0].ts;
        let lowest = before.map_or(-first_ts, |before| before + 1 - first_ts);
        let delta = i64::from(delta).max(lowest);
        self.buffer().correct(from_seq, delta).unwrap();
        for (_, kept) in self.blocks.range_mut(from_seq..self.next_seq) {
            kept.rows.iter_mut().for_each(|row| row.ts += delta);
        }
        let newest = self.blocks.values().next_back().map(last_ts);
        // The clock goes on above everything it has given out.
        self.ts = newest.unwrap_or(self.ts);
        if self.generation_of_newest_is_damaged() {
            self.ts = self.ts.max(self.buffer().shape().newest_ts.unwrap_or(0));
        }
    }

    pub(crate) fn damage(&mut self, pick: u8, at: &[(u16, u8)], while_open: bool, newest: bool) {
        let ids = self.generations();
        let (last, sealed) = ids.split_last().unwrap();
        let id = if newest {
            *last
        } else if sealed.is_empty() {
            return;
        } else {
            sealed[usize::from(pick) % sealed.len()]
        };
        let while_open = while_open && !newest;
        if !while_open {
            self.close();
        }
        self.damaged.insert(id);
        let path = self.generation_dir(id).join("db");
        let mut bytes = fs::read(&path).unwrap();
        for (place, mask) in at {
            // The end of the file is often an empty part of a segment.
            let place = (bytes.len() - 1) as u64 * u64::from(*place) / u64::from(u16::MAX);
            let place = place as usize;
            for byte in bytes.iter_mut().skip(place).take(40) {
                *byte ^= mask | 1;
            }
        }
        // In place: an open buffer sees it too.
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        drop(file);
        if !while_open {
            self.open();
        }
    }

    pub(crate) fn harm(&mut self, harm: &Harm, pick: u8) {
        let present = self.present();
        // An open buffer may still have in memory what damage has made unreadable on the disk.
        let is_whole = |seq: &u64| !self.damaged.contains(&self.blocks[seq].generation);
        let whole = present.iter().filter(|(seq, _)| is_whole(seq));
        let whole: Vec<Row> = whole.flat_map(|(_, block)| rows_of(block)).collect();
        self.close();
        let ids = self.generations();
        let id = ids[usize::from(pick) % ids.len()];
        let generation = self.generation_dir(id);
        match harm {
            Harm::Catalog(how) => {
                tear(&self.root().join("catalog"), *how);
                // Streams of which nothing is there, or only in a damaged generation, are known to nobody else.
                let rows: BTreeSet<u32> = whole.iter().map(|row| row.stream).collect();
                self.names.retain(|id, _| rows.contains(id));
            }
            Harm::Summary(how) => tear(&generation.join("summary"), *how),
            Harm::Corrections(how) => tear(&self.root().join("corrections"), *how),
            Harm::CorrectionsCopy(how) => tear(&self.root().join("corrections-copy"), *how),
            Harm::Trash => {
                let trash = self.root().join(format!("trash-{pick}"));
                fs::create_dir_all(trash.join("blobs")).unwrap();
                fs::write(trash.join("db"), [pick; 100]).unwrap();
            }
            Harm::HalfCreated { sled } => {
                let half = self.generation_dir(ids.last().unwrap() + 1);
                fs::create_dir_all(&half).unwrap();
                if *sled {
                    drop(sled::open(&half).unwrap());
                }
            }
            Harm::CompleteMark => fs::remove_file(generation.join("complete")).unwrap_or_default(),
            Harm::TemporaryFile => {
                fs::write(generation.join("summary.new"), b"half").unwrap();
                fs::write(self.root().join("corrections.new"), b"half").unwrap();
            }
            Harm::Reserve => fs::write(self.root().join("reserve"), b"short").unwrap(),
        }
        self.open();
    }

    pub(crate) fn fill(&mut self, salt: u64) {
        let dropped = self.dropped();
        for round in 0..40 {
            if !self.commit(120, salt.wrapping_add(round << 32), Kind::Large) {
                assert_eq!(self.options.when_full, WhenFull::Block);
                // Draining makes room at once.
                self.uploaded = self.next_seq;
                self.buffer().uploaded_to(self.uploaded);
                assert!(
                    self.commit(5, salt, Kind::Small),
                    "no room after everything was uploaded"
                );
                assert_eq!(self.buffer().stats().full.load(Relaxed), 0);
                return;
            }
            if self.dropped() > dropped {
                return;
            }
        }
        panic!("28 MB in a buffer of 8");
    }

    pub(crate) fn disk_full(&mut self) {
        self.disk_full = true;
        self.reopen();
        assert!(!self.commit(10, 1, Kind::Small));
        self.check();
        self.disk_full = false;
        self.reopen();
        let full = self.buffer().shape().bytes + 2 * HEADROOM_BYTES > BYTES_MAX;
        assert!(self.commit(10, 2, Kind::Small) || full);
    }

    pub(crate) fn forget(&mut self) {
        let buffer = self.buffer.as_ref().unwrap();
        let rows: BTreeSet<u32> = self
            .present()
            .values()
            .flat_map(rows_of)
            .map(|row| row.stream)
            .collect();
        let kept = self.names.keys().next().copied();
        let kept = kept.and_then(|id| buffer.catalog().stream(id).cloned());
        buffer.keep_streams(kept.iter().map(|stream| stream.name.clone()).collect());
        let before = buffer.catalog();
        let forgotten = buffer.forget_idle(i64::MAX);
        let gone: BTreeSet<u32> = forgotten.iter().map(|stream| stream.id).collect();
        for stream in before.streams() {
            let is_needed = rows.contains(&stream.id) || kept.as_ref() == Some(stream);
            assert!(!is_needed || !gone.contains(&stream.id), "{stream:?}");
            let is_gone = gone.contains(&stream.id);
            // Of one that never had a record it is not known how idle it is.
            let had_records = self.names.contains_key(&stream.id) && self.damaged.is_empty();
            assert!(is_needed || is_gone || !had_records, "{stream:?}");
            assert_eq!(buffer.catalog().stream(stream.id).is_none(), is_gone);
        }
        self.names.retain(|id, _| !gone.contains(id));
    }
}
