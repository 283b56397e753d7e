//! A callback is called on another worker.

fn main() {
    let not_send = std::rc::Rc::new(1);
    let handle = filature::spawn(|| ());
    handle.on_exit(move |_| println!("{not_send}"));
}
