//! One batch: tables made ready, rows sent in raw blocks or in statements over many tables, and the
//! few that the server will not take found and returned.
//!
//! What is refused is first tried again with the tables as they are now: nothing is blamed on a row
//! because of what was remembered. Then the rows are searched for, within bounds. Those outside the
//! kept time range are the oldest or the newest of what was refused, so `2 log2(n) + 4` sends find all
//! of them, however many. Anything else is bisected. A stream of which no row is taken, or of which
//! the guilty rows are not found within [`SENDS_MAX`] sends, is refused as a whole: it stays where it
//! is, and may be healed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use super::{
    client::{Client, Failure, Refusal},
    codes, names,
    plan::{Need, TableLayout},
    rows::{Table, needs, sorted},
    schema::{Ready, ready},
    streams,
};
use crate::{
    lock::unpoisoned,
    rows::Batch,
    sample::Schema,
    upstream::{Rejection, UpstreamError, WriteReport, losses::Losses, told::Told},
};

/// Text of one statement. The server takes 1 MB; half of it is within a tenth of the speed (1,000
/// tables of 10 rows: 42 ms either way, 50 ms with a quarter) at half the memory.
const STATEMENT_BYTES_MAX: usize = 500_000;
const BLOCK_BYTES_MAX: usize = 2_000_000;
/// Bisecting one refused piece of work.
const SENDS_MAX: usize = 256;
/// Attempts at one batch, the later ones with everything looked up anew.
const ATTEMPTS_MAX: usize = 3;

/// One row to send.
#[derive(Clone, Copy, Debug)]
struct Item {
    ts: i64,
    /// Position in [`Writer::tables`].
    table: usize,
    row: usize,
}

/// Rows that go out in one call: of one raw table, or of any number of text tables.
type Work = Vec<Item>;

/// Tables that share a schema hold the same one.
fn identity(schema: &Schema) -> usize {
    std::ptr::from_ref(schema).addr()
}

/// Why an attempt came to nothing.
enum Trouble {
    /// Something is not as we remember it.
    Stale(String),
    Upstream(UpstreamError),
}

impl From<UpstreamError> for Trouble {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) if codes::is_stale(refusal.code) => Self::Stale(refusal.text),
            other => Self::Upstream(other.into()),
        }
    }
}

struct Writer<'a> {
    client: &'a Client,
    tables: Vec<Table<'a>>,
    losses: Mutex<Losses>,
    /// Whether rows may be blamed: not while the tables may have changed since they were looked at.
    is_fresh: bool,
}

pub(super) async fn write(
    client: &Client,
    batch: &Batch,
    told: &Told,
) -> Result<WriteReport, UpstreamError> {
    let mut why = String::new();
    for attempt in 0..ATTEMPTS_MAX {
        match write_once(client, batch, told, attempt > 0).await {
            Ok(report) => return Ok(report),
            Err(Trouble::Upstream(error)) => return Err(error),
            Err(Trouble::Stale(text)) => why = text,
        }
        client.known.forget();
    }
    Err(UpstreamError::Unavailable(why))
}

async fn write_once(
    client: &Client,
    batch: &Batch,
    told: &Told,
    is_fresh: bool,
) -> Result<WriteReport, Trouble> {
    let writer = Writer::prepare(client, batch, told, is_fresh).await?;
    writer.create_raw_subtables().await?;
    let queue = Mutex::new(writer.plan().into_iter());
    tokio::try_join!(
        writer.lane(&queue),
        writer.lane(&queue),
        writer.lane(&queue),
        writer.lane(&queue),
    )?;
    let losses = writer.losses.into_inner();
    Ok(unpoisoned(losses).report(batch))
}

impl<'a> Writer<'a> {
    /// Makes the supertables ready and sorts out what they cannot take.
    async fn prepare(
        client: &'a Client,
        batch: &'a Batch,
        told: &Told,
        is_fresh: bool,
    ) -> Result<Self, UpstreamError> {
        struct Group<'b> {
            schema: &'b Schema,
            needs: Vec<Need>,
            made: Option<Result<(Arc<TableLayout>, Ready), String>>,
        }
        let mut groups: HashMap<usize, Group> = HashMap::new();
        for source in &batch.tables {
            let schema = &*source.schema;
            let group = groups.entry(identity(schema)).or_insert_with(|| Group {
                schema,
                needs: vec![Need::default(); schema.fields.len()],
                made: None,
            });
            for (all, one) in group.needs.iter_mut().zip(needs(source)) {
                all.used |= one.used;
                all.text_bytes = all.text_bytes.max(one.text_bytes);
            }
        }
        for group in groups.values_mut() {
            let layout = TableLayout::new(group.schema);
            // A table that is refused costs no other.
            group.made = match ready(client, group.schema, &layout, &group.needs, told).await {
                Ok(ready) => Some(Ok((Arc::new(layout), ready))),
                Err(UpstreamError::Rejected(words)) => Some(Err(words)),
                Err(away) => return Err(away),
            };
        }

        let mut losses = Losses::default();
        let mut tables = Vec::new();
        for (index, source) in batch.tables.iter().enumerate() {
            let group = groups.get(&identity(&source.schema));
            let (layout, ready) = match group.and_then(|group| group.made.as_ref()) {
                Some(Ok(made)) => made,
                Some(Err(words)) => {
                    losses.refuse(index, words);
                    continue;
                }
                None => continue,
            };
            let name = names::subtable(&source.stream, &source.schema);
            let parts = ready.parts().len();
            streams::keep_tags(client, &source.stream, &name, layout, parts, told).await?;
            match sorted(index, source, layout, &name, ready, &mut losses.rejected) {
                Ok(sorted) => tables.extend(sorted),
                Err(reason) => {
                    losses.refuse(index, &reason);
                    // Somebody may mend it at any time.
                    client.known.forget_parts(&layout.supertable);
                }
            }
        }
        Ok(Self {
            client,
            tables,
            losses: Mutex::new(losses),
            is_fresh,
        })
    }

    /// A raw block needs its subtable; many are created in one statement.
    async fn create_raw_subtables(&self) -> Result<(), Trouble> {
        let known = &self.client.known;
        let missing = |table: &&Table| table.is_raw && !known.has_subtable(&table.name);
        let missing: Vec<&Table> = self.tables.iter().filter(missing).collect();
        let database = self.client.database();
        let mut start = 0;
        while start < missing.len() {
            let mut sql = String::from("CREATE TABLE");
            let mut end = start;
            while end < missing.len()
                && (end == start || sql.len() + missing[end].head_bytes_max() < STATEMENT_BYTES_MAX)
            {
                sql.push_str(" IF NOT EXISTS ");
                missing[end].push_using(&mut sql, &database);
                end += 1;
            }
            self.client.execute(sql).await?;
            for table in &missing[start..end] {
                known.learn_subtable(&table.name);
            }
            start = end;
        }
        Ok(())
    }

    /// Cuts the rows into calls.
    fn plan(&self) -> Vec<Work> {
        let mut plan = Vec::new();
        let mut statement = Work::new();
        let mut statement_bytes = 0;
        for (number, table) in self.tables.iter().enumerate() {
            let items = table.rows.iter().map(|row| Item {
                ts: table.ts(*row),
                table: number,
                row: *row,
            });
            if table.is_raw {
                let mut block = Work::new();
                let mut bytes = 0;
                for item in items {
                    bytes += table.row_bytes_max(item.row);
                    if bytes > BLOCK_BYTES_MAX && !block.is_empty() {
                        plan.push(std::mem::take(&mut block));
                        bytes = table.row_bytes_max(item.row);
                    }
                    block.push(item);
                }
                plan.push(block);
                continue;
            }
            statement_bytes += table.head_bytes_max();
            for item in items {
                let bytes = table.row_bytes_max(item.row);
                if statement_bytes + bytes > STATEMENT_BYTES_MAX && !statement.is_empty() {
                    plan.push(std::mem::take(&mut statement));
                    statement_bytes = table.head_bytes_max();
                }
                statement_bytes += bytes;
                statement.push(item);
            }
        }
        if !statement.is_empty() {
            plan.push(statement);
        }
        plan
    }

    /// Takes calls off the queue until it is empty or one fails for good.
    async fn lane(&self, queue: &Mutex<std::vec::IntoIter<Work>>) -> Result<(), Trouble> {
        loop {
            let next = unpoisoned(queue.lock()).next();
            let Some(work) = next else { return Ok(()) };
            self.deliver(work).await?;
        }
    }

    async fn deliver(&self, work: Work) -> Result<(), Trouble> {
        match self.send(&work).await {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) if !self.is_fresh && refusal.code != codes::OUT_OF_RANGE => {
                Err(Trouble::Stale(refusal.text))
            }
            Ok(Some(refusal)) => self.search(work, refusal).await,
            Err(Trouble::Upstream(UpstreamError::Rejected(reason))) if self.is_of_one(&work) => {
                let mut losses = unpoisoned(self.losses.lock());
                losses.refuse(self.tables[work[0].table].index, &reason);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether all of `work` is of one stream.
    fn is_of_one(&self, work: &[Item]) -> bool {
        let mut streams = work.iter().map(|item| self.tables[item.table].index);
        let first = streams.next();
        streams.all(|stream| Some(stream) == first)
    }

    /// Sends rows; the refusal if one of them is to blame.
    async fn send(&self, work: &[Item]) -> Result<Option<Refusal>, Trouble> {
        let Some(first) = work.first() else {
            return Ok(None);
        };
        let table = &self.tables[first.table];
        let done = if table.is_raw {
            let rows: Vec<usize> = work.iter().map(|item| item.row).collect();
            self.client.write_block(table.block(&rows)).await
        } else {
            self.insert(work).await
        };
        match done {
            Ok(()) => Ok(None),
            Err(Failure::Refused(refusal)) if codes::is_about_rows(refusal.code) => {
                Ok(Some(refusal))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn insert(&self, work: &[Item]) -> Result<(), Failure> {
        let mut by_table: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for item in work {
            by_table.entry(item.table).or_default().push(item.row);
        }
        let known = &self.client.known;
        let database = self.client.database();
        let mut sql = String::from("INSERT INTO");
        for (number, rows) in &by_table {
            let table = &self.tables[*number];
            table.push_insert(&mut sql, &database, known.has_subtable(&table.name), rows);
        }
        self.client.execute(sql).await?;
        for number in by_table.keys() {
            known.learn_subtable(&self.tables[*number].name);
        }
        Ok(())
    }

    fn reject(&self, items: &[Item], reason: &str, is_out_of_time: bool) {
        let mut losses = unpoisoned(self.losses.lock());
        let rejections = self.rejections(items, reason, is_out_of_time);
        losses.rejected.extend(rejections);
    }

    fn rejections(
        &self,
        items: &[Item],
        reason: &str,
        is_out_of_time: bool,
    ) -> impl Iterator<Item = Rejection> {
        items.iter().map(move |item| Rejection {
            table: self.tables[item.table].index,
            row: item.row,
            reason: reason.to_owned(),
            is_out_of_time,
        })
    }

    /// Finds the rows to blame for `refusal`, writes the others.
    async fn search(&self, work: Work, refusal: Refusal) -> Result<(), Trouble> {
        let (work, refusal) = if refusal.code == codes::OUT_OF_RANGE {
            let Some(other) = self.search_by_time(work).await? else {
                return Ok(());
            };
            other
        } else {
            (work, refusal)
        };
        self.bisect(work, refusal).await
    }

    /// Rejects what lies outside the kept range: of the past a beginning, of the future an end.
    /// Returns rows that are refused for another reason, if any.
    async fn search_by_time(&self, mut work: Work) -> Result<Option<(Work, Refusal)>, Trouble> {
        let now = self.server_now().await?;
        work.sort_by_key(|item| item.ts);
        let mut future = work.split_off(work.partition_point(|item| item.ts <= now));
        // Nearest to now first, so that both halves are searched alike.
        work.reverse();
        let mut other: Option<(Work, Refusal)> = None;
        for half in [&mut work, &mut future] {
            // Undecided is half[low..high]; a piece is refused for its row furthest from now.
            let (mut low, mut high) = (0, half.len());
            let mut out_of_range = None;
            while low < high {
                let middle = usize::midpoint(low, high);
                match self.send(&half[low..=middle]).await? {
                    None => low = middle + 1,
                    Some(refusal) if refusal.code == codes::OUT_OF_RANGE => {
                        out_of_range = Some(refusal);
                        high = middle;
                    }
                    Some(refusal) => {
                        let piece = &half[low..=middle];
                        match &mut other {
                            Some((work, _)) => work.extend_from_slice(piece),
                            None => other = Some((piece.to_vec(), refusal)),
                        }
                        low = middle + 1;
                    }
                }
            }
            let outside = half.split_off(high);
            if let Some(refusal) = out_of_range {
                self.reject_outside(outside, refusal).await?;
            }
        }
        Ok(other)
    }

    /// Rejects rows that must all be out of range if both ends are; looks at each if they are not,
    /// for then one of the clocks concerned has moved.
    async fn reject_outside(&self, outside: Work, refusal: Refusal) -> Result<(), Trouble> {
        for end in [outside.first().copied(), outside.last().copied()]
            .into_iter()
            .flatten()
        {
            if self.send(&[end]).await?.is_none() {
                return self.bisect(outside, refusal).await;
            }
        }
        self.reject(&outside, &refusal.text, true);
        Ok(())
    }

    /// The server's clock, nanoseconds UTC. Without a table it answers in milliseconds, whatever the
    /// database's precision.
    async fn server_now(&self) -> Result<i64, Trouble> {
        let records = self
            .client
            .query("SELECT CAST(NOW() AS BIGINT)".to_owned())
            .await?;
        let now = records.into_iter().flatten().next();
        let now = now.and_then(|text| text.parse::<i64>().ok());
        now.and_then(|now| match now {
            // From 1971 to 2286 the three cannot be mistaken for each other.
            0..10_000_000_000_000 => now.checked_mul(1_000_000),
            10_000_000_000_000..10_000_000_000_000_000 => now.checked_mul(1_000),
            _ => Some(now),
        })
        .ok_or_else(|| {
            UpstreamError::Unavailable("the server does not tell its time".into()).into()
        })
    }

    async fn bisect(&self, work: Work, refusal: Refusal) -> Result<(), Trouble> {
        let mut sends = 0;
        let mut refused = vec![(work, refusal)];
        while let Some((mut work, refusal)) = refused.pop() {
            if work.len() == 1 && refusal.code == codes::OUT_OF_RANGE {
                self.reject(&work, &refusal.text, true);
                continue;
            }
            if work.len() == 1 {
                let mut losses = unpoisoned(self.losses.lock());
                losses
                    .blamed
                    .extend(self.rejections(&work, &refusal.text, false));
                continue;
            }
            if sends >= SENDS_MAX {
                let mut losses = unpoisoned(self.losses.lock());
                for item in work {
                    losses.refuse(self.tables[item.table].index, &refusal.text);
                }
                continue;
            }
            let right = work.split_off(work.len() / 2);
            for half in [work, right] {
                sends += 1;
                if let Some(refusal) = self.send(&half).await? {
                    refused.push((half, refusal));
                }
            }
        }
        Ok(())
    }
}
