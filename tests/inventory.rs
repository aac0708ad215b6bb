//! Every `tests/inventory/*.yaml` is loaded. Those called `good-*` must load; all others must fail with exactly
//! the text of the `.stderr` beside them. `HAPAIR_UPDATE_GOLDEN=1` rewrites the texts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hapair::inventory::{Inventory, ScriptKind, SecretSource};
use hapair::state::Engine;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../inventory.example.yaml");

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory")
}

/// The text as shown, with paths that do not depend on where the sources lie.
fn shown(path: &Path) -> Result<Inventory, String> {
    Inventory::load(path).map_err(|errors| {
        let here = format!("{}/", data().display());
        format!("{errors}\n").replace(&here, "")
    })
}

fn load(text: &str) -> Result<Inventory, String> {
    Inventory::parse(text, Path::new("inventory.yaml")).map_err(|errors| errors.to_string())
}

#[test]
fn bad_inventories_are_explained_and_good_ones_load() {
    let update = std::env::var_os("HAPAIR_UPDATE_GOLDEN").is_some();
    let mut names: Vec<PathBuf> = std::fs::read_dir(data())
        .expect("the directory of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() > 40, "cases went missing: {}", names.len());
    let mut wrong = Vec::new();
    for path in names {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let golden = path.with_extension("stderr");
        let good = name.starts_with("good-");
        let result = shown(&path);
        match (good, result) {
            (true, Ok(_)) => {}
            (true, Err(text)) => wrong.push(format!("{name} must load:\n{text}")),
            (false, Ok(_)) => wrong.push(format!("{name} must not load")),
            (false, Err(text)) if update => std::fs::write(&golden, text).expect("writing the golden text"),
            (false, Err(text)) => {
                let expected = std::fs::read_to_string(&golden).unwrap_or_default();
                if text != expected {
                    wrong.push(format!(
                        "{name}:\n{}",
                        similar::TextDiff::from_lines(&expected, &text).unified_diff()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_are_lower_case_without_a_final_period_and_have_a_place() {
    for entry in std::fs::read_dir(data()).expect("the directory of cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let Err(errors) = Inventory::load(&path) else { continue };
        assert!(!errors.problems.is_empty());
        for problem in errors.problems {
            let whole = problem.to_string();
            assert!(!whole.contains("hunter"), "a secret is shown: {whole}");
            for text in [Some(problem.message.clone()), problem.hint.clone()]
                .into_iter()
                .flatten()
            {
                assert!(!text.ends_with('.'), "{}: {text}", path.display());
            }
            let first = problem.message.split(' ').next().unwrap_or_default();
            let acronym = first.chars().all(|c| c.is_uppercase() || c.is_ascii_digit());
            assert!(
                acronym || first.starts_with(|c: char| !c.is_uppercase()) || first.starts_with("IPv"),
                "{problem}"
            );
            assert!(problem.position.is_some() && problem.snippet.is_some(), "{problem}");
        }
    }
}

#[test]
fn the_example_loads_with_the_values_of_the_seed() {
    let inventory = load(EXAMPLE).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<&str> = inventory.hosts.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["nginx-master", "nginx-backup"]);
    let vrrp = inventory.vrrp.as_ref().expect("vrrp");
    assert_eq!(vrrp.engine, Engine::Agent);
    let instance = &vrrp.instances[0];
    assert_eq!(instance.virtual_router_id, 51);
    assert_eq!(
        (instance.priorities["nginx-master"], instance.priorities["nginx-backup"]),
        (101, 100)
    );
    assert_eq!(instance.preferred(), "nginx-master");
    assert_eq!(instance.garp_master_refresh, 60);
    let Some(SecretSource::Literal(secret)) = &instance.auth_pass else {
        panic!("a literal auth_pass")
    };
    assert_eq!(secret.reveal(), "1111");
    let script = &vrrp.scripts[0];
    assert_eq!(
        (script.interval, script.timeout, script.weight, script.fall, script.rise),
        (2.0, 10, -5, 3, 2)
    );
    let endpoints = inventory.vip_endpoints();
    assert_eq!(endpoints.len(), 1);
    assert_eq!(
        (endpoints[0].vip.to_string().as_str(), endpoints[0].port),
        ("192.168.0.200", 80)
    );
    assert!(
        !format!("{inventory:?}").contains("1111"),
        "a secret in the debug output"
    );
}

/// The example with every optional key switched on.
fn example_with_everything() -> String {
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        if line == "  base: aliyun" {
            continue; // the other form of base follows
        }
        let body = line.trim_start();
        match body.strip_prefix("#: ") {
            Some(key) => {
                text.push_str(&line[..line.len() - body.len()]);
                text.push_str(key);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_example_shows_every_key_and_each_works() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("nginx")).expect("a directory");
    std::fs::write(dir.path().join("nginx/site.conf"), "# site\n").expect("a file");
    let path = dir.path().join("inventory.yaml");
    // auth_hmac takes its place.
    let text = example_with_everything().replacen("      auth_pass: \"1111\"\n", "", 1);
    std::fs::write(&path, &text).expect("a file");
    let inventory = Inventory::load(&path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        inventory.nginx.as_ref().expect("nginx").extra_files[0].content,
        "# site\n"
    );
    let vrrp = inventory.vrrp.as_ref().expect("vrrp");
    assert_eq!(vrrp.scripts.len(), 3);
    assert!(matches!(&vrrp.scripts[2].kind, ScriptKind::Command { command } if command == "killall -0 nginx"));
    assert!(
        inventory
            .ssh
            .r#become
            .is_some_and(|b| b.password == Some(SecretSource::Env("HAPAIR_SUDO_PASSWORD".into())))
    );

    // Whatever key the reader knows, the example names: the hint for an unknown key lists them all.
    let words: BTreeSet<&str> = EXAMPLE
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty())
        .collect();
    let stranger = "zzzzzzzzzzzzzzzz: 1";
    for (before, indent) in [
        ("name: edge", ""),
        ("  user: root", "  "),
        ("      interface: enp0s3", "      "),
        ("  selinux: disabled", "  "),
        ("  nginx: stable", "  "),
        ("    app:", "      "),
        ("  engine: agent", "  "),
        (
            "    router_id: {nginx-master: nginx_master, nginx-backup: nginx_backup}",
            "    ",
        ),
        ("      virtual_router_id: 51", "      "),
    ] {
        assert!(text.contains(&format!("\n{before}\n")), "{before}");
        let broken = text.replacen(
            &format!("\n{before}\n"),
            &format!("\n{before}\n{indent}{stranger}\n"),
            1,
        );
        let errors = Inventory::parse(&broken, &path).expect_err("an unknown key");
        let [problem] = errors.problems.as_slice() else {
            panic!("{errors}")
        };
        let hint = problem
            .hint
            .as_deref()
            .expect("a hint")
            .strip_prefix("known are ")
            .expect("a list of keys");
        for key in hint.split([',', ' ']).filter(|w| !w.is_empty() && *w != "and") {
            assert!(words.contains(key), "{key} is not in the example");
        }
    }
}

#[test]
fn a_missing_inventory_says_what_to_do() {
    let errors = Inventory::load(Path::new("no/such/inventory.yaml")).expect_err("no file");
    let text = errors.to_string();
    assert!(
        text.starts_with("error: no such inventory\n --> no/such/inventory.yaml\n"),
        "{text}"
    );
    assert!(text.contains("inventory.example.yaml"), "{text}");
}

#[test]
fn a_file_that_is_not_text_is_refused_where_it_stops_being_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("inventory.yaml");
    std::fs::write(&path, b"name: a\nx: \xc3\xa9\xff").expect("a file");
    let errors = Inventory::load(&path).expect_err("no text");
    assert_eq!(errors.problems[0].position, Some((2, 5)));
    let errors = Inventory::load(dir.path()).expect_err("a directory");
    assert_eq!(errors.problems[0].message, "the inventory is a directory");
}

#[test]
fn what_is_left_out_gets_the_documented_defaults() {
    let text = "
name: a
hosts:
  - {name: one, network: {interface: eth0, address: 10.0.0.1/24}}
  - {name: two, network: {interface: eth1, address: 10.0.0.2/24}}
vrrp:
  scripts:
    - {name: up, kind: restart, weight: 20}
    - {name: down, kind: command, command: /bin/true, interval: 2.5, weight: -2}
  instances:
    - {name: A, virtual_router_id: 1, virtual_ipaddress: [10.0.0.3], track_script: [up, down]}
    - {name: B, virtual_router_id: 2, virtual_ipaddress: ['fe80::1/64']}
";
    let inventory = load(text).unwrap_or_else(|e| panic!("{e}"));
    assert!(inventory.nginx.is_none());
    let vrrp = inventory.vrrp.expect("vrrp");
    assert_eq!(vrrp.engine, Engine::Agent);
    // A positive weight needs room below 254, or both hosts would end there.
    assert_eq!(
        (vrrp.instances[0].priorities["one"], vrrp.instances[0].priorities["two"]),
        (234, 233)
    );
    assert_eq!(
        (vrrp.instances[1].priorities["one"], vrrp.instances[1].priorities["two"]),
        (250, 249)
    );
    assert_eq!((vrrp.instances[0].version, vrrp.instances[1].version), (2, 3));
    assert_eq!(
        vrrp.instances[0].virtual_ipaddress[0].address.to_string(),
        "10.0.0.3/32"
    );
    assert!(!vrrp.instances[0].virtual_ipaddress[0].prefix_written);
    assert_eq!((vrrp.scripts[0].timeout, vrrp.scripts[1].timeout), (10, 3));
}

#[test]
fn scalars_are_read_as_written() {
    let text = EXAMPLE
        .replace("auth_pass: \"1111\"", "auth_pass: 0123")
        .replace("name: edge", "name: no");
    let inventory = load(&text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(inventory.name, "no");
    let Some(SecretSource::Literal(secret)) = &inventory.vrrp.expect("vrrp").instances[0].auth_pass else {
        panic!()
    };
    assert_eq!(secret.reveal(), "0123");
}

#[test]
fn a_byte_order_mark_and_crlf_shift_nothing() {
    let text = format!(
        "\u{feff}{}",
        EXAMPLE.replace("virtual_router_id: 51", "virtual_router_id: 0")
    )
    .replace('\n', "\r\n");
    let line = EXAMPLE
        .lines()
        .position(|l| l.contains("virtual_router_id"))
        .expect("a line")
        + 1;
    let errors = Inventory::parse(&text, Path::new("i.yaml")).expect_err("a bad id");
    assert_eq!(errors.problems.len(), 1);
    assert_eq!(errors.problems[0].position, Some((line, 26)));
    assert_eq!(
        errors.problems[0].snippet.as_ref().expect("a snippet").line,
        "      virtual_router_id: 0"
    );
}

/// Characters that mean something to YAML, to us, or to a terminal.
fn nasty() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("\t"),
            Just("\n"),
            Just("\r"),
            Just("\0"),
            Just("\u{1b}[2J"),
            Just("\u{feff}"),
            Just("é"),
            Just("漢"),
            Just(": "),
            Just("- "),
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just("&a"),
            Just("*a"),
            Just("<<: *a"),
            Just("'"),
            Just("\""),
            Just("|"),
            Just(">"),
            Just("!!str "),
            Just("!x"),
            Just("#"),
            Just("? "),
            Just("---"),
            Just("..."),
            Just("%YAML"),
            Just("99999999999999999999"),
            Just("-0"),
            Just(".inf"),
            Just("0x1"),
            Just("~"),
            Just("password: "),
            Just("auth_pass: "),
            Just("\\"),
            Just("\u{2028}"),
        ],
        1..6,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}|[ -~\\n\\t]{0,300}") {
        let _ = load(&text);
    }

    #[test]
    fn a_mutated_example_never_panics_and_never_shows_its_secret(
        at in 0..EXAMPLE.len(), cut in 0usize..40, insert in nasty(), everything: bool,
    ) {
        let base = if everything { example_with_everything() } else { EXAMPLE.to_owned() };
        let base = base.replace("\"1111\"", "\"s3cr3t-9\"");
        let mut start = at.min(base.len());
        while !base.is_char_boundary(start) { start -= 1; }
        let mut end = (start + cut).min(base.len());
        while !base.is_char_boundary(end) { end -= 1; }
        let secret = base.find("s3cr3t-9").expect("the secret");
        // A cut through the key itself leaves nothing that says it is a secret.
        let key = secret - "auth_pass: \"".len();
        prop_assume!(end.max(start) <= key || start >= secret + 9);
        let text = format!("{}{insert}{}", &base[..start], &base[end.max(start)..]);
        if let Err(shown) = load(&text) {
            prop_assert!(!shown.contains("s3cr3t"), "{shown}");
            prop_assert!(!shown.contains('\u{1b}') && !shown.contains('\0'), "{shown:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_wherever_they_stand(id in prop_oneof![-300i64..=0, 256i64..1000]) {
        let text = EXAMPLE.replace("virtual_router_id: 51", &format!("virtual_router_id: {id}"));
        let shown = load(&text).expect_err("out of range");
        prop_assert!(shown.contains("virtual_router_id must be between 1 and 255"), "{shown}");
    }
}
