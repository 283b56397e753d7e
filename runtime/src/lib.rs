//! Stackful coroutines.
