//! Who comes back waits; who has not been checked, or cannot send, does not own.

use super::*;

fn tracked(priority: u8, pending: bool) -> Input<'static> {
    Input::Tracked(Effective {
        priority,
        fault: false,
        pending,
    })
}

#[test]
fn who_comes_back_waits_three_adverts_and_the_skew() {
    // From the start.
    let mut b = Bench::new(settings(200));
    b.hear_for(100, 10);
    assert_eq!(b.mastery(), Some((secs(1003.0 + 56.0 / 256.0), Cause::Preempt)));
    // From the end of a fault, and that again and again: a link that flaps moves nothing.
    let fault = |fault| {
        Input::Tracked(Effective {
            priority: 200,
            fault,
            pending: false,
        })
    };
    let mut b = Bench::new(settings(200));
    b.take();
    for _ in 0..20 {
        b.give(fault(true));
        b.hear_for(100, 1);
        b.give(fault(false));
        b.hear_for(100, 3);
    }
    assert_eq!(b.mastery(), None);
}

#[test]
fn a_check_that_is_bad_and_good_in_turn_moves_the_addresses_once() {
    let mut b = Bench::new(settings(101));
    b.pass(4.0);
    b.give(tracked(96, false));
    b.hear(100);
    assert_eq!(b.state(), State::Backup);
    b.take();
    for _ in 0..20 {
        b.give(tracked(101, false));
        b.hear_for(100, 2);
        b.give(tracked(96, false));
        b.hear_for(100, 2);
    }
    assert_eq!(b.mastery(), None);
    b.give(tracked(101, false));
    b.hear_for(100, 4);
    assert_eq!(b.mastery().map(|m| m.1), Some(Cause::Preempt), "it stays good");
}

#[test]
fn an_owner_whose_own_priority_falls_is_replaced_after_the_skew_time() {
    let mut b = Bench::new(settings(100));
    b.hear_for(101, 5);
    let at = b.now;
    b.hear(96);
    b.pass(2.0);
    assert_eq!(b.mastery(), Some((at + secs(156.0 / 256.0), Cause::Preempt)));
    // It was below us already: that is no fall below us.
    let mut b = Bench::new(settings(100));
    b.give(Input::Hold(Some(secs(5.0))));
    b.hear_for(90, 5);
    let last = b.now - secs(1.0);
    b.hear(80);
    b.pass(0.5);
    b.hear_for(80, 4);
    assert_eq!(b.mastery().map(|m| m.0), Some(last + secs(3.0 + 156.0 / 256.0)));
    // Somebody else is lower than us, while the owner lives: that says nothing of the owner.
    let mut b = Bench::new(settings(100));
    b.hear_for(101, 5);
    let advert = b.router.settings().advert(50);
    let other = IpAddr::from([10, 0, 0, 3]);
    let payload = advert.encode(other, GROUP, Form::Pseudo);
    for _ in 0..10 {
        b.give(Input::Packet(Packet {
            src: other,
            dst: GROUP,
            ttl: 255,
            payload: &payload,
        }));
        b.hear_for(101, 1);
    }
    assert_eq!(b.mastery(), None);
}

#[test]
fn nobody_becomes_owner_before_its_checks_have_answered() {
    // Where nobody owns.
    let mut b = Bench::new(settings(100));
    b.give(tracked(100, true));
    b.pass(60.0);
    assert_eq!((b.mastery(), b.router.next_timer()), (None, None));
    assert!(b.router.snapshot(b.now).pending);
    b.give(tracked(95, false));
    assert_eq!(b.mastery(), Some((b.now, Cause::Silence)), "its wait was over long ago");
    // An answer within the wait changes nothing about it.
    let mut b = Bench::new(settings(100));
    b.give(tracked(100, true));
    b.pass(2.0);
    b.give(tracked(100, false));
    b.pass(2.0);
    assert_eq!(b.mastery(), Some((secs(1003.609375), Cause::Silence)));
    // From a living owner; when the answer is bad, it goes on.
    let mut b = Bench::new(settings(100));
    b.give(tracked(100, true));
    b.hear_for(98, 10);
    b.give(tracked(95, false));
    b.hear_for(98, 10);
    assert_eq!(b.mastery(), None);
    // Neither by the owner's end, nor by 255.
    let mut b = Bench::new(settings(100));
    b.give(tracked(100, true));
    b.hear_for(101, 3);
    b.hear(0);
    b.pass(30.0);
    assert_eq!(b.mastery(), None);
    let mut b = Bench {
        router: Router::new(settings(255)),
        now: secs(1000.0),
        said: Vec::new(),
    };
    b.give(tracked(255, true));
    b.give(Input::Start { crashed: false });
    b.pass(30.0);
    assert_eq!(b.mastery(), None);
    b.give(tracked(255, false));
    assert_eq!(b.state(), State::Master);
    // An owner that gets a check more stays owner.
    b.give(tracked(255, true));
    b.pass(30.0);
    assert_eq!(b.state(), State::Master);
}

#[test]
fn a_group_waits_for_the_checks_of_all() {
    let now = secs(1000.0);
    let member = |vrid| Router::new(Settings { vrid, ..settings(100) });
    let mut group = Group::new(vec![member(1), member(2)]);
    group.handle(now, 1, tracked(100, true));
    group.handle_all(now, &Input::Start { crashed: false });
    let mut at = now;
    while let Some(next) = group.next_timer().filter(|next| *next < now + secs(60.0)) {
        at = next;
        group.handle_all(at, &Input::Tick);
    }
    let states = |group: &Group| [0, 1].map(|n| group.routers()[n].state());
    assert_eq!(states(&group), [State::Backup; 2]);
    // The first waits for the second only, and gets a check that has not answered by a reload.
    let now = at + secs(1.0);
    group.handle(now, 0, tracked(100, true));
    group.handle(now, 1, tracked(100, false));
    assert_eq!(states(&group), [State::Backup; 2]);
    group.handle(now, 0, tracked(100, false));
    assert_eq!(states(&group), [State::Master; 2]);
}

/// Answers every advert with a failure, from the n-th of each ownership on.
fn without_a_voice(b: &mut Bench, from: usize, seconds: f64) {
    let end = b.now + secs(seconds);
    let mut sent = 0;
    while let Some(at) = b.router.next_timer().filter(|at| *at <= end) {
        b.now = b.now.max(at);
        let before = b.said.len();
        b.give(Input::Tick);
        for n in before..b.said.len() {
            match kind(&b.said[n].1) {
                Some(b'S') => sent += 1,
                _ => continue,
            }
            if sent >= from {
                b.give(Input::Unsent);
            }
        }
    }
    b.now = end;
}

#[test]
fn who_cannot_send_does_not_own() {
    let mut b = Bench::new(settings(100));
    without_a_voice(&mut b, 1, 3.9);
    assert_eq!(b.state(), State::Backup);
    let last = b.said.last().map(|(_, o)| o.clone());
    let given_up = Output::Transition {
        from: State::Master,
        to: State::Backup,
        cause: Cause::CannotSend,
    };
    assert_eq!(last, Some(given_up.clone()));
    let statistics = b.router.snapshot(b.now).statistics;
    assert_eq!(
        (statistics.became_master, statistics.left_master),
        (0, 0),
        "it never was owner"
    );
    // It tries again.
    b.pass(4.0);
    assert_eq!(b.state(), State::Master);

    // An owner gives up with the third in a row, and not for two.
    let mut b = Bench::new(settings(100));
    without_a_voice(&mut b, 5, 3.7 + 5.0);
    assert_eq!(b.state(), State::Master, "the fifth and the sixth failed");
    let mut b = Bench::new(settings(100));
    without_a_voice(&mut b, 5, 3.7 + 6.0);
    assert_eq!(
        (b.state(), b.said.last().map(|(_, o)| o.clone())),
        (State::Backup, Some(given_up))
    );
    // One that arrives in between counts.
    let mut b = Bench::new(settings(100));
    b.pass(10.0);
    for _ in 0..10 {
        b.pass(1.0);
        b.give(Input::Unsent);
        b.pass(1.0);
        b.give(Input::Unsent);
        b.pass(1.0);
    }
    assert_eq!(b.state(), State::Master);
}

/// A version 3 router that hears others with intervals of their own.
fn third(priority: u8, preempt: bool) -> Bench {
    let mut b = Bench::new(Settings {
        version: 3,
        auth: None,
        preempt,
        ..settings(priority)
    });
    b.take();
    b
}

/// Hears 10.0.0.HOST; the interval in hundredths of a second.
fn hear_host(b: &mut Bench, host: u8, priority: u8, interval: u16) {
    let src = IpAddr::from([10, 0, 0, host]);
    let advert = Advert {
        interval,
        ..b.router.settings().advert(priority)
    };
    let payload = advert.encode(src, GROUP, Form::Pseudo);
    b.give(Input::Packet(Packet {
        src,
        dst: GROUP,
        ttl: 255,
        payload: &payload,
    }));
}

/// The winner of an election and the loser that yields are heard by a third router, and the loser's last adverts come late.
#[test]
fn the_last_advert_of_who_yields_does_not_shorten_the_wait_for_the_winner() {
    let hear = hear_host;
    let mut b = third(200, false);
    for (winner, loser) in [(152, 151), (220, 210), (220, 220)] {
        hear(&mut b, 7, winner, 400);
        // The advert that was due, the one by which it yields, and the end of another member of its group.
        hear(&mut b, 5, loser, 50);
        hear(&mut b, 5, loser, 50);
        hear(&mut b, 5, 0, 50);
        b.pass(3.9);
        assert_eq!(b.mastery(), None, "{winner}");
    }
    // The better one ends, and the other one has been heard since: it lives, and is the owner.
    hear(&mut b, 7, 220, 400);
    hear(&mut b, 5, 210, 400);
    hear(&mut b, 7, 0, 400);
    b.pass(3.9);
    assert_eq!(b.mastery(), None);
    hear(&mut b, 7, 220, 400);
    // The winner is silent for three of its own adverts.
    b.pass(13.0);
    assert_eq!(b.state(), State::Master);
}

#[test]
fn a_late_advert_and_the_fall_of_who_yields_leave_the_winner_alone() {
    // The one that yields falls below us, since its check has failed.
    let mut b = third(100, true);
    hear_host(&mut b, 7, 220, 400);
    hear_host(&mut b, 5, 210, 50);
    hear_host(&mut b, 5, 90, 50);
    b.pass(3.9);
    assert_eq!(b.mastery(), None);
    // Of three, the best is not forgotten for the second.
    let mut b = third(100, false);
    hear_host(&mut b, 5, 210, 50);
    hear_host(&mut b, 7, 220, 400);
    hear_host(&mut b, 5, 210, 50);
    hear_host(&mut b, 6, 205, 50);
    hear_host(&mut b, 6, 0, 50);
    hear_host(&mut b, 5, 0, 50);
    b.pass(3.9);
    assert_eq!(b.mastery(), None);
}

#[test]
fn the_wait_is_for_the_silence_of_who_is_left() {
    // The one that yields has the longer interval, and ends: three adverts of the winner and the skew time.
    let mut b = third(100, false);
    hear_host(&mut b, 7, 220, 100);
    hear_host(&mut b, 5, 210, 1000);
    hear_host(&mut b, 5, 0, 1000);
    b.pass(4.0);
    assert_eq!(b.mastery().map(|m| m.0), Some(secs(1003.0 + 156.0 / 256.0)));
    // The winner ends, and the other one is silent, too: three adverts of that one, whose interval is the shorter one.
    let mut b = third(100, false);
    hear_host(&mut b, 7, 220, 400);
    hear_host(&mut b, 5, 210, 50);
    hear_host(&mut b, 7, 0, 400);
    b.pass(3.0);
    assert_eq!(b.mastery().map(|m| m.0), Some(secs(1000.0 + 4.0 * 156.0 / 256.0)));
}

#[test]
fn a_takeover_outbids_every_owner_that_may_live() {
    let mut b = third(100, false);
    hear_host(&mut b, 7, 220, 100);
    hear_host(&mut b, 5, 210, 100);
    b.give(Input::Takeover(None));
    let sent = b.said.iter().find_map(|(_, output)| match output {
        Output::Send { advert, .. } => Some(advert.priority),
        _ => None,
    });
    assert_eq!((b.state(), sent), (State::Master, Some(221)));
    let mut b = third(100, false);
    hear_host(&mut b, 7, 255, 100);
    hear_host(&mut b, 5, 210, 100);
    assert_eq!(b.router.takeover_refusal(), Some(TakeoverRefusal::Unbeatable));
}
