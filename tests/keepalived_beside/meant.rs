//! The table of differences that are meant: `meant.md`, which people read and this reads.

use std::cell::Cell;

use crate::host::Engine;
use crate::record::{Aspect, Order, Record};

const TABLE: &str = include_str!("meant.md");

/// A line that only one of the engines has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) case: String,
    /// The step of its phase.
    pub(crate) after: String,
    pub(crate) aspect: Aspect,
    /// Who alone has the line.
    pub(crate) only: Engine,
    pub(crate) line: String,
}

pub(crate) struct Row {
    /// Names of cases, `NAME*`, or `*`.
    cases: Vec<String>,
    aspect: Option<Aspect>,
    only: Option<Engine>,
    /// In the line; nothing: any line.
    contains: String,
    used: Cell<bool>,
    pub(crate) text: String,
}

pub(crate) struct Table(Vec<Row>);

impl Table {
    /// `| cases | what | only | line with | why |`; the backticks are for the reader.
    pub(crate) fn read() -> Table {
        let rows = TABLE.lines().filter(|l| l.starts_with("| `"));
        Table(rows.map(Row::parse).collect())
    }

    /// Whether it is in the table.
    pub(crate) fn has(&self, difference: &Difference) -> bool {
        let mut found = false;
        for row in self.0.iter().filter(|r| r.matches(difference)) {
            row.used.set(true);
            found = true;
        }
        found
    }

    /// Rows that nothing was found for.
    pub(crate) fn unused(&self) -> Vec<&str> {
        let unused = self.0.iter().filter(|r| !r.used.get());
        unused.map(|r| r.text.as_str()).collect()
    }
}

impl Row {
    fn parse(line: &str) -> Row {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [cases, what, only, contains, why] = cells[..] else {
            panic!("not five cells: {line}");
        };
        assert!(!why.is_empty(), "no reason is given: {line}");
        let plain = |cell: &str| cell.replace('`', "");
        let aspect = Aspect::ALL.into_iter().find(|a| a.name() == what);
        assert!(aspect.is_some() || what == "all", "no such thing is compared: {line}");
        Row {
            cases: plain(cases).split(' ').map(str::to_owned).collect(),
            aspect,
            only: match only {
                "agent" => Some(Engine::Agent),
                "keepalived" => Some(Engine::Keepalived),
                "either" => None,
                _ => panic!("neither engine: {line}"),
            },
            contains: if contains == "any" {
                String::new()
            } else {
                plain(contains)
            },
            used: Cell::new(false),
            text: line.to_owned(),
        }
    }

    fn matches(&self, difference: &Difference) -> bool {
        let case = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => difference.case.starts_with(start),
            None => difference.case == *pattern,
        };
        self.cases.iter().any(case)
            && self.aspect.is_none_or(|a| a == difference.aspect)
            && self.only.is_none_or(|e| e == difference.only)
            && difference.line.contains(&self.contains)
    }
}

/// Everything that is not the same in both.
pub(crate) fn differences(case: &str, agent: &Record, keepalived: &Record) -> Vec<Difference> {
    let mut found = Vec::new();
    for (ours, theirs) in agent.phases.iter().zip(&keepalived.phases) {
        for aspect in Aspect::ALL {
            let (a, k) = (ours.of(aspect), theirs.of(aspect));
            let difference = |only: Engine, line: &str| Difference {
                case: case.to_owned(),
                after: ours.after.clone(),
                aspect,
                only,
                line: line.to_owned(),
            };
            let before = found.len();
            found.extend(without(a, k).iter().map(|l| difference(Engine::Agent, l)));
            found.extend(without(k, a).iter().map(|l| difference(Engine::Keepalived, l)));
            let (a, k) = (by_object(aspect, a), by_object(aspect, k));
            if before == found.len() && a != k {
                found.push(difference(Engine::Agent, &format!("order: {}", a.join("; "))));
                found.push(difference(Engine::Keepalived, &format!("order: {}", k.join("; "))));
            }
        }
    }
    found
}

/// The lines in an order that says something: of one object after the other, or none.
fn by_object(aspect: Aspect, lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    match aspect.order() {
        Order::Kept => {}
        // `INSTANCE "VI_1" MASTER 100`
        Order::OfEach => lines.sort_by_key(|l| l.split(' ').take(2).collect::<Vec<_>>().join(" ")),
        Order::None => lines.sort(),
    }
    lines
}

/// What is left of `lines` once each of `others` has taken one that is the same.
fn without(lines: &[String], others: &[String]) -> Vec<String> {
    let mut left = lines.to_vec();
    for other in others {
        if let Some(at) = left.iter().position(|l| l == other) {
            left.remove(at);
        }
    }
    left
}
