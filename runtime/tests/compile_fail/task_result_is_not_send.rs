//! What a task returns goes to another worker.

fn main() {
    let _ = filature::task_group(|group| {
        group.spawn(|| Ok::<_, ()>(std::rc::Rc::new(1)));
    });
}
