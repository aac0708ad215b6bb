//! A finished drill as text. Deterministic: the same report gives the same bytes.

mod format;
mod html;
mod junit;
mod svg;
mod template;
#[cfg(test)]
mod tests;
mod text;

pub use format::{Format, json};
pub use html::html;
pub use junit::junit;
pub use svg::svg;
