//! What a task borrows outlives its group.

fn main() {
    let _ = filature::task_group(|group| {
        let inside = String::from("gone before the group");
        group.spawn(|| Ok::<_, ()>(inside.len()));
    });
}
