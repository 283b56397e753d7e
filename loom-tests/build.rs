//! Makes a test of every model, and of every mutant one that its model fails.

mod mutants;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use mutants::{MISUSES, MUTANTS, Mutant};

/// The structures: each has a file in the runtime and one in `models/`.
const STRUCTURES: &[(&str, &str)] = &[
    ("deque", "scheduler"),
    ("idle", "scheduler"),
    ("inbox", "scheduler"),
    ("injector", "scheduler"),
    ("requests", "scheduler"),
    ("token", "coroutine"),
    ("life", "coroutine"),
    ("exits", "coroutine"),
    ("countdown", "sync"),
    ("finished", "sync"),
    ("raw_condvar", "sync"),
    ("raw_mutex", "sync"),
    ("raw_oneshot", "sync"),
    ("raw_rwlock", "sync"),
    ("raw_semaphore", "sync"),
    ("chan", "channel"),
    ("select", "channel"),
];

fn main() {
    let here = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let (here, out) = (Path::new(&here), Path::new(&out));

    let mut tests = String::new();
    for (structure, folder) in STRUCTURES {
        let models = here.join(format!("src/models/{structure}.rs"));
        let text = read(&models);
        let names = models_in(&text);
        assert!(!names.is_empty(), "{} has no models", models.display());
        let real = format!("use crate::{folder}::{structure} as subject;");
        let calls = names.iter().map(|name| {
            format!("    #[test]\n    fn {name}() {{\n        models::{name}();\n    }}\n")
        });
        module(
            &mut tests,
            structure,
            &real,
            &models,
            &calls.collect::<String>(),
        );
    }

    for mutant in MUTANTS {
        let (folder, models) = place(mutant, here);
        let source = here.join(format!("../runtime/src/{folder}/{}.rs", mutant.structure));
        let file = breed(mutant, &source, out);
        let subject = format!(
            "use crate::scheduler::list;\n    #[path = {file:?}]\n    pub(crate) mod subject;"
        );
        test_of(&mut tests, mutant, &subject, &models);
    }
    for mutant in MISUSES {
        let (folder, models) = place(mutant, here);
        let file = breed(mutant, &models, out);
        let subject = format!("use crate::{folder}::{} as subject;", mutant.structure);
        test_of(&mut tests, mutant, &subject, &file);
    }
    fs::write(out.join("tests.rs"), tests).expect("OUT_DIR can be written");
}

/// The folder of the mutant's structure, and the file of its models.
fn place(mutant: &Mutant, here: &Path) -> (&'static str, PathBuf) {
    let (structure, folder) = STRUCTURES
        .iter()
        .find(|(structure, _)| *structure == mutant.structure)
        .expect("the mutant's structure is listed");
    let models = here.join(format!("src/models/{structure}.rs"));
    assert!(
        models_in(&read(&models)).contains(&mutant.caught_by),
        "mutant {}: there is no model {}",
        mutant.name,
        mutant.caught_by
    );
    (folder, models)
}

/// Writes the broken copy of `source`.
fn breed(mutant: &Mutant, source: &Path, out: &Path) -> PathBuf {
    let text = read(source);
    assert_eq!(
        text.matches(mutant.original).count(),
        1,
        "mutant {}: the text to break must occur once in {}:\n{}",
        mutant.name,
        source.display(),
        mutant.original
    );
    let file = out.join(format!("{}.rs", mutant.name));
    fs::write(&file, text.replace(mutant.original, mutant.broken)).expect("OUT_DIR can be written");
    file
}

/// A test that a mutant is caught.
fn test_of(tests: &mut String, mutant: &Mutant, subject: &str, models: &Path) {
    let call = format!(
        "    #[test]\n    fn is_caught() {{\n        crate::explore::catches(models::{});\n    }}\n",
        mutant.caught_by
    );
    tests.push_str("#[allow(dead_code, unused_imports, clippy::all)]\n");
    module(tests, mutant.name, subject, models, &call);
}

/// A module with a subject, the models over it, and tests that call them.
fn module(tests: &mut String, name: &str, subject: &str, models: &Path, calls: &str) {
    write!(
        tests,
        "mod {name} {{\n    {subject}\n    #[path = {models:?}]\n    mod models;\n{calls}}}\n"
    )
    .expect("a string can be written");
}

/// The names of the models in a file: its crate-visible functions.
fn models_in(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("pub(crate) fn "))
        .filter_map(|line| line.split_once("()"))
        .map(|(name, _)| name)
        .collect()
}

fn read(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
