//! The caller may be gone before the coroutine.

fn main() {
    let local = String::from("gone");
    filature::spawn(|| println!("{local}"));
}
