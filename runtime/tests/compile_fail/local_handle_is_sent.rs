//! A result that is not `Send` is joined on its own worker.

fn main() {
    filature::run(|| {
        let local = filature::spawn_local(|| std::rc::Rc::new(1));
        filature::spawn(move || drop(local.join()));
    });
}
