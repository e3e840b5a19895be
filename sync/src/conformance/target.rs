//! Where the suite runs.

use std::sync::Arc;

use async_trait::async_trait;

use crate::upstream::Upstream;

/// Cells of rows as text: one row a record, `None` where there is no value.
pub type Cells = Vec<Vec<Option<String>>>;

/// A kind of upstream under test. What is not overridden is not looked at, and the report says so.
///
/// Errors are texts for people: the scenario fails with them.
#[async_trait]
pub trait Target: Send + Sync {
    /// Makes an empty place, or chooses one that is not there yet; every scenario has one of its own. What was
    /// made for the one before may go.
    async fn begin(&mut self) -> Result<(), String>;

    /// A connection to that place that shares no memory with any other: what another process would have,
    /// or another device.
    ///
    /// # Errors
    /// Why there is none.
    fn connect(&self) -> Result<Arc<dyn Upstream>, String>;

    /// Whether this number is stored as what it is, or else as a missing value. Asked about NaN and the infinities.
    fn keeps(&self, _number: f64) -> bool {
        true
    }

    /// What `columns` hold in the records of `schema`, in any order; `None`: cannot be read here.
    ///
    /// Columns go by the names that they have in a batch: `ts`, `is_train`, `fold`, `source_ts`, a tag's, a field's.
    /// One that is not there holds nothing. Timestamps are nanoseconds in decimal; numbers and flags are as
    /// Rust writes them, or 1 and 0. Only names of ASCII letters, digits and `_` are asked for. A field of
    /// another type than its column has is looked for under [`second_field`](crate::second_field::second_field), too.
    async fn read(&self, _schema: &str, _columns: &[&str]) -> Result<Option<Cells>, String> {
        Ok(None)
    }

    /// Removes the tables of `schema`, or all, as an administrator might while the connections are open;
    /// `false`: there is nothing of that kind here.
    async fn drop_tables(&self, _schema: &str) -> Result<bool, String> {
        Ok(false)
    }
}
