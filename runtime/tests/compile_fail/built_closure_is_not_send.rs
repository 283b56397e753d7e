//! Nor is the builder.

use std::cell::RefCell;
use std::rc::Rc;

fn main() {
    let local = Rc::new(RefCell::new(1));
    let _ = filature::Builder::new().spawn(move || *local.borrow_mut() += 1);
}
