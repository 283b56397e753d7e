//! There is one result, and a join takes it.

fn main() {
    let handle = filature::spawn(|| 1);
    handle.join().unwrap();
    handle.join().unwrap();
}
