//! `~SEQ`, `~SEQx` and `~LST`: what each of their rounds defines.

/// Splits at commas outside `{}`.
fn split_args(text: &str) -> Vec<String> {
    let (mut args, mut depth) = (vec![String::new()], 0u32);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c, args.last_mut()) {
            (',', _) if depth == 0 => args.push(String::new()),
            (_, Some(last)) => last.push(c),
            _ => {}
        }
    }
    args.into_iter().map(|a| a.trim().to_owned()).collect()
}

/// What one round defines: names and values.
pub(super) type Round = Vec<(String, String)>;

/// The rounds of `~SEQ` and its like, one at a time: a sequence may be longer than memory. `None`: the arguments make no
/// sense.
pub(super) fn rounds(kind: &str, args: &str) -> Option<Box<dyn Iterator<Item = Round>>> {
    let args = split_args(args);
    match kind {
        "~LST" => list(&args).map(|rounds| Box::new(rounds.into_iter()) as Box<dyn Iterator<Item = Round>>),
        _ => sequence(&args, kind == "~SEQx").map(|rounds| Box::new(rounds) as Box<dyn Iterator<Item = Round>>),
    }
}

fn sequence(args: &[String], hex: bool) -> Option<impl Iterator<Item = Round> + use<>> {
    let numbers: Vec<i64> = args.get(1..)?.iter().map(|a| number(a)).collect::<Option<_>>()?;
    let (start, step, end) = match numbers[..] {
        [end] => (if end > 0 { 1 } else { -1 }, if end > 0 { 1 } else { -1 }, end),
        [start, end] => (start, if end >= start { 1 } else { -1 }, end),
        [start, step, end] => (start, step, end),
        _ => return None,
    };
    if step == 0 || args[0].is_empty() {
        return None;
    }
    let inside = move |value: &i64| if step > 0 { *value <= end } else { *value >= end };
    let values = std::iter::successors(Some(start), move |value: &i64| value.checked_add(step)).take_while(inside);
    let name = args[0].clone();
    Some(values.map(move |value| {
        let text = if hex { format!("{value:x}") } else { value.to_string() };
        vec![(name.clone(), text)]
    }))
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.checked_neg()? } else { value })
}

fn list(args: &[String]) -> Option<Vec<Round>> {
    let group = |text: &str| -> Vec<String> {
        match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(inner) => split_args(inner),
            None => vec![text.to_owned()],
        }
    };
    let names = group(args.first()?);
    if args.len() < 2
        || names
            .iter()
            .any(|n| n.is_empty() || !n.chars().all(super::source::is_name))
    {
        return None;
    }
    args[1..]
        .iter()
        .map(|arg| {
            let values = group(arg);
            (values.len() == names.len()).then(|| names.iter().cloned().zip(values).collect())
        })
        .collect()
}
