//! Any text as a configuration, with other parts of it as the files it may include.

use std::path::Path;

use hapair::keepalived::{Family, Include, Options, Resolver, Severity, Unread, blocks, lint, split_command};

/// Separates the main text from the files `1`, `2`, … that it may include.
const SEPARATOR: u8 = 0xff;

struct Parts(Vec<String>);

impl Resolver for Parts {
    fn include(&self, pattern: &str, _: &Path) -> Vec<Include> {
        let wanted = |n: &usize| pattern == "*" || pattern == n.to_string();
        let file = |n: usize| Include {
            path: n.to_string(),
            content: match self.0[n].as_str() {
                "" => Err(Unread::Failed("permission denied".to_owned())),
                text => Ok(text.to_owned()),
            },
        };
        (1..self.0.len()).filter(wanted).map(file).collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "$A {".to_owned())
    }
}

pub(crate) fn run(data: &[u8]) {
    let parts = data.splitn(8, |b| *b == SEPARATOR);
    let parts = Parts(parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect());
    let options = Options {
        path: "0",
        config_id: "x",
        instance: "x",
        resolver: &parts,
    };
    let text = &parts.0[0];
    let (config, found) = lint(text, &options);
    // Lengths of the lines of every file.
    let lengths = |text: &String| text.lines().map(|l| l.chars().count()).collect();
    let files: Vec<Vec<usize>> = parts.0.iter().map(lengths).collect();
    for d in &found {
        let file: usize = d.place.file.parse().expect("a file that was given");
        let (line, column) = (d.place.line as usize, d.place.column as usize);
        // An empty file has a first line, too, for what is missing in it.
        assert!(line >= 1 && line <= files[file].len().max(1), "{d}");
        let length = files[file].get(line - 1).copied().unwrap_or(0);
        assert!(column >= 1 && column <= length.max(1), "{d}");
        assert!(!d.message.is_empty() && !d.message.ends_with('.'), "{d}");
    }
    assert!(found.is_sorted_by_key(|d| (d.place.file_index, d.place.line, d.place.column)));
    let runnable = found.iter().all(|d| d.severity != Severity::Error);
    for i in &config.instances {
        assert!(i.priority > 0);
        if runnable {
            assert!(i.vrid > 0 && !i.interface.is_empty() && i.advert_int.as_millis() >= 10);
            assert!(i.version == 2 || !i.vips.is_empty() || i.no_vips);
            assert!(i.vips.len() <= 255 && i.vips.iter().all(|v| Family::of(v.ip) == i.family));
        }
    }
    blocks(text, &options);
    split_command(text);
}
