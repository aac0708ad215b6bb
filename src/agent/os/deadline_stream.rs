//! Limits on how long a client may keep a thread waiting, in all and not only for each read.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A stream whose single reads and writes can be limited.
pub(crate) trait Limited {
    /// Sets the timeout of a read.
    fn limit_read(&self, time: Duration) -> io::Result<()>;
    /// Sets the timeout of a write.
    fn limit_write(&self, time: Duration) -> io::Result<()>;
}

impl Limited for UnixStream {
    fn limit_read(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }

    fn limit_write(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}

impl Limited for TcpStream {
    fn limit_read(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }

    fn limit_write(&self, time: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(time))
    }
}

/// A stream with a deadline for all of its reads and writes: a client that sends or takes a byte every now and then gets no
/// more time than others.
pub(crate) struct WithDeadline<'s, S> {
    stream: &'s S,
    end: Instant,
}

impl<'s, S> WithDeadline<'s, S> {
    /// Sets the deadline to `time` from now.
    pub(crate) fn new(stream: &'s S, time: Duration) -> WithDeadline<'s, S> {
        let end = Instant::now() + time;
        WithDeadline { stream, end }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl<S: Limited> Read for WithDeadline<'_, S>
where
    for<'a> &'a S: Read,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.limit_read(self.left()?)?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

impl<S: Limited> Write for WithDeadline<'_, S>
where
    for<'a> &'a S: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.limit_write(self.left()?)?;
        let mut stream = self.stream;
        stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_trickle_do_not_prolong_it() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut until = WithDeadline::new(&ours, Duration::from_millis(200));
        let trickle = std::thread::spawn(move || {
            while (&theirs).write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut byte = [0];
        let error = loop {
            match until.read(&mut byte) {
                Ok(n) => assert_eq!(n, 1),
                // A signal of another test in this process. `Read::read_to_end` continues after it, too.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break e,
            }
        };
        let in_time = matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
        assert!(in_time, "{error:?}");
        drop(ours);
        trickle.join().unwrap();
    }

    #[test]
    fn who_does_not_read_is_given_up() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut until = WithDeadline::new(&ours, Duration::from_millis(50));
        let error = until.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert!(matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
        ));
        drop(theirs);
    }
}
