//! What the server's error numbers ask of us. Whatever is not named here is tried again: better a
//! visible stall than a day's backlog in quarantine because the server's disk was full.

/// Timestamp outside what the database keeps.
pub(super) const OUT_OF_RANGE: i32 = 0x060B;

/// The table has changed since a moment ago; the same statement goes through at the next try.
pub(super) const SCHEMA_IS_OLD: i32 = 0x061B;

/// The column or tag to be added is there already: another device was faster.
pub(super) fn is_there_already(code: i32) -> bool {
    matches!(code, 0x0369 | 0x036B | 0x263C)
}

/// The table has as many columns, or as long a row, as there can be.
pub(super) fn is_about_room(code: i32) -> bool {
    matches!(code, 0x0365 | 0x036F | 0x263E | 0x2640)
}

/// Not until somebody changes a password, a right or a licence.
pub(super) fn needs_somebody(code: i32) -> bool {
    matches!(
        code,
        0x0003 // authentication between nodes
        | 0x0214 | 0x0303 | 0x0512 | 0x2644 // no right
        | 0x0315 | 0x0351 | 0x0352 | 0x0353 | 0x0357 | 0x0358 // user, password
        | 0x0800..=0x08FF // licence
    )
}

/// The server has ended the connection behind its socket, or the database it uses is gone: a new one
/// is made, and the database where missing.
pub(super) fn ends_the_connection(code: i32) -> bool {
    matches!(
        code,
        0x0213 | 0x0215 // killed by an administrator
            | 0x0217 | 0x0380 | 0x0383 | 0x0386 | 0x0388 | 0x2616 // database
    )
}

/// A table or column is not what we remember: forget, look again.
pub(super) fn is_stale(code: i32) -> bool {
    matches!(
        code,
        0x0362 | 0x0520 | 0x0522 | 0x0600 | 0x0602 | 0x0618 | 0x061A | 0x061B // table
            | 0x2602 | 0x2603 | 0x2662 // column, table, as the parser says it
    )
}

/// The table asked for does not exist.
pub(super) fn is_no_such_table(code: i32) -> bool {
    matches!(code, 0x0362 | 0x0618 | 0x061A | 0x2603)
}

/// Something in the rows themselves: found by bisection, put into quarantine.
pub(super) fn is_about_rows(code: i32) -> bool {
    code == OUT_OF_RANGE || is_about_the_statement(code)
}

/// The statement or the values in it can never be taken.
pub(super) fn is_about_the_statement(code: i32) -> bool {
    matches!(
        code,
        0x0112 | 0x0118 // out of range, invalid parameter (a column of another type)
            | 0x0200 | 0x0202 | 0x0203 | 0x0216 | 0x0218..=0x0229
            | 0x0360..=0x0379 | 0x0382 | 0x0390..=0x0395
            | 0x2600..=0x26FE
    ) && !ends_the_connection(code)
        && !is_stale(code)
        && !needs_somebody(code)
}

#[cfg(test)]
mod tests;
