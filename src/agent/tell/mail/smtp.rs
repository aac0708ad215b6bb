//! One mail over SMTP (RFC 5321): connect, say it, quit. Blocks; for a thread of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use crate::state::time::Utc;

/// Longest line of a reply (RFC 5321, 4.5.3.1.5, with room).
const LINE: u64 = 2048;
/// Lines of a reply.
const LINES: usize = 64;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A mail and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    /// `smtp_server`: an address, or a name of /etc/hosts.
    pub(super) server: (String, u16),
    /// Timeout for connecting, and for each answer.
    pub(super) timeout: Duration,
    pub(super) helo: String,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) subject: String,
    pub(super) body: String,
    pub(super) date: SystemTime,
}

/// Sends it. Returns the recipients that the server refused, with its words; at least one was accepted.
pub(super) fn deliver(mail: &Mail) -> Result<Vec<String>, String> {
    let (host, port) = &mail.server;
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let ip = address(host, &hosts).ok_or_else(|| format!("`{host}` is not an address and not in /etc/hosts"))?;
    let stream = TcpStream::connect_timeout(&SocketAddr::new(ip, *port), mail.timeout)
        .map_err(|e| format!("cannot connect to {ip}:{port}: {e}"))?;
    stream
        .set_write_timeout(Some(mail.timeout))
        .map_err(|e| e.to_string())?;
    let mut talk = Talk {
        reader: BufReader::new(stream),
        timeout: mail.timeout,
    };
    talk.reply_code("connection", 220)?;
    talk.say(&format!("HELO {}", plain(&mail.helo)), 250)?;
    talk.say(&format!("MAIL FROM:<{}>", plain(&mail.from)), 250)?;
    let mut refused = Vec::new();
    for to in &mail.to {
        // 250, or 251: the server forwards it.
        match talk.say(&format!("RCPT TO:<{}>", plain(to)), 250) {
            Err(e) if !e.contains("answers 251") => refused.push(e),
            _ => {}
        }
    }
    if refused.len() == mail.to.len() {
        return Err(refused.join("; "));
    }
    talk.say("DATA", 354)?;
    talk.write(&message(mail))?;
    talk.say(".", 250)?;
    // The mail is theirs now, whatever they answer.
    drop(talk.say("QUIT", 221));
    Ok(refused)
}

struct Talk {
    reader: BufReader<TcpStream>,
    timeout: Duration,
}

impl Talk {
    fn write(&mut self, text: &str) -> Result<(), String> {
        let written = self.reader.get_mut().write_all(text.as_bytes());
        written.map_err(|e| format!("cannot write to the server: {e}"))
    }

    fn say(&mut self, line: &str, wanted: u16) -> Result<(), String> {
        self.write(&format!("{line}\r\n"))?;
        self.reply_code(line, wanted)
    }

    /// The reply to `what`, of any number of lines.
    fn reply_code(&mut self, what: &str, wanted: u16) -> Result<(), String> {
        let what = if what == "." { "end of the mail" } else { what };
        let end = Instant::now() + self.timeout;
        for _ in 0..LINES {
            let line = self.line(end).map_err(|e| format!("{what}: {e}"))?;
            let code = line.get(..3).and_then(|c| c.parse::<u16>().ok());
            let code = code.ok_or_else(|| format!("{what}: the server does not speak SMTP"))?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if code == wanted {
                return Ok(());
            }
            return Err(format!("{what}: the server answers {}", line.trim_end()));
        }
        Err(format!("{what}: the answer has no end"))
    }

    fn line(&mut self, end: Instant) -> Result<String, String> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("the server does not answer".to_owned());
            }
            let stream = self.reader.get_ref();
            stream.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
            let room = LINE.saturating_sub(line.len() as u64);
            match self.reader.by_ref().take(room).read_until(b'\n', &mut line) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return Err("the server does not answer".to_owned());
                }
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// An address, or a name of /etc/hosts: a static binary cannot ask NSS, and DNS is not asked.
fn address(host: &str, hosts: &str) -> Option<IpAddr> {
    if let Ok(ip) = host.parse() {
        return Some(ip);
    }
    let found = hosts.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(ip)
    });
    found.or_else(|| {
        host.eq_ignore_ascii_case("localhost")
            .then_some(Ipv4Addr::LOCALHOST.into())
    })
}

/// Header and body without the final dot.
fn message(mail: &Mail) -> String {
    let to: Vec<String> = mail.to.iter().map(|t| plain(t)).collect();
    let since = mail.date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut text = format!(
        "Date: {}\r\nFrom: {}\r\nSubject: {}\r\nTo: {}\r\nMessage-ID: <{}.{}@{}>\r\nX-Mailer: hapair-agent\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        date(since),
        plain(&mail.from),
        plain(&mail.subject),
        to.join(", "),
        since.as_nanos(),
        std::process::id(),
        plain(&mail.helo),
    );
    for line in mail.body.lines() {
        // A line that is one dot would end the mail (RFC 5321, 4.5.2).
        if line.starts_with('.') {
            text.push('.');
        }
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

/// Without what would begin another line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// RFC 5322, 3.3.
fn date(since: Duration) -> String {
    let utc = Utc::since_epoch(since);
    let weekday = WEEKDAYS[(since.as_secs() / 86_400 % 7) as usize];
    format!(
        "{weekday}, {:02} {} {} {:02}:{:02}:{:02} +0000",
        utc.day,
        MONTHS[(utc.month as usize - 1) % 12],
        utc.year,
        utc.hour,
        utc.minute,
        utc.second
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn mail(port: u16) -> Mail {
        Mail {
            server: ("127.0.0.1".to_owned(), port),
            timeout: Duration::from_secs(10),
            helo: "node1".to_owned(),
            from: "ha@node1".to_owned(),
            to: vec!["one@example.com".to_owned(), "two@example.com".to_owned()],
            subject: "[node1] VRRP Instance V - Entering MASTER state\r\nBcc: x".to_owned(),
            body: "first\n.\n.second\n".to_owned(),
            date: SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_830_799),
        }
    }

    /// Answers each command by `answer`; returns what it was told.
    fn server(answer: fn(&str) -> &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut heard = String::new();
            let mut reader = BufReader::new(stream);
            reader.get_mut().write_all(b"220-hello\r\n220 there\r\n").unwrap();
            let mut data = false;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return heard;
                }
                heard.push_str(&line);
                let line = line.trim_end();
                if data && line != "." {
                    continue;
                }
                data = line == "DATA";
                reader.get_mut().write_all(answer(line).as_bytes()).unwrap();
            }
        });
        (port, thread)
    }

    fn friendly(line: &str) -> &'static str {
        match line.split(' ').next().unwrap_or_default() {
            "DATA" => "354 go on\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250-well\r\n250 ok\r\n",
        }
    }

    #[test]
    fn a_mail_arrives_whole_and_its_dots_are_stuffed() {
        let (port, thread) = server(friendly);
        assert_eq!(deliver(&mail(port)), Ok(Vec::new()));
        let heard = thread.join().unwrap();
        let expected = "HELO node1\r\nMAIL FROM:<ha@node1>\r\nRCPT TO:<one@example.com>\r\nRCPT TO:<two@example.com>\r\n\
                        DATA\r\nDate: Sat, 22 Nov 2025 16:59:59 +0000\r\nFrom: ha@node1\r\n\
                        Subject: [node1] VRRP Instance V - Entering MASTER stateBcc: x\r\n\
                        To: one@example.com, two@example.com\r\n";
        assert!(heard.starts_with(expected), "{heard}");
        assert!(
            heard.ends_with("\r\n\r\nfirst\r\n..\r\n..second\r\n.\r\nQUIT\r\n"),
            "{heard}"
        );
    }

    #[test]
    fn a_refused_recipient_is_told_and_the_others_get_it() {
        let (port, thread) = server(|line| {
            if line.contains("two@") {
                "550 no such user\r\n"
            } else {
                friendly(line)
            }
        });
        let refused = deliver(&mail(port)).unwrap();
        assert_eq!(
            refused,
            ["RCPT TO:<two@example.com>: the server answers 550 no such user"]
        );
        assert!(thread.join().unwrap().contains("\r\n.\r\nQUIT"));
        let (port, thread) = server(|line| {
            if line.starts_with("RCPT") {
                "550 nobody\r\n"
            } else {
                friendly(line)
            }
        });
        let error = deliver(&mail(port)).unwrap_err();
        assert!(error.contains("550 nobody"), "{error}");
        assert!(!thread.join().unwrap().contains("DATA"));
    }

    #[test]
    fn servers_that_fail_are_told_apart() {
        // Nobody listens on a port that was just given back.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(deliver(&mail(free)).unwrap_err().starts_with("cannot connect"));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut hasty = mail(silent.local_addr().unwrap().port());
        hasty.timeout = Duration::from_millis(50);
        assert_eq!(deliver(&hasty).unwrap_err(), "connection: the server does not answer");
        let mut named = mail(1);
        named.server.0 = "mail.invalid".to_owned();
        assert_eq!(
            deliver(&named).unwrap_err(),
            "`mail.invalid` is not an address and not in /etc/hosts"
        );
    }

    #[test]
    fn names_are_found_in_the_hosts_file() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.1 mail\n10.0.0.2\tMail.example.com mail # the relay\n";
        assert_eq!(address("mail", hosts), "10.0.0.2".parse().ok());
        assert_eq!(address("mail.example.com", hosts), "10.0.0.2".parse().ok());
        assert_eq!(address("localhost", ""), "127.0.0.1".parse().ok());
        assert_eq!(address("::1", hosts), "::1".parse().ok());
        assert_eq!(address("relay", hosts), None);
    }
}
