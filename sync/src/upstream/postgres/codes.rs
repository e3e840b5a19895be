//! What the server's error codes (SQLSTATE) ask of us. Whatever is not named here concerns a table.

/// Who is to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nobody: the same again later.
    Moment,
    /// Somebody who may change the set-up, as this says; until then it refuses everything.
    Setup(&'static str),
    /// The row: found by bisection.
    Row,
    /// Whoever owns the table.
    Table,
}

/// A row with this key is there already.
pub(super) const UNIQUE_VIOLATION: &str = "23505";
/// One of our tables is not there.
pub(super) const NO_SUCH_TABLE: &str = "42P01";
/// Somebody held it for longer than `lock_timeout`.
pub(super) const LOCKED: &str = "55P03";
/// Something that was asked for by its name, a setting for example.
pub(super) const NO_SUCH_OBJECT: &str = "42704";
/// Said of every statement after one that failed.
pub(super) const TRANSACTION_IS_OVER: &str = "25P02";
/// There is no database of that name.
pub(super) const NO_SUCH_DATABASE: &str = "3D000";

/// What helps, where the server's words do not tell.
pub(super) fn help(code: &str) -> Option<&'static str> {
    match code {
        LOCKED => {
            Some("somebody holds a lock there (pg_locks tells who); it goes on once that has ended")
        }
        "58P01" | "XX001" | "XX002" => Some("it is damaged: REINDEX it, or restore a backup"),
        _ => None,
    }
}

pub(super) fn cause(code: &str) -> Cause {
    match code {
        "25006" => Cause::Setup(
            "the server takes no writes from us: name the primary, or turn off \
             default_transaction_read_only for our user",
        ),
        "28000" => Cause::Setup("its pg_hba.conf must let our user in from here"),
        "28P01" => Cause::Setup("check user and password"),
        NO_SUCH_DATABASE => Cause::Setup("somebody must create it, or another be named"),
        "3F000" => Cause::Setup(
            "none of the schemas in search_path is there: create one, or ALTER ROLE .. SET search_path",
        ),
        // Before their classes: a file of it is gone, it or an index of it is damaged.
        "58P01" | "XX001" | "XX002" => Cause::Table,
        // Cancelled by statement_timeout or by somebody; shut down; not up yet.
        _ if code.starts_with("57") => Cause::Moment,
        // Connection, deadlock and serialisation, disk, memory and connections, its own disk.
        _ if ["08", "40", "53", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Cause::Moment
        }
        // In use, idle for too long, a bug over there.
        "55006" | "25P03" | TRANSACTION_IS_OVER => Cause::Moment,
        _ if code.starts_with("XX") => Cause::Moment,
        // Values, constraints (also of a view), sizes, triggers, the same row twice.
        _ if ["22", "23", "44", "54", "P0", "21"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Cause::Row
        }
        _ => Cause::Table,
    }
}

#[cfg(test)]
mod tests;
