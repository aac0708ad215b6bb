//! The head of an answer over HTTP/1: its status, and which host of the pair it comes from.

use super::health::NODE_HEADER;

/// Most header fields that are read.
const FIELDS: usize = 128;

/// What the head of an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// 100 to 599.
    pub status: u16,
    /// Value of hapair's own response header, if it is a host's name and nothing else: it ends up in terminals and reports.
    pub node: Option<String>,
    /// Bytes of body to expect; `None`: until the connection closes.
    pub length: Option<u64>,
    /// Where the body begins.
    pub end: usize,
}

/// Reads a head; `None`: it has not ended yet. Bare line feeds are accepted, and a field that breaks the rules is skipped.
///
/// # Errors
/// What is wrong with it: this is no answer over HTTP/1.
pub fn head(data: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let mut rules = httparse::ParserConfig::default();
    // What is asked here is who answers, not how well.
    rules
        .ignore_invalid_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    let end = match rules.parse_response(&mut answer, data) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::Version) => return Err("no status line of HTTP/1"),
        Err(httparse::Error::Status) => return Err("no status"),
        Err(httparse::Error::TooManyHeaders) => return Err("too many header fields"),
        Err(_) => return Err("not HTTP"),
    };
    let status = answer
        .code
        .filter(|code| (100..=599).contains(code))
        .ok_or("status out of range")?;
    let (mut node, mut length, mut chunked) = (None, None, false);
    for field in answer.headers.iter() {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case(NODE_HEADER) {
            node = is_host_name(value).then(|| value.to_owned());
        } else if field.name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().map_err(|_| "bad Content-Length")?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = true;
        }
    }
    if matches!(status, 100..=199 | 204 | 304) {
        length = Some(0);
    } else if chunked {
        length = None;
    }
    Ok(Some(Head {
        status,
        node,
        length,
        end,
    }))
}

fn is_host_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=253).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_as_servers_write_them() {
        let read = |text: &str| head(text.as_bytes());
        let whole = "HTTP/1.1 200 OK\r\nx-hapair-node:  edge-1 \r\nContent-Length: 2\r\n\r\n";
        let expected = Head {
            status: 200,
            node: Some("edge-1".to_owned()),
            length: Some(2),
            end: whole.len(),
        };
        assert_eq!(read(&format!("{whole}hi")), Ok(Some(expected)));
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Ok(None), "{cut}");
        }
        let bare = read("HTTP/1.0  502\nno field\nX-Hapair-Node: \x1b[31mred\nTransfer-Encoding: chunked\nX : y\n\n");
        let bare = bare.unwrap().unwrap();
        assert_eq!((bare.status, bare.node, bare.length), (502, None, None));
        assert_eq!(
            read("HTTP/1.1 304 Not Modified\r\n\r\n").unwrap().unwrap().length,
            Some(0)
        );
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(FIELDS));
        assert!(read(&many).unwrap().is_some());
    }

    #[test]
    fn what_is_no_answer_says_why() {
        for (text, why) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", "no status line of HTTP/1"),
            ("HTTP/2 200\r\n\r\n", "no status line of HTTP/1"),
            ("HTTP/1.1 abc\r\n\r\n", "no status"),
            ("HTTP/1.1 999 Odd\r\n\r\n", "status out of range"),
            ("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n", "bad Content-Length"),
        ] {
            assert_eq!(head(text.as_bytes()), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = head(&bytes);
            let answer = [b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat();
            if let Ok(Some(head)) = head(&answer) {
                prop_assert!(head.end <= answer.len());
            }
        }
    }
}
