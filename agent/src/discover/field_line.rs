//! Fields that are declared.

use std::fmt::Write as _;

use super::spelling::{key, quoted};

/// A declared field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldLine {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) has_decimal_comma: bool,
    pub(super) unit: Option<&'static str>,
}

impl FieldLine {
    pub(super) fn of(name: &str, kind: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            has_decimal_comma: false,
            unit: None,
        }
    }
}

impl FieldLine {
    /// As it is in the file.
    pub(super) fn written(&self) -> String {
        let name = key(&self.name);
        if !self.has_decimal_comma && self.unit.is_none() {
            return format!("{name} = {}", quoted(self.kind));
        }
        let mut inner = format!("type = {}", quoted(self.kind));
        if self.has_decimal_comma {
            inner.push_str(", decimal = \",\"");
        }
        if let Some(unit) = self.unit {
            let _cannot_fail = write!(inner, ", unit = {}", quoted(unit));
        }
        format!("{name} = {{ {inner} }}")
    }
}
