//! A difference between what a resource is and what it should be.

/// A difference before it is dressed for showing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What is to be done, in words.
    pub(crate) summary: String,
    /// Text before and after.
    pub(crate) text: Option<(String, String)>,
    /// The text may be shown.
    pub(crate) shown: bool,
}

impl Found {
    /// One that shows no text.
    pub(crate) fn plain(summary: impl Into<String>) -> Option<Found> {
        Some(Found {
            summary: summary.into(),
            text: None,
            shown: false,
        })
    }

    /// One of text that may be shown.
    pub(crate) fn of_text(summary: impl Into<String>, old: String, new: String) -> Option<Found> {
        Some(Found {
            summary: summary.into(),
            text: Some((old, new)),
            shown: true,
        })
    }

    /// `todo`, one thing after another; nothing if there is nothing to do.
    pub(crate) fn listed(todo: &[impl AsRef<str>], between: &str) -> Option<Found> {
        let words: Vec<&str> = todo.iter().map(AsRef::as_ref).collect();
        (!words.is_empty()).then(|| words.join(between)).and_then(Found::plain)
    }

    /// For an observation of another kind, which is a fault of this program: saying "unknown" beats doing nothing.
    pub(crate) fn of_another_kind() -> Option<Found> {
        Found::plain("observe again")
    }
}
