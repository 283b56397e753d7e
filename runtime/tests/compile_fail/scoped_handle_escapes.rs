//! A scope's handles end with it.

fn main() {
    let handle = filature::scope(|s| s.spawn(|| 1));
    handle.join().unwrap();
}
