//! One batch: tables made ready, rows sent in raw blocks or in statements over many tables, and the
//! few that the server will not take found and returned.
//!
//! Finding them is bounded. Rows outside the kept time range are the oldest or the newest of what was
//! refused, so `2 log2(n) + 4` sends find all of them, however many. Anything else is bisected, and after
//! [`SENDS_MAX`] sends what is still refused is returned together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    client::{Client, Failure, Refusal},
    codes, names,
    rows::{Table, needs},
    schema::{Layout, Need, Ready, ready},
};
use crate::{
    rows::Batch,
    sample::Schema,
    upstream::{Rejection, TableRefusal, UpstreamError, WriteReport},
};

/// Text of one statement. The server takes 1 MB; half of it is within a tenth of the speed (1,000
/// tables of 10 rows: 42 ms either way, 50 ms with a quarter) at half the memory.
const STATEMENT_BYTES_MAX: usize = 500_000;
/// One raw block.
const BLOCK_BYTES_MAX: usize = 2_000_000;
/// Bisecting one refused piece of work.
const SENDS_MAX: usize = 256;

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

struct Writer<'a> {
    client: &'a Client,
    tables: Vec<Table<'a>>,
    rejected: Mutex<Vec<Rejection>>,
    refused: Mutex<Vec<TableRefusal>>,
}

/// Writes `batch` over `client`.
pub(super) async fn write(client: &Client, batch: &Batch) -> Result<WriteReport, UpstreamError> {
    let writer = Writer::prepare(client, batch).await?;
    writer.create_raw_subtables().await?;
    let queue = Mutex::new(writer.plan().into_iter());
    tokio::try_join!(
        writer.lane(&queue),
        writer.lane(&queue),
        writer.lane(&queue),
        writer.lane(&queue),
    )?;
    let mut rejected = unlocked(writer.rejected);
    rejected.sort_by_key(|rejection| (rejection.table, rejection.row));
    rejected.dedup_by_key(|rejection| (rejection.table, rejection.row));
    let mut report = WriteReport {
        rows_written: (batch.rows() - rejected.len()) as u64,
        rejected,
        refused: Vec::new(),
    };
    let mut refused = unlocked(writer.refused);
    refused.sort_by_key(|refusal| refusal.table);
    refused.dedup_by_key(|refusal| refusal.table);
    for TableRefusal { table, reason } in refused {
        let of_table = report.rejected.iter().filter(|r| r.table == table).count();
        let written = batch.tables[table].rows.len() - of_table;
        report.refuse(table, written as u64, reason);
    }
    Ok(report)
}

fn is_of_one_table(work: &[Item]) -> bool {
    let first = work.first().map(|item| item.table);
    work.iter().all(|item| Some(item.table) == first)
}

fn unlocked<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Writer<'a> {
    /// Makes the supertables ready and sorts out what they cannot take.
    async fn prepare(client: &'a Client, batch: &'a Batch) -> Result<Self, UpstreamError> {
        struct Group<'b> {
            schema: &'b Schema,
            needs: Vec<Need>,
            made: Option<Result<(Arc<Layout>, Ready), String>>,
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
            let layout = Layout::new(group.schema);
            // A table that is refused costs no other.
            group.made = Some(
                match ready(client, group.schema, &layout, &group.needs).await {
                    Ok(ready) => match ready.refusal(&layout) {
                        Some(words) => Err(words),
                        None => Ok((Arc::new(layout), ready)),
                    },
                    Err(UpstreamError::Rejected(words)) => Err(words),
                    Err(away) => return Err(away),
                },
            );
        }

        let mut rejected = Vec::new();
        let mut refused = Vec::new();
        let mut tables = Vec::new();
        for (index, source) in batch.tables.iter().enumerate() {
            let group = groups.get(&identity(&source.schema));
            let (layout, ready) = match group.and_then(|group| group.made.as_ref()) {
                Some(Ok(made)) => made,
                Some(Err(words)) => {
                    let reason = words.clone();
                    refused.push(TableRefusal {
                        table: index,
                        reason,
                    });
                    continue;
                }
                None => continue,
            };
            let name = names::subtable(&source.stream, &source.schema);
            let layout = Arc::clone(layout);
            let table = Table::new(index, source, layout, name, ready, &mut rejected);
            if !table.rows.is_empty() {
                tables.push(table);
            }
        }
        Ok(Self {
            client,
            tables,
            rejected: Mutex::new(rejected),
            refused: Mutex::new(refused),
        })
    }

    /// A raw block needs its subtable; many are created in one statement.
    async fn create_raw_subtables(&self) -> Result<(), UpstreamError> {
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
            self.client
                .execute(sql)
                .await
                .map_err(|failure| self.give_up(failure))?;
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
    async fn lane(&self, queue: &Mutex<std::vec::IntoIter<Work>>) -> Result<(), UpstreamError> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(work) = next else { return Ok(()) };
            self.deliver(work).await?;
        }
    }

    async fn deliver(&self, work: Work) -> Result<(), UpstreamError> {
        match self.send(&work).await {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => self.search(work, refusal).await,
            Err(UpstreamError::Rejected(reason)) if is_of_one_table(&work) => {
                let table = self.tables[work[0].table].index;
                let refused = self.refused.lock();
                let mut refused = refused.unwrap_or_else(PoisonError::into_inner);
                refused.push(TableRefusal { table, reason });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Sends rows; the refusal if one of them is to blame.
    async fn send(&self, work: &[Item]) -> Result<Option<Refusal>, UpstreamError> {
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
            Err(failure) => Err(self.give_up(failure)),
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

    fn give_up(&self, failure: Failure) -> UpstreamError {
        if let Failure::Refused(refusal) = &failure
            && codes::is_stale(refusal.code)
        {
            self.client.known.forget();
        }
        failure.into()
    }

    fn reject(&self, items: &[Item], reason: &str, is_out_of_time: bool) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.extend(items.iter().map(|item| Rejection {
            table: self.tables[item.table].index,
            row: item.row,
            reason: reason.to_owned(),
            is_out_of_time,
        }));
    }

    /// Finds the rows to blame for `refusal`, writes the others.
    async fn search(&self, work: Work, refusal: Refusal) -> Result<(), UpstreamError> {
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
    async fn search_by_time(
        &self,
        mut work: Work,
    ) -> Result<Option<(Work, Refusal)>, UpstreamError> {
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
    async fn reject_outside(&self, outside: Work, refusal: Refusal) -> Result<(), UpstreamError> {
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
    async fn server_now(&self) -> Result<i64, UpstreamError> {
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
        .ok_or_else(|| UpstreamError::Unavailable("the server does not tell its time".into()))
    }

    async fn bisect(&self, work: Work, refusal: Refusal) -> Result<(), UpstreamError> {
        let mut sends = 0;
        let mut refused = vec![(work, refusal)];
        while let Some((mut work, refusal)) = refused.pop() {
            if work.len() == 1 || sends >= SENDS_MAX {
                let rows = work.len();
                let refusal_is_of_time = refusal.code == codes::OUT_OF_RANGE;
                let reason = if rows == 1 {
                    refusal.text
                } else {
                    format!("{} (one or more of {rows} rows)", refusal.text)
                };
                self.reject(&work, &reason, refusal_is_of_time);
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
