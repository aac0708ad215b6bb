//! Order over the pair, health gates, confirm, undo.
