//! Whether a schema has room for one more field that nobody has declared.
//!
//! Columns cannot be taken back once something is stored in them. So that one wide document does not keep
//! out for ever what comes later:
//! - what is declared always has room;
//! - columns that the rule excludes by now (`exclude_fields`) do not count, so that excluding what has taken the
//!   room gives it back;
//! - beyond `fields_max` there is a quarter as much again, for publishes that begin few fields. Who would
//!   begin more gets none of it, and is decoded again without, or a document that comes again and again
//!   would take it all bit by bit.

use std::collections::BTreeMap;

use dunlin_sync::{block::builder::FIELDS_MAX, sample::Stage};

use super::{Builder, Reason, Reject, quoted};
use crate::record::decode::FieldMisfit;

/// Most fields that a publish begins if it is to have some of the spare room.
const FEW: usize = 16;
/// This part of `fields_max` is kept beyond it.
const SPARE_PART: usize = 4;
/// Columns that are looked at to find out what has taken the room.
const LOOKED_AT_MAX: usize = 1024;
/// Fields of one kind, and kinds, that are worth a pattern.
const ALIKE_MIN: usize = 4;
const PATTERNS_MAX: usize = 2;

/// What counts against `fields_max`.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Columns of the schema that are excluded.
    excluded: usize,
    /// New fields that are declared.
    declared: usize,
    takes_no_spare: bool,
    /// The publish begins more than a few fields, and not all of them had room.
    is_wide: bool,
}

impl Builder<'_> {
    /// The publish has nothing of the room that is kept for those that begin few fields.
    pub(in crate::record::decode) fn take_no_spare(&mut self) {
        self.room.takes_no_spare = true;
    }

    /// Whether the publish has taken spare room that is not for one that begins so many fields.
    pub(in crate::record::decode) fn is_too_wide(&self) -> bool {
        !self.room.takes_no_spare && self.room.is_wide && self.counted() > self.rule.fields_max
    }

    /// With nothing begun yet but what is declared.
    pub(super) fn measure_room(&mut self) {
        self.room.excluded = self
            .ignored
            .iter()
            .filter(|is_ignored| **is_ignored)
            .count();
        self.room.declared = self.new_fields.len();
    }

    fn counted(&self) -> usize {
        self.width() - self.room.excluded
    }

    /// Whether a field of this name, which nobody has declared, may be begun.
    pub(super) fn check_room(&mut self, name: &str) -> Result<(), Reject> {
        let fields_max = self.rule.fields_max;
        let is_few = self.new_fields.len() - self.room.declared < FEW;
        let spare = if is_few && !self.room.takes_no_spare {
            fields_max / SPARE_PART
        } else {
            0
        };
        if self.counted() < fields_max + spare && self.width() < FIELDS_MAX {
            return Ok(());
        }
        self.room.is_wide |= !is_few;
        Err(Reject::new(
            Reason::TooManyFields,
            format!(
                "{} would be one field more than the {fields_max} of fields_max",
                quoted(name)
            ),
        ))
    }

    /// The refusal of a publish; where room is short, with the patterns that would make some.
    pub(in crate::record::decode) fn advised(&self, reject: Reject) -> Reject {
        let patterns = match reject.reason {
            Reason::TooManyFields => self.patterns(),
            _ => String::new(),
        };
        Reject {
            detail: reject.detail + &patterns,
            ..reject
        }
    }

    /// The first field without room says what would make some.
    pub(super) fn advise_misfits(&mut self) {
        let lacks_room = |kind: &FieldMisfit| kind.reason == Reason::TooManyFields;
        if let Some(first) = self.misfits.kinds.iter().position(lacks_room) {
            let patterns = self.patterns();
            self.misfits.kinds[first].detail += &patterns;
        }
    }

    /// What to write into `exclude_fields`, from the names of those that have taken the room or want some:
    /// first what has come only a few times.
    #[cold]
    fn patterns(&self) -> String {
        let columns = (0..self.width()).take(LOOKED_AT_MAX);
        let columns =
            columns.filter(|column| !self.is_declared(*column) && !self.is_ignored(*column));
        let columns = columns.map(|column| {
            let is_young = self.stage(column) != Stage::Settled;
            (self.name(column), is_young)
        });
        let refused = self.misfits.kinds.iter();
        let refused = refused.filter(|kind| kind.reason == Reason::TooManyFields);
        let refused = refused.map(|kind| (&*kind.field, true));
        let mut alike: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (name, is_young) in columns.chain(refused) {
            if let Some(start) = start_of(name) {
                let (young, all) = alike.entry(start).or_default();
                *young += usize::from(is_young);
                *all += 1;
            }
        }
        let mut alike: Vec<_> = alike.into_iter().collect();
        alike.retain(|(_, (_, all))| *all >= ALIKE_MIN);
        alike.sort_by_key(|&(_, counts)| std::cmp::Reverse(counts));
        let patterns = alike.iter().take(PATTERNS_MAX);
        let patterns: Vec<_> = patterns.map(|(start, _)| format!("{start}*")).collect();
        if patterns.is_empty() {
            return String::new();
        }
        format!("; exclude_fields = {patterns:?} would make room, if these are no measurements")
    }
}

/// What names of fields that belong together begin with: the object they were in, or a first word.
fn start_of(name: &str) -> Option<&str> {
    let end = name.find(['.', '/']).or_else(|| name.find('_'))?;
    Some(&name[..=end]).filter(|start| !start.contains('*'))
}
