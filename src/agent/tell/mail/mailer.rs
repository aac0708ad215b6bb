//! Mail on transition, as keepalived's `smtp_alert`. A thread of its own talks to the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::smtp::{self, Mail};
use crate::agent::os::log;
use crate::agent::tell::notify::{About, Subject};
use crate::keepalived::GlobalDefs;
use crate::vrrp::State;

/// Mails that may wait for a slow server; more are dropped, and that is said.
const QUEUE: usize = 64;
/// keepalived's `smtp_connect_timeout` unless written.
const TIMEOUT: Duration = Duration::from_secs(30);

/// All mails.
#[derive(Default)]
pub(crate) struct Mailer {
    /// The state of the last mail about each: the same one is not told twice.
    told: BTreeMap<(About, String), State>,
    thread: Option<SyncSender<Mail>>,
    /// Mails that are not dealt with yet.
    open: Arc<AtomicUsize>,
}

impl Mailer {
    /// Tells of a transition, if somebody wants to know.
    pub(crate) fn transition(&mut self, global: &GlobalDefs, subject: Subject<'_>, state: State) {
        let Some(mail) = self.compose(global, subject, state) else {
            return;
        };
        self.open.fetch_add(1, Ordering::SeqCst);
        if self.thread().try_send(mail).is_err() {
            self.open.fetch_sub(1, Ordering::SeqCst);
            let fields = [
                ("for", json!(subject.name)),
                ("state", json!(crate::agent::tell::notify::word(state))),
            ];
            log::event("warning", "mail dropped: too many are waiting for the server", &fields);
        }
    }

    fn compose(&mut self, global: &GlobalDefs, subject: Subject<'_>, state: State) -> Option<Mail> {
        let Subject { about, name, notify } = subject;
        let wanted = notify.smtp_alert.or(global.smtp_alert_vrrp).or(global.smtp_alert);
        let quiet = state == State::Fault && global.no_email_faults;
        if wanted != Some(true) || quiet || global.notification_email.is_empty() {
            return None;
        }
        let server = global.smtp_server.clone()?;
        if self.told.insert((about, name.to_owned()), state) == Some(state) {
            return None;
        }
        let host = nix::unistd::gethostname()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_else(|_| "localhost".to_owned());
        let (kind, subject, body) = words(about, state);
        let router = global.router_id.as_ref().unwrap_or(&host);
        Some(Mail {
            server,
            timeout: global.smtp_connect_timeout.unwrap_or(TIMEOUT),
            helo: global.smtp_helo_name.clone().unwrap_or_else(|| host.clone()),
            from: global
                .notification_email_from
                .clone()
                .unwrap_or_else(|| format!("root@{host}")),
            to: global.notification_email.clone(),
            subject: format!("[{router}] VRRP {kind} {name} - {subject}"),
            body: body.to_owned(),
            date: SystemTime::now(),
        })
    }

    fn thread(&mut self) -> &SyncSender<Mail> {
        let open = Arc::clone(&self.open);
        self.thread.get_or_insert_with(|| {
            let (sender, receiver) = sync_channel(QUEUE);
            let spawned = std::thread::Builder::new()
                .name("mail".to_owned())
                .stack_size(128 * 1024)
                .spawn(move || send_all(receiver, &open));
            // Without a thread the channel is closed, and every mail is dropped.
            drop(spawned);
            sender
        })
    }

    /// Nothing waits for the server.
    pub(crate) fn idle(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }
}

fn send_all(mails: Receiver<Mail>, open: &AtomicUsize) {
    for mail in mails {
        let subject = ("subject", json!(mail.subject));
        match smtp::deliver(&mail) {
            Ok(refused) if refused.is_empty() => log::event("info", "mail sent", &[subject]),
            Ok(refused) => log::event(
                "warning",
                "mail sent, but not to all",
                &[subject, ("refused", json!(refused))],
            ),
            Err(e) => log::event("warning", "mail is not sent", &[subject, ("error", json!(e))]),
        }
        open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Kind, end of the subject, body: keepalived's words, which filters of operators look for.
fn words(about: About, state: State) -> (&'static str, &'static str, &'static str) {
    let subject = match state {
        State::Master => "Entering MASTER state",
        State::Backup => "Entering BACKUP state",
        State::Fault => "Entering FAULT state",
        State::Stopped => "Stopping",
    };
    match about {
        About::Instance => {
            let body = match state {
                State::Master => "=> VRRP Instance is now owning VRRP VIPs <=",
                State::Backup | State::Fault => "=> VRRP Instance is no longer owning VRRP VIPs <=",
                State::Stopped => "=> VRRP Instance stopping <=",
            };
            ("Instance", subject, body)
        }
        About::Group => {
            let body = match state {
                State::Master => "=> All VRRP group instances are now in MASTER state <=",
                State::Backup => "=> All VRRP group instances are now in BACKUP state <=",
                State::Fault => "=> All VRRP group instances are now in FAULT state <=",
                State::Stopped => "=> All VRRP group instances are now stopping <=",
            };
            ("Group", subject, body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalived::Notify;

    fn global() -> GlobalDefs {
        GlobalDefs {
            router_id: Some("node1".to_owned()),
            notification_email: vec!["ops@example.com".to_owned()],
            smtp_server: Some(("127.0.0.1".to_owned(), 25)),
            smtp_alert: Some(true),
            ..GlobalDefs::default()
        }
    }

    fn subject(mailer: &mut Mailer, global: &GlobalDefs, notify: &Notify, state: State) -> Option<String> {
        let subject = Subject {
            about: About::Instance,
            name: "V",
            notify,
        };
        let mail = mailer.compose(global, subject, state);
        mail.map(|m| m.subject)
    }

    #[test]
    fn who_wants_mail_gets_it_once_a_state() {
        let (mut mailer, notify) = (Mailer::default(), Notify::default());
        let mut g = global();
        assert_eq!(
            subject(&mut mailer, &g, &notify, State::Master).as_deref(),
            Some("[node1] VRRP Instance V - Entering MASTER state")
        );
        assert_eq!(subject(&mut mailer, &g, &notify, State::Master), None);
        g.no_email_faults = true;
        assert_eq!(subject(&mut mailer, &g, &notify, State::Fault), None);
        assert_eq!(
            subject(&mut mailer, &g, &notify, State::Master),
            None,
            "as keepalived: the last mail said so"
        );
        g.smtp_alert_vrrp = Some(false);
        assert_eq!(subject(&mut mailer, &g, &notify, State::Backup), None);
        let own = Notify {
            smtp_alert: Some(true),
            ..Notify::default()
        };
        assert!(subject(&mut mailer, &g, &own, State::Backup).is_some());
        g.notification_email.clear();
        assert_eq!(subject(&mut mailer, &g, &own, State::Stopped), None);
    }

    #[test]
    fn unless_something_says_so_nobody_does() {
        let mut g = global();
        g.smtp_alert = None;
        assert_eq!(
            subject(&mut Mailer::default(), &g, &Notify::default(), State::Master),
            None
        );
    }
}
