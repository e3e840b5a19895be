//! What is left out of a record.

use super::{Builder, Reject};
use crate::{
    config::settings::{OnMisfit, PayloadFormat},
    record::decode::{Reason, names::field_name_for},
};

impl Builder<'_> {
    /// Whether the value at this path of the record is to be stored.
    pub(super) fn is_wanted(&mut self, path: Option<&str>) -> bool {
        let (Some(wanted), Some(path)) = (self.wanted, path) else {
            return self.wanted.is_none();
        };
        let is_wanted = wanted.has(self.begun, path)
            || wanted.has(self.begun, &field_name_for(path))
            || path
                .match_indices('.')
                .any(|(at, _)| wanted.has(self.begun, &path[..at]));
        self.wanted_met += usize::from(is_wanted);
        is_wanted
    }

    /// The value of this column does not fit: it is missing, unless the rule refuses the publish then.
    pub(super) fn leave_out(&mut self, column: usize, reject: Reject) -> Result<(), Reject> {
        let path = self.path(column).unwrap_or(self.name(column)).to_owned();
        self.leave_out_named(&path, reject)
    }

    /// Counts a value that says itself that it is none.
    pub(in crate::record::decode) fn note_misfit(
        &mut self,
        path: &str,
        reason: Reason,
        detail: &str,
    ) {
        self.misfits.note(path, &Reject::new(reason, detail));
    }

    /// Values of metrics whose alias nobody has announced: kept in quarantine, whatever the rule says.
    pub(in crate::record::decode) fn miss_alias(
        &mut self,
        alias: u64,
        count: u64,
    ) -> Result<(), Reject> {
        let detail = format!("alias {alias} that no birth has announced, or not since a death");
        for _ in 0..count {
            let reject = Reject::new(Reason::UnknownAlias, detail.clone());
            self.misfits
                .add(self.begun, &format!("alias {alias}"), reject)?;
        }
        Ok(())
    }

    pub(in crate::record::decode) fn has_misfit(&self, reason: Reason) -> bool {
        self.misfits.kinds.iter().any(|kind| kind.reason == reason)
    }

    /// As [`Builder::leave_out`] for a field that has no column.
    pub(super) fn leave_out_named(&mut self, path: &str, reject: Reject) -> Result<(), Reject> {
        let is_number = self.rule.format == PayloadFormat::Number;
        let reason = match reject.reason {
            // Of a payload that is nothing else.
            Reason::WrongType if is_number => Reason::NotNumber,
            reason => reason,
        };
        let reject = Reject { reason, ..reject };
        if self.rule.on_misfit == OnMisfit::Refuse {
            return Err(reject);
        }
        self.misfits.add(self.begun, path, reject)
    }
}
