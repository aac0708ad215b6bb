//! The templates: embedded ones, and an operator's own in their place.

use std::path::Path;

use tera::{Context, ErrorKind, Tera};

use super::error::{DesiredError, unsafe_value};
use super::escape;

/// Declares the embedded templates by their path below `templates/`.
macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $name)))),+]
    };
}

/// Name and text of every template. A name is the path below `templates/`, which mirrors the target's file system;
/// upper-case words in it stand for what differs from host to host.
pub(super) const EMBEDDED: &[(&str, &str)] = embedded![
    "etc/NetworkManager/system-connections/INTERFACE.nmconnection.tera",
    "etc/cloud/cloud.cfg.d/99-hapair.cfg.tera",
    "etc/hosts.tera",
    "etc/keepalived/keepalived.conf.tera",
    "etc/nginx/conf.d/00-hapair.conf.tera",
    "etc/nginx/conf.d/default.conf.tera",
    "etc/sysconfig/network-scripts/ifcfg-INTERFACE.tera",
    "etc/sysctl.d/90-hapair.conf.tera",
    "etc/systemd/system/hapair-agent.service.tera",
    "etc/systemd/system/keepalived.service.d/hapair.conf.tera",
    "etc/yum.repos.d/BASE.repo.tera",
    "etc/yum.repos.d/CentOS-Media.repo.tera",
    "etc/yum.repos.d/nginx.repo.tera",
    "usr/libexec/keepalived/HTTP.sh.tera",
    "usr/libexec/keepalived/RESTART.sh.tera",
];

/// A set of templates, parsed.
#[derive(Clone)]
pub struct Templates {
    tera: Tera,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templates").finish_non_exhaustive()
    }
}

impl Templates {
    /// hapair's own.
    ///
    /// # Panics
    /// Never: a test parses them all.
    pub fn embedded() -> Templates {
        let mut templates = Templates::empty();
        for (name, text) in EMBEDDED {
            templates.add(name, text).expect("embedded templates parse");
        }
        templates
    }

    /// hapair's own, each replaced by the file of the same path below `dir` where there is one.
    ///
    /// # Errors
    /// A file that cannot be read, that ends in `.tera` and is no template of hapair's, or that does not parse (with
    /// template, line and column).
    pub fn with_overrides(dir: &Path) -> Result<Templates, DesiredError> {
        let mut templates = Templates::embedded();
        let mut found = Vec::new();
        collect(dir, &mut found)?;
        found.sort();
        for path in found {
            let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            if !EMBEDDED.iter().any(|(known, _)| *known == name) {
                let names = std::iter::once("templates that can be overridden:".to_owned())
                    .chain(EMBEDDED.iter().map(|(name, _)| format!("  {name}")));
                return Err(unusable(&path, "hapair has no template of this name").with_hints(names));
            }
            let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
            templates.add(&name, &text)?;
        }
        Ok(templates)
    }

    fn empty() -> Templates {
        let mut tera = Tera::default();
        // Configuration files are no markup. The rule is by name, so one ending in .xml.tera would be escaped.
        tera.autoescape_on([".xml.tera"]);
        tera.register_filter("sh", |text: &str, _: tera::Kwargs, _: &tera::State| {
            escape::sh_quote(text)
        });
        Templates { tera }
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), DesiredError> {
        self.tera.add_raw_template(name, text).map_err(|e| convert(name, &e))
    }

    /// Renders one template.
    ///
    /// # Errors
    /// A control character in any value of the view, or whatever the template does wrong.
    pub(super) fn render<T: serde::Serialize>(&self, name: &str, host: &str, view: &T) -> Result<String, DesiredError> {
        let value = serde_json::to_value(view)
            .map_err(|e| DesiredError::new(place(name, 0, 0)).because(e).hint(correct(name)))?;
        if let Some((field, character)) = escape::control_character("", &value) {
            return Err(unsafe_value(host, &field, &character, "a template"));
        }
        let context = Context::from_serialize(&value).map_err(|e| convert(name, &e))?;
        self.tera.render(name, &context).map_err(|e| convert(name, &e))
    }
}

/// Every file below `dir` that ends in `.tera`.
fn collect(dir: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<(), DesiredError> {
    for entry in std::fs::read_dir(dir).map_err(|e| unreadable(dir, e))? {
        let path = entry.map_err(|e| unreadable(dir, e))?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "tera") {
            found.push(path);
        }
    }
    Ok(())
}

/// The directory of overriding templates cannot be used because of this file or directory.
fn unusable(path: &Path, why: &str) -> DesiredError {
    DesiredError::new(format!("template directory {}: {why}", path.display()))
}

fn unreadable(path: &Path, error: std::io::Error) -> DesiredError {
    unusable(path, "cannot be read").because(error)
}

/// Which template, and where in it, from 1; 0 when the template as a whole is meant.
fn place(template: &str, line: usize, column: usize) -> String {
    format!("template {template}:{line}:{column}")
}

fn correct(template: &str) -> String {
    format!("correct or remove {template} in the directory of your own templates")
}

/// tera's error with its place, in our words.
fn convert(name: &str, error: &tera::Error) -> DesiredError {
    let (template, line, column, message) = match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            let file = if report.filename().is_empty() {
                name
            } else {
                report.filename()
            };
            (
                file,
                report.span().start_line,
                report.span().start_col + 1,
                report.message().to_owned(),
            )
        }
        other => (name, 0, 0, other.to_string()),
    };
    let mut message = message.trim_end_matches('.').to_owned();
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    DesiredError::new(format!("{}: {message}", place(template, line, column))).hint(correct(template))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_directory_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut found = Vec::new();
        collect(&root, &mut found).unwrap();
        let mut names: Vec<String> = found
            .iter()
            .map(|p| p.strip_prefix(&root).unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(
            names,
            EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()
        );
        let _ = Templates::embedded();
    }

    #[test]
    fn an_override_that_does_not_parse_is_placed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/nginx/conf.d")).unwrap();
        std::fs::write(
            dir.path().join("etc/nginx/conf.d/default.conf.tera"),
            "# fine\n# {{ oops }\n",
        )
        .unwrap();
        let error = Templates::with_overrides(dir.path()).unwrap_err();
        let text = error.to_string();
        let rest = text
            .strip_prefix("template etc/nginx/conf.d/default.conf.tera:2:")
            .expect(&text);
        let column: usize = rest.split(':').next().unwrap().parse().unwrap();
        assert!(column > 1, "{text}");
    }

    #[test]
    fn an_override_that_replaces_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keepalived.conf.tera"), "x").unwrap();
        let error = Templates::with_overrides(dir.path()).unwrap_err();
        assert!(error.to_string().contains("no template of this name"), "{error}");
        assert!(
            error
                .hints
                .iter()
                .any(|h| h.contains("etc/keepalived/keepalived.conf.tera"))
        );
    }

    #[test]
    fn an_undefined_variable_is_named_with_its_place() {
        let mut templates = Templates::embedded();
        templates.add("etc/hosts.tera", "one\n{{ nobody }}\n").unwrap();
        let error = templates
            .render("etc/hosts.tera", "a", &serde_json::json!({"x": 1}))
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("template etc/hosts.tera:2:") && text.contains("nobody"),
            "{text}"
        );
    }
}
