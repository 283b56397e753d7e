//! Also on the same worker.

fn main() {
    filature::run(|| {
        let local = String::from("gone");
        filature::spawn_local(|| println!("{local}"));
    });
}
