//! A state as text that a person can review.

use super::*;

/// Text of a state that a person can review: one heading a resource, files as they are.
pub(super) fn dump(state: &HostState) -> String {
    let mut out = String::new();
    for note in &state.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    for i in &state.instances {
        out.push_str(&format!(
            "instance: {} dev {} vrid {} priority {} vips {}\n",
            i.name,
            i.interface,
            i.virtual_router_id,
            i.priority,
            i.vips.join(" ")
        ));
    }
    for resource in &state.resources {
        let mut flags = String::new();
        if resource.cuts_ssh {
            flags.push_str(" [cuts ssh]");
        }
        if resource.election_critical {
            flags.push_str(" [election critical]");
        }
        out.push_str(&format!("\n=== {}: {}{flags}\n", resource.stage.name(), resource.id));
        let mut spec = serde_json::to_value(&resource.spec).expect("a spec is JSON");
        let map = spec.as_object_mut().expect("a spec is an object");
        let mut text = String::new();
        match &resource.spec {
            Spec::File {
                content: Content::Text(content),
                ..
            } => {
                map.remove("content");
                text.push_str(content);
            }
            Spec::Edit {
                create: Some(create), ..
            }
            | Spec::Network(hapair::state::resource::NetworkSpec { create, .. }) => {
                map.remove("create");
                text.push_str(create);
            }
            _ => {}
        }
        for (key, value) in map.iter().filter(|(key, _)| *key != "kind") {
            match (key.as_str(), value) {
                ("mode", value) if value.is_u64() => {
                    out.push_str(&format!("mode: {:04o}\n", value.as_u64().expect("a mode")))
                }
                (_, serde_json::Value::Array(items)) if items.iter().any(|i| i.is_object()) => {
                    out.push_str(&format!("{key}:\n"));
                    for item in items {
                        out.push_str(&format!("  {item}\n"));
                    }
                }
                _ => out.push_str(&format!("{key}: {value}\n")),
            }
        }
        for reaction in &resource.reactions {
            out.push_str(&format!("then: {}\n", serde_json::to_string(reaction).expect("JSON")));
        }
        if !text.is_empty() {
            out.push_str("---\n");
            for line in text.lines() {
                out.push_str(if line.is_empty() { "|" } else { "| " });
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}
