//! Where the reports' templates are filled in. Every value is escaped except the picture, which `svg.rs` escapes itself.

use std::sync::LazyLock;

use tera::{Context, Kwargs, State, Tera};

use super::text::{duration, escape};

const TEMPLATES: [(&str, &str); 2] = [
    ("report.html.tera", include_str!("report.html.tera")),
    ("report.xml.tera", include_str!("report.xml.tera")),
];

static TERA: LazyLock<Tera> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.autoescape_on([".tera"]);
    // Tera's own lets control characters through, which XML 1.0 cannot hold.
    tera.set_escape_fn(|text, out| out.write_all(escape(text).as_bytes()));
    tera.register_filter("duration", |ms: u64, _: Kwargs, _: &State<'_>| duration(ms));
    tera.register_filter("seconds", |ms: u64, _: Kwargs, _: &State<'_>| {
        format!("{}.{:03}", ms / 1000, ms % 1000)
    });
    tera.register_filter("milliseconds", |ms: f64, _: Kwargs, _: &State<'_>| {
        format!("{ms:.1} ms")
    });
    tera.add_raw_templates(TEMPLATES).expect("the reports' templates parse");
    tera
});

/// A template filled in.
///
/// # Panics
/// Never: the templates are ours, and tests fill in all of them.
pub(super) fn render(name: &str, context: &Context) -> String {
    TERA.render(name, context).expect("the reports' templates render")
}
