//! Where a thread of a model waits to be told something.

use loom::sync::{Condvar, Mutex};

/// Rung once, it lets one wait through. To wait for a bell that nobody rings is
/// a deadlock, which loom reports.
pub(crate) struct Bell {
    rung: Mutex<bool>,
    change: Condvar,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self {
            rung: Mutex::new(false),
            change: Condvar::new(),
        }
    }

    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.change.notify_one();
    }

    pub(crate) fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.change.wait(rung).unwrap();
        }
        *rung = false;
    }
}
