//! Sending again what is in quarantine.
//!
//! A publish sent again goes the way of every publish, with the time at which it first came as the source
//! time of records that name none, and leaves the quarantine only when its new
//! commit is durable: after a crash in between it is in both places. A row goes straight to the
//! upstream, with the timestamp and split it had. Whatever is refused again stays, with the new
//! reason.

use std::{collections::BTreeMap, sync::Arc};

use dunlin_sync::{
    quarantine::{Content, Item, REASON_UPSTREAM},
    rows::{Batch, Column, Rows, TableRows},
    sample::{Catalog, Field, Schema, Stream, naming::plain_name},
    uploader::RejectedRow,
    upstream::UpstreamError,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{
    Listener, Need, Operation, OperationError, OperationParts, Request, import,
    quarantine::{Selection, ids},
};
use crate::record::writer::{Refused, RequestContent};

/// Items sent again at once; each may hold 256 KiB.
const RETRY_ITEMS_MAX: usize = 32;

/// Sends items again, oldest first. Those put there meanwhile are left alone, so it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryItems(pub Selection);

/// What sending again came to, in items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Sent, and out of quarantine.
    pub sent: u64,
    /// Records in these.
    pub records: u64,
    /// Refused again, by their new reason; still in quarantine.
    pub refused: BTreeMap<String, u64>,
    /// Publishes of which only the beginning was kept: they cannot be sent again.
    pub cut: u64,
    /// Of the numbers asked for, not in quarantine.
    pub missing: Vec<u64>,
}

impl Operation for RetryItems {
    type Answer = Retried;
    const NEED: Need = Need::Writer;

    fn into_request(self) -> Request {
        Request::Retry(self)
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<Retried, OperationError> {
        retry(parts, &self.0, listener)
    }
}

fn retry(
    parts: &OperationParts,
    selection: &Selection,
    listener: &mut dyn Listener,
) -> Result<Retried, OperationError> {
    let ids = ids(&parts.quarantine, selection)?;
    let mut retried = Retried::default();
    let asked = selection.ids.iter().filter(|id| !ids.contains(id));
    retried.missing = asked.copied().collect();
    for (index, group) in ids.chunks(RETRY_ITEMS_MAX).enumerate() {
        let done = (index * RETRY_ITEMS_MAX) as u64;
        let told = listener.progress(done, ids.len() as u64);
        told.map_err(OperationError::failed)?;
        let mut publishes = Vec::new();
        let mut rows = Vec::new();
        for id in group {
            let item = parts.quarantine.get(*id);
            let Some(item) = item.map_err(OperationError::failed)? else {
                continue;
            };
            match item.content {
                Content::Row(_) => rows.push((*id, item)),
                Content::Publish { .. } | Content::Partly { .. } => publishes.push((*id, item)),
            }
        }
        retry_publishes(parts, publishes, &mut retried, listener)?;
        retry_rows(parts, rows, &mut retried)?;
    }
    Ok(retried)
}

fn retry_publishes(
    parts: &OperationParts,
    items: Vec<(u64, Item)>,
    retried: &mut Retried,
    listener: &mut dyn Listener,
) -> Result<(), OperationError> {
    let writer = parts.writer()?;
    let mut waiting = Vec::new();
    // All of them first, so that they share commits.
    for (id, item) in items {
        let Some(publish) = item.content.publish() else {
            continue;
        };
        if publish.payload_bytes > publish.payload.len() as u64 {
            retried.cut += 1;
            continue;
        }
        let content = RequestContent::Publish {
            topic: publish.topic.to_vec(),
            payload: publish.payload.to_vec(),
            wanted: publish.missing.cloned(),
            at_ns: Some(item.at_ns),
        };
        waiting.push((id, item, import::send(writer, content)?));
    }
    let mut failed = None;
    for (id, item, answer) in waiting {
        match import::wait(writer, &answer, listener)? {
            Ok(records) => {
                remove(parts, id)?;
                retried.sent += 1;
                retried.records += records;
            }
            // Says nothing of the item: it stays as it is.
            Err(Refused::Transient(why)) => failed = Some(why),
            Err(Refused::Permanent(why)) => {
                // As a rejection writes itself: reason, colon, detail.
                let (reason, detail) = why.split_once(": ").unwrap_or((&item.reason, &why));
                let (reason, detail) = (reason.to_owned(), detail.to_owned());
                keep(parts, id, item, reason, detail, retried)?;
            }
        }
    }
    failed.map_or(Ok(()), |why| Err(OperationError::Failed(why)))
}

fn retry_rows(
    parts: &OperationParts,
    items: Vec<(u64, Item)>,
    retried: &mut Retried,
) -> Result<(), OperationError> {
    if items.is_empty() {
        return Ok(());
    }
    let catalog = parts.buffer.catalog();
    // A table a row: that is the order in which rejections name them.
    let tables = items.iter().filter_map(|(_, item)| match &item.content {
        Content::Row(row) => Some(table_of(row, &catalog)),
        Content::Publish { .. } | Content::Partly { .. } => None,
    });
    let batch = Batch {
        tables: tables.collect(),
    };
    let upstream = parts.upstream()?;
    let written = Handle::current().block_on(upstream.write(&batch));
    let report = written.map_err(|error| match error {
        UpstreamError::Unavailable(why) => {
            OperationError::Failed(format!("the upstream is away ({why}); try again later"))
        }
        refused @ UpstreamError::Rejected(_) => OperationError::failed(refused),
    })?;
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    for rejection in report.rejected {
        refused.insert(rejection.table, rejection.reason);
    }
    for refusal in report.refused {
        refused.insert(refusal.table, refusal.reason);
    }
    for (table, (id, item)) in items.into_iter().enumerate() {
        match refused.remove(&table) {
            None => {
                retried.sent += 1;
                retried.records += item.records;
                remove(parts, id)?;
            }
            Some(why) => keep(parts, id, item, REASON_UPSTREAM.into(), why, retried)?,
        }
    }
    Ok(())
}

fn remove(parts: &OperationParts, id: u64) -> Result<(), OperationError> {
    let removed = parts.quarantine.remove(&[id]);
    removed.map(drop).map_err(OperationError::failed)
}

/// Leaves an item in quarantine with its new reason, under a new number if that is another one.
fn keep(
    parts: &OperationParts,
    id: u64,
    item: Item,
    reason: String,
    detail: String,
    retried: &mut Retried,
) -> Result<(), OperationError> {
    *retried.refused.entry(reason.clone()).or_default() += 1;
    if (&reason, &detail) == (&item.reason, &item.detail) {
        return Ok(());
    }
    // When it came stays what it was.
    let item = Item {
        reason,
        detail,
        ..item
    };
    // First the new, then the old: seen twice at worst.
    let added = parts.quarantine.add(&[item]);
    added.map_err(OperationError::failed)?;
    remove(parts, id)
}

fn table_of(row: &RejectedRow, catalog: &Catalog) -> TableRows {
    let known = catalog
        .stream_named(&row.stream)
        .and_then(|stream| catalog.resolve(stream.id));
    let (stream, schema) = known.map_or_else(
        || made_up(row),
        |(stream, schema)| (Arc::clone(stream), Arc::clone(schema)),
    );
    let columns = schema.fields.iter().map(|field| {
        let named = row.values.iter().find(|v| v.name == field.name);
        let mut column = Column::empty(field.kind);
        // Types are held for ever, so a value of another one cannot be; if it were: missing.
        if column.push(named.map(|v| v.value.clone())).is_err() {
            column = Column::missing(field.kind, 1);
        }
        column
    });
    let rows = Rows {
        ts: vec![row.ts.0],
        is_train: vec![row.split.is_train],
        fold: vec![row.split.fold],
        source_ts: vec![row.source_ts],
        columns: columns.collect(),
    };
    TableRows {
        stream,
        schema,
        rows,
    }
}

/// Stream and schema of a row whose stream the buffer has forgotten.
pub(super) fn made_up(row: &RejectedRow) -> (Arc<Stream>, Arc<Schema>) {
    let fields = row.values.iter().map(|v| Field {
        name: v.name.clone(),
        kind: v.kind,
    });
    let schema = Schema {
        id: u32::MAX,
        name: plain_name(&row.stream)
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        tag_names: row.tags.iter().map(|(name, _)| name.clone()).collect(),
        fields: fields.collect(),
        origins: Vec::new(),
    };
    let stream = Stream {
        id: row.stream_id,
        schema: schema.id,
        name: row.stream.clone(),
        tags: row.tags.iter().map(|(_, value)| value.clone()).collect(),
        first_tags: None,
    };
    (Arc::new(stream), Arc::new(schema))
}
