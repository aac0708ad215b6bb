//! What is on or off, at two times.

/// Something that is on or off, before and after.
pub(crate) struct Switch {
    /// It was on.
    pub(crate) was: bool,
    /// It is on now, or will be.
    pub(crate) now: bool,
}

impl Switch {
    /// `on` if it was switched on, `off` if it was switched off, nothing if it stayed.
    pub(crate) fn turned<T>(self, on: T, off: T) -> Option<T> {
        match (self.was, self.now) {
            (false, true) => Some(on),
            (true, false) => Some(off),
            (true, true) | (false, false) => None,
        }
    }
}
