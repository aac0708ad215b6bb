use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

mod hmac;
mod meaning;

fn texts(text: &str, options: &Options<'_>) -> Vec<String> {
    fn flat(blocks: &[Block], out: &mut Vec<String>) {
        for b in blocks {
            out.push(b.words.join(" "));
            flat(&b.children, out);
        }
    }
    let (blocks, diagnostics) = blocks(text, options);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let mut out = Vec::new();
    flat(&blocks, &mut out);
    out
}

#[test]
fn manual_page_examples_of_definitions_expand_as_it_says() {
    let o = Options::default();
    let text = "$ADDRESS_BASE=10.2.${ADDRESS_BASE_SUB}\n$ADDRESS_BASE_SUB=0\n${ADDRESS_BASE}.100/32\n\
                $ADDRESS_BASE_SUB=10\n${ADDRESS_BASE}.100/32\n";
    assert_eq!(texts(text, &o), ["10.2.0.100/32", "10.2.10.100/32"]);
    assert_eq!(
        texts("~SEQ(SUBNET, 0, 3) ip 10.0.${SUBNET}.1", &o).last().unwrap(),
        "ip 10.0.3.1"
    );
    let hex = texts("~SEQx(S, 0x90, 0x10, 0xc0) fe80::20:${S}:1", &o);
    assert_eq!(
        hex,
        ["fe80::20:90:1", "fe80::20:a0:1", "fe80::20:b0:1", "fe80::20:c0:1"]
    );
    let list = texts(
        "~LST({IP, IP1}, {10,1},{20,4}) ~SEQ(IP2,168,2,172) 192.${IP2}.${IP}.${IP1}",
        &o,
    );
    let wanted = ["168.10.1", "170.10.1", "172.10.1", "168.20.4", "170.20.4", "172.20.4"].map(|s| format!("192.{s}"));
    assert_eq!(list, wanted);
    let body = "$I= \\\nvrrp_instance V${N} { \\\n  interface eth0.${N} \\\n  @high priority 130 \\\n  @low priority 120 \\\n}\n\
                $N=0\n$I\n$N=1\n$I\n";
    let low = Options { config_id: "low", ..o };
    let wanted = [
        "vrrp_instance V0",
        "interface eth0.0",
        "priority 120",
        "vrrp_instance V1",
        "interface eth0.1",
        "priority 120",
    ];
    assert_eq!(texts(body, &low), wanted);
    assert_eq!(
        texts(
            "$IF_MAIN=@main\n$IF_MAIN priority 240\n@^main priority 1",
            &Options { config_id: "main", ..o }
        ),
        ["priority 240"]
    );
    // What is not defined stays.
    assert_eq!(texts("script \"a ${UNDEF} $X b\"", &o), ["script a ${UNDEF} $X b"]);
    assert_eq!(texts("x ${_HASH}1${_BANG}", &o), ["x #1!"]);
}

#[test]
fn quotes_and_escapes_are_read_as_the_manual_page_says() {
    let o = Options::default();
    assert_eq!(
        blocks("abcd\" efg h jkl \"mnop", &o).0[0].words,
        ["abcd efg h jkl mnop"]
    );
    assert_eq!(
        blocks("abcd \"efg h jkl\" mnop", &o).0[0].words,
        ["abcd", "efg h jkl", "mnop"]
    );
    assert_eq!(
        blocks(r#"k "a\"b\\\x41\101\tz" '#!' # c"#, &o).0[0].words,
        ["k", "a\"b\\AA\tz", "#!"]
    );
    assert_eq!(
        split_command(r#"/bin/sh -c 'a "b" c' d\ e"#),
        ["/bin/sh", "-c", "a \"b\" c", "d e"]
    );
}

struct Files;
impl Resolver for Files {
    fn include(&self, pattern: &str, from: &Path) -> Vec<Include> {
        let path = from
            .parent()
            .unwrap_or(Path::new(""))
            .join(pattern)
            .to_string_lossy()
            .into_owned();
        let content = match pattern {
            "a.conf" => Ok("include b.conf\npwd ${_PWD}\n".to_owned()),
            "b.conf" => Ok("$B=2\nfrom b\n".to_owned()),
            "loop.conf" => Ok("include loop.conf\n".to_owned()),
            "secret.conf" => Err(Unread::Failed("permission denied".to_owned())),
            _ => return Vec::new(),
        };
        vec![Include { path, content }]
    }
    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }
}

#[test]
fn includes_share_definitions_and_name_their_own_lines() {
    let o = Options {
        path: "/etc/keepalived/keepalived.conf",
        resolver: &Files,
        ..Options::default()
    };
    assert_eq!(
        texts("include a.conf\nb is ${B} ${_ENV HOME}", &o),
        ["from b", "pwd /etc/keepalived", "b is 2 /root"]
    );
    let (_, found) = blocks("include none*.conf\nincluder secret.conf\ninclude loop.conf\n", &o);
    let found: Vec<String> = found.iter().map(|d| d.to_string()).collect();
    assert!(
        found[0].ends_with("1:1: warning: no file matches `none*.conf`"),
        "{found:?}"
    );
    assert!(
        found[1].contains("2:1: error: cannot read /etc/keepalived/secret.conf: permission denied"),
        "{found:?}"
    );
    assert!(
        found[2].contains("loop.conf:1:1: error: /etc/keepalived/loop.conf includes itself"),
        "{found:?}"
    );
}

#[test]
fn endless_definitions_are_reported_once() {
    for text in [
        "$A=${A}x\n${A}\n",
        "$A=${B}${B}\n$B=${A}${A}\n${A}\n",
        "$A= \\\nx \\\n$A\n$A\n",
    ] {
        let (_, found) = blocks(text, &Options::default());
        let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
        assert_eq!(errors, 1, "{text:?}: {found:?}");
    }
}

#[test]
fn a_continued_line_has_the_places_of_its_parts() {
    let (_, found) = lint("\\\nvrrp_instance V { \\\n  frobnicate 1 }\n", &Options::default());
    let unknown = found.iter().find(|d| d.message.contains("frobnicate")).unwrap();
    assert_eq!((unknown.place.line, unknown.place.column), (3, 3));
    let instance = found.iter().find(|d| d.message.contains("no `interface`")).unwrap();
    assert_eq!((instance.place.line, instance.place.column), (2, 1));
}

#[test]
fn defaults_are_keepalived_s() {
    let text = "global_defs { \n vrrp_garp_master_repeat 2\n}\nvrrp_script s {\n script \"/bin/true\"\n interval 3\n}\n\
                vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress { fe80::1/64 \n fd00::1 }\n}\n";
    let (config, found) = parse(text, &Options::default());
    assert!(found.is_empty(), "{found:?}");
    let i = &config.instances[0];
    assert_eq!(
        (i.version, i.priority, i.advert_int, i.down_timer_adverts),
        (3, 100, Duration::from_secs(1), 3)
    );
    assert_eq!(
        (i.garp.lower_prio_repeat, i.garp.master_delay),
        (Some(2), Some(Duration::from_secs(5)))
    );
    assert_eq!(
        (i.vips[1].prefix, i.vips[1].preferred_lft, i.vips[0].preferred_lft),
        (128, Some(0), None)
    );
    assert_eq!(
        (config.scripts[0].timeout, config.scripts[0].fall),
        (Duration::from_secs(3), 1)
    );
}

const INSTANCE: &str =
    "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1/24\n }\n";

#[test]
fn each_script_belongs_to_its_own_fifo() {
    let text = format!(
        "global_defs {{\n vrrp_notify_fifo_script \"/bin/a -x\" nobody\n notify_fifo /run/all root\n vrrp_notify_fifo /run/v\n}}\n{INSTANCE}}}\n"
    );
    let (config, found) = lint(&text, &Options::default());
    assert!(found.is_empty(), "{found:?}");
    let g = config.global;
    assert_eq!(g.notify_fifo.path.as_deref(), Some("/run/all"));
    assert_eq!(g.notify_fifo.script, None);
    let script = g.vrrp_notify_fifo.script.unwrap();
    assert_eq!(
        (g.vrrp_notify_fifo.path.as_deref(), script.argv.len()),
        (Some("/run/v"), 2)
    );
    let lonely = format!("global_defs {{\n notify_fifo_script /bin/a\n}}\n{INSTANCE}}}\n");
    let (_, found) = lint(&lonely, &Options::default());
    assert!(found[0].message.contains("has no `notify_fifo`"), "{found:?}");
}

#[test]
fn notify_deleted_stands_alone_or_with_a_command() {
    let deleted = |line: &str| {
        let (config, found) = lint(&format!("{INSTANCE}{line}}}\n"), &Options::default());
        assert!(found.is_empty(), "{found:?}");
        config.instances[0].notify.deleted.clone()
    };
    assert_eq!(deleted(""), Deleted::Fault);
    assert_eq!(deleted(" notify_deleted\n"), Deleted::Deleted(None));
    let Deleted::Deleted(Some(command)) = deleted(" notify_deleted \"/bin/gone now\" nobody\n") else {
        panic!("a command");
    };
    assert_eq!(command.argv, ["/bin/gone", "now"]);
}

#[test]
fn rules_of_processes_are_as_the_manual_page_says() {
    let rule = |lines: &str| {
        let text = format!("vrrp_track_process p {{\n{lines}}}\n{INSTANCE} track_process {{\n p\n }}\n}}\n");
        let (config, found) = lint(&text, &Options::default());
        let p = &config.track_processes[0];
        (p.params, p.quorum, p.quorum_max, found.len())
    };
    assert_eq!(rule(" process p\n"), (ParamMatch::Any, 1, None, 0));
    assert_eq!(rule(" process p -a\n"), (ParamMatch::Exact, 1, None, 0));
    assert_eq!(
        rule(" process p\n param_match initial\n"),
        (ParamMatch::Exact, 1, None, 0)
    );
    assert_eq!(
        rule(" process p -a\n param_match initial\n"),
        (ParamMatch::Initial, 1, None, 0)
    );
    assert_eq!(
        rule(" param_match partial\n process p -a\n"),
        (ParamMatch::Partial, 1, None, 0)
    );
    assert_eq!(rule(" process p\n param_match other\n").3, 1);
    assert_eq!(
        rule(" process p\n quorum_max 0\n"),
        (ParamMatch::Any, 0, Some(0), 0),
        "none may run"
    );
    assert_eq!(rule(" process p\n quorum 3\n quorum_max 2\n").3, 1);
}

#[test]
fn a_named_mail_server_is_warned_about_only_if_mail_is_wanted() {
    let found = |server: &str, alert: &str| {
        let text = format!(
            "global_defs {{\n notification_email {{\n a@b\n }}\n smtp_server {server}\n{alert}}}\n{INSTANCE}}}\n"
        );
        lint(&text, &Options::default()).1
    };
    assert!(found("mail.example.com", "").is_empty());
    assert!(found("192.0.2.1", " smtp_alert\n").is_empty());
    assert!(
        found("mail.example.com", " smtp_alert\n")[0]
            .message
            .contains("/etc/hosts")
    );
}

#[test]
fn glob_is_that_of_the_shell() {
    for (pattern, name, hit) in [
        ("*.conf", "a.conf", true),
        ("*.conf", ".a.conf", false),
        ("*a*b", "xaxxb", true),
        ("?[a-c]x", "zbx", true),
        ("?[!a-c]x", "zbx", false),
        ("\\*", "*", true),
        ("[", "[", true),
        ("", "", true),
    ] {
        assert_eq!(glob_match(pattern, name), hit, "{pattern} {name}");
    }
}

#[test]
fn every_keyword_is_unique_at_its_place() {
    for bit in 0..10 {
        let mut names: Vec<&str> = table::TABLE
            .iter()
            .filter(|r| r.place & (1 << bit) != 0)
            .flat_map(|r| r.names.split(' '))
            .collect();
        names.sort_unstable();
        let doubled: Vec<_> = names.windows(2).filter(|w| w[0] == w[1]).collect();
        // The same word in two rows of one place would make the second row dead.
        assert!(doubled.is_empty(), "{doubled:?}");
    }
}

/// Text that looks like a configuration, so that the property gets past the lexer.
fn configuration_like() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = table::TABLE.iter().flat_map(|r| r.names.split(' ')).collect();
    let keyword = proptest::sample::select(names).prop_map(str::to_owned);
    let other = proptest::sample::select(vec![
        "{",
        "}",
        "\n",
        "\n",
        "\n",
        "\"",
        "'",
        "\\",
        "$A=",
        "$A",
        "${A}",
        "~SEQ(A,1,3)",
        "~LST(",
        "@x",
        "@^x",
        "include a.conf",
        "1",
        "255",
        "-5",
        "0.5",
        "10.0.0.1/24",
        "fe80::1",
        "weight",
        "reverse",
        "PASS",
        "MASTER",
        "eth0",
        "dev",
        "é#",
        "!",
        "999999999999999999999",
        "NaN",
        "${_RANDOM 5 1}",
    ])
    .prop_map(str::to_owned);
    proptest::collection::vec(prop_oneof![keyword, other], 0..80).prop_map(|w| w.join(" "))
}

proptest! {
    #[test]
    fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        lint(&String::from_utf8_lossy(&bytes), &Options { resolver: &Files, ..Options::default() });
    }

    #[test]
    fn no_configuration_panics(text in configuration_like()) {
        let o = Options { resolver: &Files, config_id: "x", ..Options::default() };
        let (_, found) = lint(&text, &o);
        for d in found {
            prop_assert!(d.place.line > 0 && d.place.column > 0, "{}", d);
        }
    }

    #[test]
    fn glob_never_panics(pattern in "[a\\[\\]!*?\\\\-]{0,12}", name in "[ab\\[*]{0,8}") {
        glob_match(&pattern, &name);
    }
}
