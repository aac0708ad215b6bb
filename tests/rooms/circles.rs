//! Circles among arrows.

use std::collections::{BTreeMap, BTreeSet};

/// The groups of two and more files that can all be reached from each other (Tarjan's strongly connected components).
pub(crate) fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<&str>> {
    let mut walk = Walk {
        arrows,
        number: BTreeMap::new(),
        lowest: BTreeMap::new(),
        open: Vec::new(),
        found: Vec::new(),
    };
    for file in arrows.keys() {
        if !walk.number.contains_key(file.as_str()) {
            walk.visit(file);
        }
    }
    walk.found
}

struct Walk<'a> {
    arrows: &'a BTreeMap<String, BTreeSet<String>>,
    number: BTreeMap<&'a str, usize>,
    lowest: BTreeMap<&'a str, usize>,
    open: Vec<&'a str>,
    found: Vec<Vec<&'a str>>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, file: &'a str) {
        let number = self.number.len();
        self.number.insert(file, number);
        self.lowest.insert(file, number);
        self.open.push(file);
        for next in self.arrows.get(file).into_iter().flatten() {
            let reached = match self.number.get(next.as_str()) {
                None => {
                    self.visit(next);
                    self.lowest[next.as_str()]
                }
                Some(number) if self.open.contains(&next.as_str()) => *number,
                Some(_) => continue,
            };
            let lowest = self.lowest.get_mut(file).expect("it has been met");
            *lowest = reached.min(*lowest);
        }
        if self.lowest[file] == number {
            let start = self.open.iter().position(|f| *f == file).expect("it is open");
            let mut group = self.open.split_off(start);
            if group.len() > 1 {
                group.sort_unstable();
                self.found.push(group);
            }
        }
    }
}
