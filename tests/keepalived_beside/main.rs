//! The agent and keepalived run the same keepalived.conf, each on a host of its own, and the same
//! happens to both: a file of `corpus/` says what. Adverts byte by byte, gratuitous ARPs and neighbour advertisements,
//! addresses, routes, scripts with users and arguments, FIFO lines and the end must be the same. Differences that are meant
//! stand in `meant.md`, with their reasons; a row there that nothing is found for fails, too.
//!
//! Needs root, ip(8) and a keepalived 2.2; without them it is left out, which is counted and said (in CI it fails).
//! `HAPAIR_BESIDE=WORD` runs only files whose name contains the word; records and logs are in `target/tmp/beside/`.
#![cfg(feature = "agent")]

mod case;
mod host;
mod meant;
#[path = "../netns/mod.rs"]
mod netns;
mod record;
mod run;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use case::Case;
use host::Engine;
use meant::{Difference, Table, differences};
use record::Record;

/// Cases at a time. They wait for timers most of the time.
const WORKERS: usize = 12;

fn corpus() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived_beside/corpus");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let cases = paths.iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        Case::parse(name, &fs::read_to_string(path).unwrap())
    });
    cases.collect()
}

fn out() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("beside")
}

/// Runs a case with both engines at the same time, so that a busy machine is as busy for both.
fn both(case: &Case, number: usize) -> (Record, Record) {
    let one = |engine: Engine| {
        let place = |kind: &str| out().join(format!("{}.{}.{kind}", case.name, engine.name()));
        let record = run::run(case, engine, &place("log"), number);
        fs::write(place("txt"), record.text()).unwrap();
        record
    };
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| one(Engine::Agent));
        let keepalived = one(Engine::Keepalived);
        (agent.join().unwrap(), keepalived)
    })
}

#[test]
fn a_configuration_means_what_keepalived_means_by_it() {
    let mut cases = corpus();
    assert!(cases.len() >= 60, "{} files are no corpus", cases.len());
    let table = Table::read();
    // The table says what this version does.
    if !netns::able_with_keepalived([2, 2, 0], [2, 3, 0]) {
        return;
    }
    let word = std::env::var("HAPAIR_BESIDE").unwrap_or_default();
    cases.retain(|c| c.name.contains(&word));
    fs::create_dir_all(out()).unwrap();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::<Difference>::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    let (agent, keepalived) = both(case, number);
                    let all = differences(&case.name, &agent, &keepalived);
                    found.lock().unwrap().extend(all);
                }
            });
        }
    });
    let mut wrong = String::new();
    let mut found = found.into_inner().unwrap();
    found.sort_by(|a, b| a.case.cmp(&b.case));
    let (mut meant, mut last) = (0, String::new());
    for difference in &found {
        if table.has(difference) {
            meant += 1;
            continue;
        }
        if last != difference.case {
            last.clone_from(&difference.case);
            let about = cases.iter().find(|c| c.name == last).map_or("", |c| &c.about);
            let _ = writeln!(wrong, "{last}: {about}");
        }
        let Difference {
            after,
            aspect,
            only,
            line,
            ..
        } = difference;
        let _ = writeln!(
            wrong,
            "  after {after}, {}, only {}: {line}",
            aspect.name(),
            only.name()
        );
    }
    if word.is_empty() {
        for row in table.unused() {
            let _ = writeln!(wrong, "meant.md: nothing is found for {row}");
        }
    }
    eprintln!("{} configurations, {meant} differences that are meant", cases.len());
    assert!(
        wrong.is_empty(),
        "{wrong}\nrecords and logs: {}; tests/keepalived_beside/meant.md lists what is meant",
        out().display()
    );
}
