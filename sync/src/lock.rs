//! Locks that outlive a panic.

use std::sync::PoisonError;

/// What a lock, or a wait for it, gives, whoever panicked while holding it. For data that is whole after
/// each step of every critical section; what a panic must end is ended by whoever sees the panic.
pub fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}
