//! `garp_group`, and the gratuitous ARP keywords that `global_defs` and instances share.

use std::time::Duration;

use super::builder::Builder;
use super::model::*;
use super::table;
use super::tree::Stmt;
use super::value::Value;

impl Builder<'_> {
    pub(super) fn garp_group(&mut self, stmt: &Stmt) {
        let mut g = GarpGroup::default();
        for line in stmt.children() {
            match (line.keyword(), self.value(table::GARP, line)) {
                ("garp_interval", Some(Value::Secs(time))) => g.garp_interval = Some(time),
                ("gna_interval", Some(Value::Secs(time))) => g.gna_interval = Some(time),
                ("interface", Some(Value::Words([word, ..]))) => g.interfaces.push(word.text.clone()),
                ("interfaces", Some(_)) => {
                    g.interfaces.extend(
                        line.children()
                            .iter()
                            .flat_map(|l| l.words.iter().map(|w| w.text.clone())),
                    );
                }
                _ => {}
            }
        }
        self.config.garp_groups.push(g);
    }
}

pub(super) fn garp_time(garp: &mut Garp, name: &str, time: Duration) {
    match name {
        "garp_master_delay" => garp.master_delay = Some(time),
        "garp_lower_prio_delay" => garp.lower_prio_delay = Some(time),
        "garp_master_refresh" => garp.refresh = Some(time),
        _ => {}
    }
}

pub(super) fn garp_count(garp: &mut Garp, name: &str, count: u32) {
    match name {
        "garp_master_repeat" => garp.master_repeat = Some(count),
        "garp_lower_prio_repeat" => garp.lower_prio_repeat = Some(count),
        "garp_master_refresh_repeat" => garp.refresh_repeat = Some(count),
        _ => {}
    }
}
