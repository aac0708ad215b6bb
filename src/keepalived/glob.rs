//! File name patterns of `include`, as glob(7).

/// Whether a file name (one path component) matches a pattern of `*`, `?`, `[a-z]`, `[!a-z]` and `\x`.
///
/// A leading period must be matched explicitly, as in glob(7).
pub fn glob_match(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j) = (0, 0);
    // Where to go on after a mismatch: the last `*`, one more character swallowed by it.
    let mut retry: Option<(usize, usize)> = None;
    while j < n.len() {
        if i < p.len() && p[i] == '*' {
            retry = Some((i + 1, j));
            i += 1;
            continue;
        }
        if let Some(next) = one(&p, i, n[j]) {
            i = next;
            j += 1;
            continue;
        }
        let Some((after_star, swallowed)) = retry else {
            return false;
        };
        retry = Some((after_star, swallowed + 1));
        (i, j) = (after_star, swallowed + 1);
    }
    p[i..].iter().all(|c| *c == '*')
}

/// Index after the pattern element at `i` if it matches `c`.
fn one(p: &[char], i: usize, c: char) -> Option<usize> {
    match *p.get(i)? {
        '?' => Some(i + 1),
        '\\' => (*p.get(i + 1)? == c).then_some(i + 2),
        '[' => {
            let negated = matches!(p.get(i + 1), Some('!' | '^'));
            let first = i + 1 + usize::from(negated);
            let Some(end) = (first + 1..p.len()).find(|k| p[*k] == ']') else {
                return (c == '[').then_some(i + 1);
            };
            let (mut k, mut hit) = (first, false);
            while k < end {
                if k + 2 < end && p[k + 1] == '-' {
                    hit |= (p[k]..=p[k + 2]).contains(&c);
                    k += 3;
                } else {
                    hit |= p[k] == c;
                    k += 1;
                }
            }
            (hit != negated).then_some(end + 1)
        }
        other => (other == c).then_some(i + 1),
    }
}
