//! What one coroutine of a scope changes no other borrows.

fn main() {
    let mut count = 0;
    filature::scope(|s| {
        s.spawn(|| count += 1);
        s.spawn(|| count += 1);
    });
}
