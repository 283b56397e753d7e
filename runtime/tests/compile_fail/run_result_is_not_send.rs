//! What it returns was made on another thread.

fn main() {
    let _ = filature::run(|| std::rc::Rc::new(1));
}
