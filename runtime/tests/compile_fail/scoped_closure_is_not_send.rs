//! A scope's coroutines are started by any worker.

fn main() {
    let not_send = std::rc::Rc::new(1);
    filature::scope(|s| {
        s.spawn(|| println!("{not_send}"));
    });
}
