//! The result goes to whoever joins.

fn main() {
    filature::spawn(|| std::rc::Rc::new(1));
}
