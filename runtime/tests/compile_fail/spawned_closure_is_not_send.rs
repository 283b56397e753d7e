//! Another worker may start it.

use std::rc::Rc;

fn main() {
    let local = Rc::new(1);
    filature::spawn(move || println!("{local}"));
}
