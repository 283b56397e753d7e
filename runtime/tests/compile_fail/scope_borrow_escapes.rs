//! What a scope's coroutine borrows outlives the scope.

fn main() {
    filature::scope(|s| {
        let inside = String::from("gone before the scope");
        s.spawn(|| println!("{inside}"));
    });
}
