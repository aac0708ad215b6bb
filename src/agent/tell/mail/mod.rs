//! Mail on a transition.

mod mailer;
mod smtp;

pub(crate) use mailer::Mailer;
