//! A connection that is ready for rows, with what it has learnt about tables; forgotten with it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_postgres::{Statement, types::Type};

use super::{
    address::Address,
    books, codes,
    connection::{Connection, Failure},
    locks,
    names::{literal, quoted},
    streams::{Registration, Streams},
    tables::{TablePlan, prepare},
};
use crate::{
    rows::TableRows,
    sample::{Schema, SchemaId},
    upstream::{UpstreamError, told::Told},
};

/// Statements remembered; where more are needed, all are prepared again.
const COPIES_KNOWN_MAX: usize = 256;

/// A live connection, ready for rows.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Schema of the server's that tables are made in.
    pub(super) namespace: String,
    /// Identifies the tables about the tables; 0: they were not looked at.
    pub(super) books_oid: u32,
    plans: HashMap<SchemaId, Arc<TablePlan>>,
    streams: Streams,
    copies: HashMap<String, Statement>,
    /// Batches that are still to be merged row by row: some rows of the last ones were there already.
    pub(super) merges_left: u32,
}

/// What a connection is told first: nothing that we wait for no longer may go on there, or hold locks; and what
/// is written is on the disk.
fn settings(timeout: Duration) -> String {
    let ms_max = timeout.as_millis();
    // A bit less than we wait, so that it is the server that gives up, and says so.
    let statement_ms_max = (ms_max * 9 / 10).max(1);
    format!(
        "SET client_min_messages = warning; SET statement_timeout = {statement_ms_max}; \
         SET idle_in_transaction_session_timeout = {ms_max}; \
         SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'"
    )
}

/// Connects; which schema of the server's is ours. Changes nothing there.
pub(crate) async fn reach(
    address: &Arc<Address>,
    timeout: Duration,
) -> Result<(Connection, String), UpstreamError> {
    let connection = Connection::open(address, timeout).await?;
    connection.batch(&settings(timeout)).await?;
    let sql = "SELECT current_schema()::text";
    let rows = connection.query(sql, &[]).await?;
    let namespace = match rows.first() {
        Some(row) => Connection::get(row, 0)?,
        None => None,
    };
    let namespace: String = namespace.ok_or_else(|| {
        UpstreamError::from(Failure::Refused {
            code: "3F000".into(),
            words: format!("database {}", address.database),
        })
    })?;
    Ok((connection, namespace))
}

impl Session {
    /// Connects; changes nothing there.
    pub(super) async fn open(
        address: &Arc<Address>,
        timeout: Duration,
    ) -> Result<Self, UpstreamError> {
        let (connection, namespace) = reach(address, timeout).await?;
        connection.batch(&locks::settings(timeout)).await?;
        Ok(Self {
            connection,
            namespace,
            books_oid: 0,
            plans: HashMap::new(),
            streams: Streams::default(),
            copies: HashMap::new(),
            merges_left: 0,
        })
    }

    /// Sees to the tables about the tables.
    pub(super) async fn keep_books(&mut self) -> Result<(), UpstreamError> {
        let kept = books::keep(&self.connection, &self.namespace).await;
        let books = kept.map_err(|failure| {
            if failure.is("42501") {
                UpstreamError::Rejected(no_right(&self.namespace, &failure.words()))
            } else {
                failure.into()
            }
        })?;
        self.books_oid = books.oid;
        Ok(())
    }

    /// After the server has said that something is not as we remember.
    pub(super) fn forget(&mut self) {
        self.plans.clear();
        self.streams.clear();
        self.copies.clear();
    }

    /// Where the rows of `schema` go; whether that was looked up just now.
    pub(super) async fn plan(
        &mut self,
        schema: &Arc<Schema>,
        told: &Told,
    ) -> Result<(Arc<TablePlan>, bool), Failure> {
        if let Some(plan) = self.plans.get(&schema.id)
            && plan.is_for(schema)
        {
            return Ok((Arc::clone(plan), false));
        }
        let plan = prepare(&self.connection, &self.namespace, schema, told).await?;
        let plan = Arc::new(plan);
        // Whatever can be mended is looked at again.
        if plan.refused.values().any(|refusal| refusal.can_heal) {
            self.plans.remove(&schema.id);
        } else {
            self.plans.insert(schema.id, Arc::clone(&plan));
        }
        Ok((plan, true))
    }

    /// A COPY, prepared once.
    pub(super) async fn prepared(&mut self, sql: String) -> Result<Statement, Failure> {
        if let Some(statement) = self.copies.get(&sql) {
            return Ok(statement.clone());
        }
        let statement = self.connection.prepare(&sql).await?;
        if self.copies.len() >= COPIES_KNOWN_MAX {
            self.copies.clear();
        }
        self.copies.insert(sql, statement.clone());
        Ok(statement)
    }

    /// What is to be noted of streams that this connection has not met, or not like this.
    pub(super) fn registration<'t>(
        &self,
        tables: impl Iterator<Item = &'t TableRows>,
    ) -> Option<Registration<'t>> {
        self.streams.unmet(tables)
    }

    /// These streams are noted, for good.
    pub(super) fn is_registered(&mut self, registration: &Registration<'_>) {
        self.streams.met(registration);
    }

    /// Rows of one stream within a range of timestamps; 0 if its table does not exist.
    pub(super) async fn count(
        &self,
        schema: &str,
        key: &str,
        (from, to): (i64, i64),
    ) -> Result<u64, Failure> {
        let (connection, space) = (&self.connection, quoted(&self.namespace));
        let find = format!(
            "SELECT table_name FROM {space}.dunlin_schemas AS s WHERE schema = $1 AND EXISTS (
                 SELECT FROM pg_class AS c WHERE c.relname = s.table_name
                 AND c.relnamespace = {}::regnamespace)",
            literal(&space)
        );
        let rows = match connection.query(&find, &[(&schema, Type::TEXT)]).await {
            Err(failure) if failure.is(codes::NO_SUCH_TABLE) => return Ok(0),
            rows => rows?,
        };
        let Some(row) = rows.first() else {
            return Ok(0);
        };
        let table: String = Connection::get(row, 0)?;
        let sql = format!(
            "SELECT count(*) FROM {space}.{} WHERE stream = $1 AND ts BETWEEN $2 AND $3",
            quoted(&table)
        );
        let parameters = [
            (&key as _, Type::TEXT),
            (&from as _, Type::INT8),
            (&to as _, Type::INT8),
        ];
        let rows = connection.query(&sql, &parameters).await?;
        let count: i64 = match rows.first() {
            Some(row) => Connection::get(row, 0)?,
            None => 0,
        };
        Ok(count.unsigned_abs())
    }
}

/// Whether rows could be written, as far as that shows without writing; the server's version.
pub(super) async fn prove_writable(
    connection: &Connection,
    namespace: &str,
) -> Result<String, UpstreamError> {
    let rows = connection
        .query(
            "SELECT current_setting('server_version'), current_setting('transaction_read_only'),
                    has_schema_privilege($1, 'CREATE')",
            &[(&namespace, Type::TEXT)],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Err(UpstreamError::Unavailable(
            "the server tells nothing of itself".into(),
        ));
    };
    let (version, read_only): (String, String) =
        (Connection::get(row, 0)?, Connection::get(row, 1)?);
    if read_only == "on" {
        let failure = Failure::Refused {
            code: "25006".into(),
            words: "transactions are read-only".into(),
        };
        return Err(failure.into());
    }
    let books = books::find(connection, namespace).await?;
    if !books.are_whole && !Connection::get::<bool>(row, 2)? {
        return Err(UpstreamError::Rejected(no_right(
            namespace,
            "our user may make no tables there",
        )));
    }
    Ok(version)
}

pub(crate) fn no_right(namespace: &str, words: &str) -> String {
    format!(
        "schema {namespace}: {words}; GRANT USAGE, CREATE ON SCHEMA {} TO our user",
        quoted(namespace)
    )
}
