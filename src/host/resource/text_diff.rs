//! Differences of two texts.

use similar::{ChangeTag, TextDiff};

use crate::state::Secret;
use crate::state::redact::redact;

pub(crate) fn count(old: &str, new: &str) -> String {
    format!("edit {}", lines(old, new))
}

/// `1 line`, `3 lines`: how many are different.
pub(crate) fn lines(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let of = |tag: ChangeTag| diff.iter_all_changes().filter(|c| c.tag() == tag).count();
    let lines = of(ChangeTag::Insert).max(of(ChangeTag::Delete));
    format!("{lines} line{}", if lines == 1 { "" } else { "s" })
}

/// Unified diff from what is there to what is wanted, secrets masked; `None`: they are the same.
pub(crate) fn unified(path: &str, old: &str, new: &str, secrets: &[Secret]) -> Option<String> {
    titled(path, ("now", old), ("wanted", new), secrets)
}

/// Unified diff of two texts with their titles, secrets masked; `None`: they are the same.
pub(crate) fn titled(
    path: &str,
    (old_title, old): (&str, &str),
    (new_title, new): (&str, &str),
    secrets: &[Secret],
) -> Option<String> {
    if old == new {
        return None;
    }
    let diff = TextDiff::from_lines(old, new);
    let text = diff
        .unified_diff()
        .context_radius(3)
        .header(&format!("{path} ({old_title})"), &format!("{path} ({new_title})"))
        .to_string();
    Some(redact(&text, secrets))
}
