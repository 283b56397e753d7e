//! A runtime outlives what its caller has on the stack.

fn main() {
    let runtime = filature::Runtime::new().unwrap();
    let local = String::from("gone");
    runtime.spawn(|| println!("{local}"));
}
