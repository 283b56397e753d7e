//! It runs on a worker's thread, not on the caller's.

fn main() {
    let local = std::rc::Rc::new(1);
    filature::run(|| println!("{local}"));
}
