//! Why a row is not taken, for people.

use dunlin_sync::sample::Field;

use super::lines::{BadLine, LINE_BYTES_MAX, Line};
use crate::record::decode::{Reason, Reject, quoted, value::Misfit};

pub(super) fn numbered(line: &Line, mut reject: Reject) -> Reject {
    let first = line.number();
    let lines = match line.span {
        0 | 1 => format!("line {first}"),
        span => format!("lines {first} to {}", first + span - 1),
    };
    reject.detail = format!("{lines}: {}", reject.detail);
    reject
}

pub(super) fn unreadable(bad: BadLine) -> Reject {
    match bad {
        BadLine::TooLong => Reject::new(
            Reason::TooLarge,
            format!("longer than {LINE_BYTES_MAX} bytes: is a quote not closed?"),
        ),
        BadLine::Unclosed => Reject::new(Reason::NotCsv, "a quote is not closed"),
        BadLine::NotUtf8 => Reject::new(
            Reason::NotUtf8,
            "not UTF-8: if the file comes from Windows, add --encoding windows-1252",
        ),
    }
}

/// Why a value does not fit its field, for people.
pub(super) fn refusal(column: usize, field: &Field, text: &str, misfit: Misfit) -> Reject {
    let (name, came) = (quoted(&field.name), quoted(text));
    let column = column + 1;
    match misfit {
        Misfit::BadText => Reject::new(
            Reason::BadText,
            format!("column {column}: field {name}: {came} holds a control character"),
        ),
        Misfit::WrongType | Misfit::Nan => Reject::new(
            Reason::WrongType,
            format!(
                "column {column}: field {name} is held as {}, but {came} came",
                field.kind
            ),
        ),
    }
}
