//! Running commands: with a deadline, no stdin, C locale, a process group of their own, and output captured.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::host::os::error::{Error, Result};

/// CentOS's own; `/usr/local` is not in it on purpose: nothing of the operator's shadows a system tool.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command did.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Exit code; `None`: a signal or the deadline ended it.
    pub code: Option<i32>,
    /// Standard output, lossy UTF-8.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// It was killed at its deadline.
    pub timed_out: bool,
}

impl Output {
    /// Exit code 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Error and standard output together, the last `n` lines that are not blank.
    pub fn tail(&self, n: usize) -> String {
        let all: Vec<&str> = self
            .stdout
            .lines()
            .chain(self.stderr.lines())
            .filter(|l| !l.trim().is_empty())
            .collect();
        all[all.len().saturating_sub(n)..].join("\n")
    }
}

/// A command as every one here is run.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
        .env("LC_ALL", "C")
        .env("PATH", PATH)
        .env("SYSTEMD_PAGER", "")
        .env("SYSTEMD_COLORS", "0");
    command.current_dir("/").process_group(0);
    command
}

/// Runs a command to its end.
///
/// # Errors
/// It could not be started. A failing exit code or a missed deadline is in the output.
pub fn run(program: &str, args: &[&str], limit: Duration) -> Result<Output> {
    finish(program, command(program, args), limit, &mut |_| {})
}

/// As [`run`], and shows every line as it comes.
///
/// # Errors
/// As [`run`].
pub fn run_lines(program: &str, args: &[&str], limit: Duration, line: &mut dyn FnMut(&str)) -> Result<Output> {
    finish(program, command(program, args), limit, line)
}

/// Runs a command that must succeed.
///
/// # Errors
/// It could not be started, failed or missed its deadline; the message holds the end of its output.
pub fn must(program: &str, args: &[&str], limit: Duration) -> Result<Output> {
    let output = run(program, args, limit)?;
    if output.ok() {
        Ok(output)
    } else {
        Err(failed(program, args, &output, limit))
    }
}

/// The error for a command that did not succeed.
pub fn failed(program: &str, args: &[&str], output: &Output, limit: Duration) -> Error {
    let line = std::iter::once(program)
        .chain(args.iter().copied())
        .collect::<Vec<_>>()
        .join(" ");
    let how = match (output.timed_out, output.code) {
        (true, _) => format!("did not end within {} s", limit.as_secs()),
        (_, Some(code)) => format!("ended with exit code {code}"),
        (_, None) => "was killed by a signal".to_owned(),
    };
    let tail = output.tail(15);
    Error::new(if tail.is_empty() {
        format!("`{line}` {how}")
    } else {
        format!("`{line}` {how}: {tail}")
    })
}

/// Where a command wrote.
#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

enum Part {
    Line(Stream, String),
    End,
}

/// Runs a prepared command to its end or its deadline; then its whole process group is killed.
///
/// # Errors
/// It could not be started.
pub fn finish(program: &str, mut command: Command, limit: Duration, line: &mut dyn FnMut(&str)) -> Result<Output> {
    let mut child = command.spawn().map_err(|e| spawn_error(program, e))?;
    let (sender, parts) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        pump(out, Stream::Out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        pump(err, Stream::Err, sender.clone());
    }
    drop(sender);
    let deadline = Instant::now() + limit;
    let mut output = Output::default();
    let mut exited_at: Option<Instant> = None;
    let mut ended = 0;
    loop {
        if ended < 2 {
            match parts.recv_timeout(Duration::from_millis(20)) {
                Ok(Part::Line(stream, text)) => {
                    line(text.trim_end_matches(['\n', '\r']));
                    match stream {
                        Stream::Out => output.stdout.push_str(&text),
                        Stream::Err => output.stderr.push_str(&text),
                    }
                    // A child that floods its pipe must not postpone the deadline.
                    if Instant::now() < deadline {
                        continue;
                    }
                }
                Ok(Part::End) => {
                    ended += 1;
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => ended = 2,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        } else if exited_at.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Ok(Some(status)) = child.try_wait() {
            output.code = status.code();
            let since = *exited_at.get_or_insert_with(Instant::now);
            // A daemon that the command left behind may hold the pipe: its output is not waited for.
            if ended >= 2 || since.elapsed() > Duration::from_millis(200) {
                return Ok(output);
            }
        } else if Instant::now() >= deadline {
            output.timed_out = true;
            kill_group(&mut child);
            return Ok(output);
        }
    }
}

fn spawn_error(program: &str, cause: std::io::Error) -> Error {
    match cause.kind() {
        std::io::ErrorKind::NotFound => Error::new(format!("command `{program}` is not installed on this host")),
        _ => Error::new(format!("cannot run `{program}`")).because(cause),
    }
}

fn pump(source: impl Read + Send + 'static, stream: Stream, sender: mpsc::Sender<Part>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(source);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            if sender
                .send(Part::Line(stream, String::from_utf8_lossy(&bytes).into_owned()))
                .is_err()
            {
                return;
            }
            bytes.clear();
        }
        let _ = sender.send(Part::End);
    });
}

fn kill_group(child: &mut Child) {
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let _ = child.wait();
}

/// The first of these programs that exists in [`PATH`].
pub fn which(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| {
        PATH.split(':')
            .map(|dir| format!("{dir}/{name}"))
            .find(|path| std::path::Path::new(path).exists())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_exit_code() {
        let out = run("sh", &["-c", "echo one; echo two >&2; exit 3"], Duration::from_secs(20)).unwrap();
        assert_eq!(
            (out.code, out.stdout.as_str(), out.stderr.as_str()),
            (Some(3), "one\n", "two\n")
        );
    }

    #[test]
    fn a_hanging_command_is_killed_with_its_children() {
        let out = run("sh", &["-c", "sleep 1000 & sleep 1000"], Duration::from_millis(100)).unwrap();
        assert!(out.timed_out && !out.ok());
    }

    #[test]
    fn a_daemon_left_behind_is_not_waited_for() {
        let out = run("sh", &["-c", "sleep 5 & echo done"], Duration::from_secs(60)).unwrap();
        assert!(out.ok() && out.stdout == "done\n");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("hapair-no-such-program", &[], Duration::from_secs(1)).unwrap_err();
        assert!(error.message.contains("hapair-no-such-program"));
    }
}
