//! A million coroutines, counted.

mod common;

use std::process::Command;

use common::{POLLERS, assert_fails, run, text};

fn skynet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_skynet"))
}

#[test]
fn a_million_leaves_add_up() {
    let output = run(&mut skynet());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    for word in ["499999500000", "1,111,111", "cold", "warm", "steals"] {
        assert!(stdout.contains(word), "no {word:?} in {stdout}");
    }
}

#[test]
fn leaves_add_up_on_both_pollers_and_any_number_of_workers() {
    for poller in POLLERS {
        for workers in ["1", "2", "8"] {
            let args = ["--leaves", "10000", "--workers", workers];
            let output = run(skynet().args(args).env("FILATURE_IO", poller));
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(text(&output.stdout).contains("49995000"));
        }
    }
}

#[test]
fn any_number_of_leaves_adds_up() {
    for leaves in [1, 2, 9, 10, 11, 1234] {
        let output = run(skynet().args(["--leaves", &leaves.to_string()]));
        let sum = (leaves * (leaves - 1) / 2).to_string();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stdout).lines();
        let mut words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert!(words.any(|words| words == ["sum", &sum]), "{leaves} leaves");
    }
}

#[test]
fn a_bad_command_line_is_one_clear_line() {
    assert_fails(skynet().args(["--leaves", "0"]), 2, &["--leaves", "0"]);
    assert_fails(skynet().arg("--million"), 2, &["--million", "--help"]);
}
