//! What fuzzing (tests/fuzz) has learnt and found, replayed with stable Rust: the same functions over the kept inputs.

#[path = "fuzz/body/bytes.rs"]
mod bytes;
#[path = "fuzz/body/configuration.rs"]
mod configuration;
#[path = "fuzz/body/packet.rs"]
mod packet;
#[path = "fuzz/body/router.rs"]
mod router;

use std::path::Path;

/// Runs every kept input of a target; each input's name is printed before, so that a failure names it.
fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 20, "{} inputs in {}", inputs.len(), dir.display());
    for input in inputs {
        println!("{}", input.display());
        run(&std::fs::read(input).unwrap());
    }
}

#[test]
fn packets() {
    replay("packet", packet::run);
}

#[test]
fn routers() {
    replay("router", router::run);
}

#[test]
fn configurations() {
    replay("configuration", configuration::run);
}
