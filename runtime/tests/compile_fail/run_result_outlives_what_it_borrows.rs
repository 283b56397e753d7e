//! What a run borrows does not leave it.

fn main() {
    let _escaped: &String = filature::run(|| {
        let inner = String::from("gone");
        &inner
    });
}
