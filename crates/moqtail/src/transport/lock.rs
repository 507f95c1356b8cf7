//! The one way in which the shells take a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock. A panic while it was held is a bug; what it guards is consistent between statements all the same.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
