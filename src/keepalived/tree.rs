//! From logical lines to statements with nested bodies.

use super::diag::{Diagnostic, Place};
use super::source::Line;
use super::table::{self, Does};

/// A word with its place.
#[derive(Debug, Clone)]
pub struct Word {
    /// Without quotes, escapes resolved.
    pub text: String,
    /// Where it starts.
    pub place: Place,
}

/// A statement: words, and a body if there were braces.
#[derive(Debug, Clone)]
pub struct Stmt {
    /// At least one unless a brace stood alone.
    pub words: Vec<Word>,
    /// `Some` if there were braces, even empty ones.
    pub body: Option<Vec<Stmt>>,
    /// Of the first word.
    pub place: Place,
}

impl Stmt {
    /// The first word, or nothing.
    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", |w| w.text.as_str())
    }

    /// Everything after the keyword.
    pub fn args(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The body's statements.
    pub fn children(&self) -> &[Stmt] {
        self.body.as_deref().unwrap_or_default()
    }
}

/// A statement without places: what two files are compared by. Equality leaves the line out.
#[derive(Debug, Clone)]
pub struct Block {
    /// Keyword and arguments.
    pub words: Vec<String>,
    /// The body's statements.
    pub children: Vec<Block>,
    /// Where it was, for messages.
    pub line: u32,
}

impl PartialEq for Block {
    fn eq(&self, other: &Block) -> bool {
        self.words == other.words && self.children == other.children
    }
}

impl Eq for Block {}

impl From<&Stmt> for Block {
    fn from(stmt: &Stmt) -> Block {
        Block {
            words: stmt.words.iter().map(|w| w.text.clone()).collect(),
            children: stmt.children().iter().map(Block::from).collect(),
            line: stmt.place.line,
        }
    }
}

/// Bodies inside bodies; the language itself needs four.
const MAX_DEPTH: usize = 32;

pub(super) fn build(lines: &[Line], out: &mut Vec<Diagnostic>) -> Vec<Stmt> {
    let mut builder = Builder {
        open: vec![(None, Vec::new())],
        last_known_is_skipped: false,
        too_deep: 0,
        out,
    };
    for line in lines {
        builder.line(line);
    }
    builder.finish()
}

struct Builder<'d> {
    /// Statements whose body is being read, outermost first; the first is the file itself.
    open: Vec<(Option<Stmt>, Vec<Stmt>)>,
    /// Whether the last statement of the file itself that is known is one of load balancing or BFD.
    last_known_is_skipped: bool,
    /// Braces opened beyond MAX_DEPTH.
    too_deep: usize,
    out: &'d mut Vec<Diagnostic>,
}

impl Builder<'_> {
    fn line(&mut self, line: &Line) {
        let mut words: Vec<Word> = Vec::new();
        for token in tokens(line, self.out) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open(place) => {
                    self.open(std::mem::take(&mut words), place);
                }
                Token::Close(place) => {
                    self.statement(std::mem::take(&mut words));
                    self.close(place);
                }
            }
        }
        self.statement(words);
    }

    fn siblings(&mut self) -> &mut Vec<Stmt> {
        if self.open.is_empty() {
            self.open.push((None, Vec::new()));
        }
        let last = self.open.len() - 1;
        &mut self.open[last].1
    }

    fn add(&mut self, stmt: Stmt) {
        if self.open.len() <= 1 {
            self.last_known_is_skipped = skipped(&stmt).unwrap_or(self.last_known_is_skipped);
        }
        self.siblings().push(stmt);
    }

    fn statement(&mut self, words: Vec<Word>) {
        if self.too_deep > 0 {
            return;
        }
        if let Some(first) = words.first() {
            let place = first.place.clone();
            self.add(Stmt {
                words,
                body: None,
                place,
            });
        }
    }

    fn open(&mut self, words: Vec<Word>, place: Place) {
        if self.too_deep > 0 || self.open.len() > MAX_DEPTH {
            if self.too_deep == 0 {
                self.out.push(Diagnostic::error(&place, "braces are nested too deeply"));
            }
            self.too_deep += 1;
            return;
        }
        let owner = match words.first() {
            Some(first) => {
                let place = first.place.clone();
                Stmt {
                    words,
                    body: None,
                    place,
                }
            }
            // The brace stands on the line after its keyword.
            None => match self.siblings().pop() {
                Some(previous) if previous.body.is_none() => previous,
                previous => {
                    self.siblings().extend(previous);
                    let message = "`{` without a keyword before it";
                    self.out.push(if self.in_skipped() {
                        Diagnostic::warning(&place, message)
                    } else {
                        Diagnostic::error(&place, message)
                    });
                    Stmt {
                        words: Vec::new(),
                        body: None,
                        place,
                    }
                }
            },
        };
        self.open.push((Some(owner), Vec::new()));
    }

    fn close(&mut self, place: Place) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        if self.open.len() < 2 {
            self.out.push(if self.in_skipped() {
                Diagnostic::warning(
                    &place,
                    "`}` without a `{` among skipped blocks is ignored, as in keepalived",
                )
            } else {
                Diagnostic::error(&place, "`}` without a `{`").hint("one brace too many above?")
            });
            return;
        }
        if let Some((Some(mut owner), body)) = self.open.pop() {
            owner.body = Some(body);
            self.add(owner);
        }
    }

    /// The last block of the file that is known is one of load balancing or BFD, or such a block is being read: braces
    /// that do not match there are nothing that VRRP would notice.
    fn in_skipped(&self) -> bool {
        let inside = self.open.get(1).and_then(|(owner, _)| owner.as_ref()).and_then(skipped);
        inside.unwrap_or(self.last_known_is_skipped)
    }

    fn finish(mut self) -> Vec<Stmt> {
        let harmless = self.in_skipped();
        // keepalived ends what is open at the end of the file.
        let last = self.open.len() == 2;
        while self.open.len() > 1 {
            if let Some((Some(mut owner), body)) = self.open.pop() {
                let words: Vec<&str> = owner.words.iter().take(2).map(|w| w.text.as_str()).collect();
                let message = match words.as_slice() {
                    [] => "this `{` is never closed".to_owned(),
                    words => format!("the `{{` of `{}` is never closed", words.join(" ")),
                };
                self.out.push(if harmless {
                    let message = format!("{message}: everything after it is skipped too, as in keepalived");
                    Diagnostic::warning(&owner.place, message)
                } else if last && !owner.words.is_empty() {
                    let message = format!("{message}: it ends with the file, as in keepalived");
                    Diagnostic::warning(&owner.place, message)
                } else {
                    Diagnostic::error(&owner.place, message)
                });
                owner.body = Some(body);
                self.siblings().push(owner);
            }
        }
        self.open.pop().map(|(_, statements)| statements).unwrap_or_default()
    }
}

/// Whether a block of the file itself is one of load balancing or BFD; `None`: it is not known.
fn skipped(stmt: &Stmt) -> Option<bool> {
    table::lookup(table::ROOT, stmt.keyword()).map(|row| row.does == Does::Skips)
}

enum Token {
    Word(Word),
    Open(Place),
    Close(Place),
}

fn tokens(line: &Line, out: &mut Vec<Diagnostic>) -> Vec<Token> {
    let chars = &line.chars;
    let plain: Vec<char> = chars.iter().map(|c| c.0).collect();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let (c, at) = chars[i];
        match c {
            _ if c.is_whitespace() => i += 1,
            '{' => {
                tokens.push(Token::Open(line.place(at)));
                i += 1;
            }
            '}' => {
                tokens.push(Token::Close(line.place(at)));
                i += 1;
            }
            _ => {
                let (text, used, closed) = word(&plain[i..], Braces::Structure);
                let place = line.place(at);
                if !closed {
                    out.push(Diagnostic::error(&place, "a quote is opened and not closed"));
                }
                tokens.push(Token::Word(Word { text, place }));
                i += used;
            }
        }
    }
    tokens
}

/// What braces mean where a word is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Braces {
    /// They open and close a body, and end a word.
    Structure,
    /// They are characters like others.
    Text,
}

/// Reads one word: its text, the characters used, and whether its last quote was closed.
fn word(chars: &[char], braces: Braces) -> (String, usize, bool) {
    let structure = braces == Braces::Structure;
    let mut text = String::new();
    let mut quote: Option<char> = None;
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        match quote {
            None if c.is_whitespace() => break,
            None if structure && c == '$' && chars.get(i + 1) == Some(&'{') => {
                // An undefined `${NAME}` stays as it is; its braces are not those of a body.
                let end = (i..chars.len()).find(|k| chars[*k] == '}').unwrap_or(chars.len() - 1);
                text.extend(&chars[i..=end]);
                i = end;
            }
            None if structure && (c == '{' || c == '}') => break,
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ if c == '\\' && i + 1 < chars.len() => {
                let (escaped, used) = escape(&chars[i + 1..], quote.is_some());
                text.extend(escaped);
                i += used;
            }
            _ => text.push(c),
        }
        i += 1;
    }
    (text, i, quote.is_none())
}

/// What stands for the characters after a backslash, and how many of them it took.
fn escape(rest: &[char], quoted: bool) -> (Option<char>, usize) {
    let Some(&c) = rest.first() else { return (None, 0) };
    if !quoted {
        return (Some(c), 1);
    }
    let simple = match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'E' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'c' => {
            let control = rest.get(1).map(|c| char::from(*c as u32 as u8 & 0x1f));
            return (control, if control.is_some() { 2 } else { 1 });
        }
        '0'..='7' => {
            let digits = rest.iter().take(3).take_while(|c| c.is_digit(8)).count();
            let value = rest[..digits].iter().fold(0, |v, c| v * 8 + c.to_digit(8).unwrap_or(0));
            return (char::from_u32(value & 0xff), digits);
        }
        'x' => {
            let digits = rest[1..].iter().take(2).take_while(|c| c.is_ascii_hexdigit()).count();
            let value = rest[1..1 + digits]
                .iter()
                .fold(0, |v, c| v * 16 + c.to_digit(16).unwrap_or(0));
            return (char::from_u32(value), 1 + digits);
        }
        other => other,
    };
    (Some(simple), 1)
}

/// Splits a command line as keepalived does before it executes it: whitespace, quotes and escapes, no shell.
///
/// ```
/// assert_eq!(hapair::keepalived::split_command("/bin/check 'a b' c"), ["/bin/check", "a b", "c"]);
/// ```
pub fn split_command(command: &str) -> Vec<String> {
    let chars: Vec<char> = command.chars().collect();
    let mut words = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        if chars[i].is_whitespace() {
            i += 1;
            continue;
        }
        let (text, used, _) = word(&chars[i..], Braces::Text);
        words.push(text);
        i += used.max(1);
    }
    words
}
