//! What a scope's coroutine returns goes to another worker.

fn main() {
    filature::scope(|s| {
        s.spawn(|| std::rc::Rc::new(1));
    });
}
