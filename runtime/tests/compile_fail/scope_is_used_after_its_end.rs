//! Nothing is spawned in a scope that has ended.

fn main() {
    let mut escaped = None;
    filature::scope(|s| {
        escaped = Some(s);
    });
    escaped.unwrap().spawn(|| ());
}
