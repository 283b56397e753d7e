//! Nothing is spawned in a group that has ended.

fn main() {
    let mut escaped = None;
    let _ = filature::task_group::<(), (), _>(|group| {
        escaped = Some(group);
    });
    escaped.unwrap().spawn(|| Ok(()));
}
