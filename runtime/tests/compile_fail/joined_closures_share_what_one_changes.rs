//! The closures of `join!` run at once.

fn main() {
    let mut count = 0;
    filature::join!(|| count += 1, || count += 1);
}
