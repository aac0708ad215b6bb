//! Values out of a fuzzer's bytes: whatever they are, they mean something.

#![allow(dead_code, reason = "no target uses all of it")]

use std::net::IpAddr;

/// What is left of the input; an exhausted one gives zeros.
pub(crate) struct Bytes<'b>(pub(crate) &'b [u8]);

impl<'b> Bytes<'b> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// From 0 to `most`.
    pub(crate) fn upto(&mut self, most: u8) -> u8 {
        (u16::from(self.byte()) % (u16::from(most) + 1)) as u8
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Up to so many bytes.
    pub(crate) fn slice(&mut self, most: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn address(&mut self, v6: bool) -> IpAddr {
        match v6 {
            true => IpAddr::from(self.array::<16>()),
            false => IpAddr::from(self.array::<4>()),
        }
    }
}
