//! One batch: tables made ready, rows written, and the few that the server will not take found and returned.
//!
//! All goes in one transaction: many rows of a table straight into it by a binary COPY, which is twice as fast
//! as anything that looks for rows that are there already, few by an INSERT that takes its columns as arrays.
//! Rows that are there already make a COPY fail; then this batch and those after it are merged by INSERT.
//!
//! What is refused is tried again with the tables as they are now (unless it was a lock that was in the way), each
//! alone: nothing is blamed on a row because of what was remembered. Then the rows are searched for, within bounds.
//! A stream of which no row is taken, or of which the guilty rows are not found within [`SENDS_MAX`] sends, is
//! refused as a whole: it stays where it is, and may be healed.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use futures_util::future::join_all;

use super::{
    array::Item,
    codes::{self, Cause},
    connection::{Connection, Failure},
    locks,
    part_rows::PartRows,
    session::Session,
    streams::{Registration, stream_key},
    succession::Succession,
    tables::{PartPlan, TablePlan},
};
use crate::{
    rows::{Batch, Column, TableRows, Values},
    sample::Schema,
    upstream::{Rejection, UpstreamError, WriteReport, losses::Losses, told::Told},
};

/// Rows of a table from which on COPY is worth the wait for its beginning.
const COPY_ROWS_MIN: usize = 256;
/// Batches that are merged after one in which rows were there already.
const MERGES_AFTER_DOUBLE: u32 = 64;
/// Statements of a batch behind which its COMMIT is sent at once: so few are all on their way before it.
const COMMITTED_AT_ONCE_MAX: usize = 16;
/// Bisecting what is refused of one schema.
const SENDS_MAX: usize = 256;

/// The streams of a batch that share a schema.
struct Group {
    plan: Arc<TablePlan>,
    /// What is to be written.
    items: Vec<Item>,
}

/// A batch with what became of it so far.
struct Writer<'b> {
    batch: &'b Batch,
    /// By table of the batch.
    keys: Vec<String>,
    groups: Vec<Group>,
    /// Rows that are not sent because another one stands for them, by that.
    doubles: HashMap<Item, Vec<Item>>,
    losses: Losses,
}

pub(super) async fn write(
    session: &mut Session,
    batch: &Batch,
    told: &Told,
    succession: &Succession,
) -> Result<WriteReport, UpstreamError> {
    if session.books_oid == 0 {
        keep_books(session, succession).await?;
    }
    let mut is_locked = false;
    for _ in 0..2 {
        let writer = Writer::prepare(session, batch, told, succession).await?;
        match writer.write_whole(session).await {
            Ok(()) => {
                session.merges_left = session.merges_left.saturating_sub(1);
                return Ok(writer.losses.report(batch));
            }
            Err(failure) => match failure.cause() {
                Cause::Moment | Cause::Setup(_) => return Err(failure.into()),
                _ if failure.is(codes::UNIQUE_VIOLATION) && session.merges_left == 0 => {
                    session.merges_left = MERGES_AFTER_DOUBLE;
                }
                _ => {
                    is_locked = failure.is(codes::LOCKED);
                    break;
                }
            },
        }
    }
    // A lock says nothing of what we remember, and may be on what we would look at.
    if !is_locked {
        session.forget();
        keep_books(session, succession).await?;
    }
    let writer = Writer::prepare(session, batch, told, succession).await?;
    writer.write_singly(session).await
}

/// Told before any table is looked at: those of a database in place of another are new as well.
async fn keep_books(session: &mut Session, succession: &Succession) -> Result<(), UpstreamError> {
    session.keep_books().await?;
    succession.uses_books(session.books_oid);
    Ok(())
}

impl<'b> Writer<'b> {
    /// Makes the tables ready and sorts out what they cannot take.
    async fn prepare(
        session: &mut Session,
        batch: &'b Batch,
        told: &Told,
        succession: &Succession,
    ) -> Result<Self, UpstreamError> {
        let mut losses = Losses::default();
        let mut plans: HashMap<usize, Result<Arc<TablePlan>, String>> = HashMap::new();
        let mut groups: HashMap<usize, Group> = HashMap::new();
        let keys: Vec<String> = batch
            .tables
            .iter()
            .map(|table| stream_key(&table.stream))
            .collect();
        for (index, table) in batch.tables.iter().enumerate() {
            if table.rows.is_empty() {
                continue;
            }
            if table.schema.name.contains('\0') || keys[index].contains('\0') {
                let reason = "the name of the stream holds a NUL, which PostgreSQL cannot store";
                let rows = 0..table.rows.len();
                losses
                    .rejected
                    .extend(rows.map(|row| rejection(index, row, reason)));
                continue;
            }
            let identity = Arc::as_ptr(&table.schema).addr();
            if let Entry::Vacant(unknown) = plans.entry(identity) {
                unknown.insert(made(session, &table.schema, told, succession).await?);
            }
            match &plans[&identity] {
                Ok(plan) => {
                    let group = groups.entry(identity).or_insert_with(|| Group {
                        plan: Arc::clone(plan),
                        items: Vec::new(),
                    });
                    sort_out(batch, index, group, &mut losses);
                }
                // A table that is refused costs no other.
                Err(reason) => losses.refuse(index, reason),
            }
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| group.items.first().map(|item| item.table));
        let mut doubles = HashMap::new();
        for group in &mut groups {
            drop_doubles(batch, &keys, &mut group.items, &mut doubles);
        }
        Ok(Self {
            batch,
            keys,
            groups,
            doubles,
            losses,
        })
    }

    /// The tables of the batch of which something is to be written.
    fn tables(&self) -> impl Iterator<Item = &'b TableRows> {
        let batch = self.batch;
        let items = self.groups.iter().flat_map(|group| &group.items);
        let used: HashSet<usize> = items.map(|item| item.table).collect();
        used.into_iter().map(|table| &batch.tables[table])
    }

    /// Writes everything in one transaction.
    async fn write_whole(&self, session: &mut Session) -> Result<(), Failure> {
        let (mut copies, mut merges) = (Vec::new(), Vec::new());
        for group in &self.groups {
            for (number, part) in group.plan.parts.iter().enumerate() {
                let Some(rows) = self.rows(number, part, &group.items) else {
                    continue;
                };
                if rows.len() >= COPY_ROWS_MIN && session.merges_left == 0 {
                    let statement = session.prepared(rows.copy_sql()).await?;
                    copies.push((rows, statement));
                } else {
                    merges.push(rows);
                }
            }
        }
        if copies.is_empty() && merges.is_empty() {
            return Ok(());
        }
        let registration = session.registration(self.tables());
        let (connection, namespace) = (&session.connection, &*session.namespace);
        let is_brief = copies.is_empty() && merges.len() <= COMMITTED_AT_ONCE_MAX;
        let writing = async {
            // Begun together, answered together.
            let registering = async {
                match &registration {
                    Some(registration) => registration.run(connection, namespace).await,
                    None => Ok(()),
                }
            };
            let guards = copies.iter().map(|(rows, _)| rows.guard(connection));
            let merges = merges.iter().map(|rows| rows.merge(connection));
            // After a statement that failed it takes all back.
            let committing = async {
                if is_brief {
                    connection.batch("COMMIT").await
                } else {
                    Ok(())
                }
            };
            let (begun, registered, guarded, merged, committed) = tokio::join!(
                biased;
                connection.batch("BEGIN"),
                registering,
                join_all(guards),
                join_all(merges),
                committing,
            );
            let done = [begun, registered].into_iter();
            let done = done.chain(guarded).chain(merged).chain([committed]);
            first_failure(done)?;
            if is_brief {
                return Ok(());
            }
            for (rows, statement) in &copies {
                rows.copy(connection, statement).await?;
            }
            connection.batch("COMMIT").await
        };
        let written = writing.await;
        if let Err(Failure::Refused { .. }) = &written {
            connection.batch("ROLLBACK").await?;
        }
        written?;
        if let Some(registration) = &registration {
            session.is_registered(registration);
        }
        Ok(())
    }

    /// Writes each schema for itself, outside of a transaction, and searches for the rows that are refused.
    async fn write_singly(mut self, session: &mut Session) -> Result<WriteReport, UpstreamError> {
        if let Some(registration) = session.registration(self.tables()) {
            self.register(session, &registration).await?;
        }
        let connection = &session.connection;
        for group in std::mem::take(&mut self.groups) {
            let mut sends = 0;
            let mut waiting = vec![group.items.clone()];
            while let Some(mut items) = waiting.pop() {
                sends += 1;
                let Err(failure) = self.send(connection, &group, &items).await else {
                    continue;
                };
                let cause = failure.cause();
                if matches!(cause, Cause::Moment | Cause::Setup(_)) {
                    return Err(failure.into());
                }
                let reason = failure.words();
                if cause == Cause::Row && items.len() == 1 {
                    let rows = self.with_doubles(items[0]);
                    let blamed = rows.map(|item| rejection(item.table, item.row, &reason));
                    self.losses.blamed.extend(blamed.collect::<Vec<_>>());
                } else if cause == Cause::Row && sends < SENDS_MAX {
                    let right = items.split_off(items.len() / 2);
                    waiting.extend([right, items]);
                } else {
                    let reason = format!("table {}: {reason}", group.plan.parts[0].table);
                    self.refuse(items, &reason);
                }
            }
        }
        Ok(self.losses.report(self.batch))
    }

    /// Writes streams down, for themselves. Those that cannot be are refused, and no others.
    async fn register(
        &mut self,
        session: &mut Session,
        registration: &Registration<'_>,
    ) -> Result<(), UpstreamError> {
        let connection = &session.connection;
        // Another connection of ours may have them in a batch that takes its time.
        let begin = locks::begin_patiently(connection.timeout());
        let registering = async {
            connection.batch(&begin).await?;
            registration.run(connection, &session.namespace).await?;
            connection.batch("COMMIT").await
        };
        let Err(failure) = registering.await else {
            session.is_registered(registration);
            return Ok(());
        };
        if matches!(failure.cause(), Cause::Moment | Cause::Setup(_)) {
            return Err(failure.into());
        }
        connection.batch("ROLLBACK").await?;
        let reason = format!("table dunlin_streams: {}", failure.words());
        let mut refused = Vec::new();
        for group in &mut self.groups {
            let (known, unknown): (Vec<Item>, Vec<Item>) = std::mem::take(&mut group.items)
                .into_iter()
                .partition(|item| !registration.holds(&self.keys[item.table]));
            group.items = known;
            refused.extend(unknown);
        }
        self.refuse(refused, &reason);
        Ok(())
    }

    /// A row and those that it stands for.
    fn with_doubles(&self, item: Item) -> impl Iterator<Item = Item> {
        let doubles = self.doubles.get(&item).into_iter().flatten();
        std::iter::once(item).chain(doubles.copied())
    }

    /// Holds back the streams of these rows.
    fn refuse(&mut self, items: Vec<Item>, reason: &str) {
        let rows = items.into_iter().flat_map(|item| self.with_doubles(item));
        let tables: BTreeSet<usize> = rows.map(|item| item.table).collect();
        for table in tables {
            self.losses.refuse(table, reason);
        }
    }

    /// Merges rows of one schema, the first table last: what counts as a row has all its parts.
    async fn send(
        &self,
        connection: &Connection,
        group: &Group,
        items: &[Item],
    ) -> Result<(), Failure> {
        for (number, part) in group.plan.parts.iter().enumerate().rev() {
            if let Some(rows) = self.rows(number, part, items) {
                rows.merge(connection).await?;
            }
        }
        Ok(())
    }

    fn rows<'s>(
        &'s self,
        number: usize,
        part: &'s PartPlan,
        items: &[Item],
    ) -> Option<PartRows<'s>> {
        PartRows::of(self.batch, &self.keys, number, part, items)
    }
}

/// Tables made ready for `schema`, or why they cannot be.
async fn made(
    session: &mut Session,
    schema: &Arc<Schema>,
    told: &Told,
    succession: &Succession,
) -> Result<Result<Arc<TablePlan>, String>, UpstreamError> {
    match session.plan(schema, told).await {
        Ok((plan, is_new)) => {
            if is_new {
                succession.looked_at(&plan);
            }
            Ok(Ok(plan))
        }
        Err(failure) => match failure.cause() {
            Cause::Moment | Cause::Setup(_) => Err(failure.into()),
            Cause::Row | Cause::Table => Ok(Err(failure.words())),
        },
    }
}

/// Adds the rows of the table at `index` that can be written to those of its group.
fn sort_out(batch: &Batch, index: usize, group: &mut Group, losses: &mut Losses) {
    let (rows, schema) = (&batch.tables[index].rows, &group.plan.schema);
    let holds = |column: &Column| (0..rows.len()).any(|row| column.is_present(row));
    for (field, column) in rows.columns.iter() {
        let refusal = group
            .plan
            .refused
            .get(&field)
            .filter(|refusal| refusal.can_heal);
        if let Some(refusal) = refusal.filter(|_| holds(column)) {
            return losses.refuse(index, &refusal.reason);
        }
        let (declared, found) = (schema.fields.get(field), column.values.kind());
        if declared.is_none_or(|declared| declared.kind != found) && holds(column) {
            let reason = format!("the values of field {field} are {found}, unlike its schema says");
            return losses.refuse(index, &reason);
        }
    }
    let refused: Vec<(&Column, &str)> = group
        .plan
        .refused
        .iter()
        .filter_map(|(field, refusal)| Some((rows.columns.get(*field)?, &*refusal.reason)))
        .collect();
    for row in 0..rows.len() {
        let refusal = refused.iter().find(|(column, _)| column.is_present(row));
        if let Some((_, reason)) = refusal {
            losses.rejected.push(rejection(index, row, reason));
            continue;
        }
        let has_nul = rows
            .columns
            .iter()
            .find(|(_, column)| match &column.values {
                Values::Text(texts) => column.is_present(row) && texts[row].contains('\0'),
                _ => false,
            });
        if let Some((field, _)) = has_nul {
            let name = &schema.fields[field].name;
            let reason =
                format!("the text of field {name:?} holds a NUL, which PostgreSQL cannot store");
            losses.rejected.push(rejection(index, row, &reason));
            continue;
        }
        group.items.push(Item { table: index, row });
    }
}

/// Of rows of one stream with one timestamp, the last one alone: a statement cannot write both. `doubles` are the
/// others, whose fate is that of the last one.
fn drop_doubles(
    batch: &Batch,
    keys: &[String],
    items: &mut Vec<Item>,
    doubles: &mut HashMap<Item, Vec<Item>>,
) {
    let tables: HashSet<usize> = items.iter().map(|item| item.table).collect();
    let streams: HashSet<&String> = tables.iter().map(|table| &keys[*table]).collect();
    let ts = |item: &Item| batch.tables[item.table].rows.ts[item.row];
    let rises = |a: &Item, b: &Item| a.table != b.table || ts(a) < ts(b);
    if streams.len() == tables.len() && items.is_sorted_by(rises) {
        return;
    }
    let mut last: HashMap<(&String, i64), Item> = HashMap::new();
    for item in &*items {
        last.insert((&keys[item.table], ts(item)), *item);
    }
    items.retain(|item| {
        let stands = last[&(&keys[item.table], ts(item))];
        if stands != *item {
            doubles.entry(stands).or_default().push(*item);
        }
        stands == *item
    });
}

/// The failure that made the others follow.
fn first_failure(done: impl Iterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
    let mut failures = done.filter_map(Result::err);
    let Some(first) = failures.next() else {
        return Ok(());
    };
    let follows = |failure: &Failure| failure.is(codes::TRANSACTION_IS_OVER);
    if follows(&first) {
        return Err(failures.find(|failure| !follows(failure)).unwrap_or(first));
    }
    Err(first)
}

fn rejection(table: usize, row: usize, reason: &str) -> Rejection {
    Rejection {
        table,
        row,
        reason: reason.to_owned(),
        is_out_of_time: false,
    }
}
