//! The macro is no way round the bound.

use std::rc::Rc;

fn main() {
    let local = Rc::new(1);
    filature::go!(move || println!("{local}"));
}
