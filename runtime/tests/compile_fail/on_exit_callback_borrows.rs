//! A callback is called when its caller may be gone.

fn main() {
    let local = String::from("gone");
    let handle = filature::spawn(|| ());
    handle.on_exit(|_| println!("{local}"));
}
