//! What is said once for as long as the process lives, however often a connection is made anew.

use std::{collections::HashSet, sync::Mutex};

use crate::lock::unpoisoned;

/// Most things remembered; beyond that nothing new is said.
const TOLD_MAX: usize = 10_000;

/// Things already said.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<String>>);

impl Told {
    /// Whether `what` has not been said yet; from now on it has.
    pub(super) fn is_first(&self, what: String) -> bool {
        let mut told = unpoisoned(self.0.lock());
        told.len() < TOLD_MAX && told.insert(what)
    }
}
