//! A planned move: the standby announces a priority above the owner's.

use super::*;

fn sent(b: &Bench) -> Vec<u8> {
    let priority = |o: &Output| match o {
        Output::Send { advert, .. } => Some(advert.priority),
        _ => None,
    };
    b.said.iter().filter_map(|(_, o)| priority(o)).collect()
}

/// A standby of priority 100 that has heard its owner, 101.
fn standby() -> Bench {
    let mut b = Bench::new(settings(100));
    b.hear_for(101, 3);
    b.take();
    b
}

#[test]
fn the_owner_is_outbid_at_once_and_the_raise_stays_until_it_is_told() {
    let mut b = standby();
    let at = b.now;
    b.give(Input::Takeover(None));
    assert_eq!(b.mastery(), Some((at, Cause::Takeover)));
    b.pass(100.0);
    assert!(
        sent(&b).iter().all(|p| *p == 102) && sent(&b).len() == 101,
        "{:?}",
        sent(&b)
    );
    assert_eq!(b.router.snapshot(b.now).raised, Some(102));
    b.take();
    b.give(Input::Resume);
    assert_eq!(sent(&b), [100], "at once, so that a better one need not wait");
    assert_eq!((b.state(), b.router.snapshot(b.now).raised), (State::Master, None));
    b.hear(101);
    assert_eq!(b.state(), State::Backup);
}

#[test]
fn the_raise_ends_with_its_time_and_with_what_is_tracked() {
    let mut b = standby();
    b.give(Input::Takeover(Some(secs(10.0))));
    b.pass(9.9);
    assert_eq!(b.router.snapshot(b.now).raised, Some(102));
    b.take();
    b.pass(0.1);
    assert_eq!(sent(&b).last(), Some(&100));

    let mut b = standby();
    b.give(Input::Takeover(None));
    b.take();
    b.give(Input::Tracked(Effective {
        priority: 95,
        fault: false,
        pending: false,
    }));
    assert_eq!(
        sent(&b),
        [95],
        "who cannot serve must not keep the addresses by command"
    );
    b.give(Input::Tracked(Effective {
        priority: 100,
        fault: false,
        pending: false,
    }));
    assert_eq!(b.router.snapshot(b.now).raised, None, "nor get the raise again");

    // A still higher one ends it too.
    let mut b = standby();
    b.give(Input::Takeover(None));
    b.hear(150);
    assert_eq!((b.state(), b.router.snapshot(b.now).raised), (State::Backup, None));
    b.pass(10.0);
    assert_eq!(sent(&b).last(), Some(&100), "when that one is gone");
}

#[test]
fn who_is_better_anyway_needs_no_raise() {
    let mut b = Bench::new(settings(200));
    b.give(Input::Hold(None));
    b.hear_for(100, 10);
    b.take();
    b.give(Input::Takeover(None));
    assert_eq!(b.state(), State::Master);
    assert_eq!((sent(&b), b.router.snapshot(b.now).raised), (vec![200], None));
    assert!(!b.router.snapshot(b.now).held, "a hold ends with it");
    // The owner of now is asked again: nothing happens.
    b.take();
    b.give(Input::Takeover(Some(secs(1.0))));
    assert!(b.said.is_empty());
}

#[test]
fn an_equal_owner_is_outbid_unless_the_address_decides() {
    assert!(settings(1).source > peer());
    let mut b = Bench::new(settings(100));
    b.hear_for(100, 3);
    b.give(Input::Takeover(None));
    assert_eq!(b.router.snapshot(b.now).raised, None);
    let mut b = Bench::new(Settings {
        source: IpAddr::from([10, 0, 0, 0]),
        ..settings(100)
    });
    b.hear_for(100, 3);
    b.give(Input::Takeover(None));
    assert_eq!(b.router.snapshot(b.now).raised, Some(101));
}

#[test]
fn it_is_refused_where_it_would_do_harm() {
    let refused = |b: &mut Bench, reason| {
        assert_eq!(b.router.takeover_refusal(), Some(reason));
        b.take();
        b.give(Input::Takeover(None));
        assert!(b.said.is_empty(), "{:?}", b.said);
    };
    let tracked = |fault, pending| {
        Input::Tracked(Effective {
            priority: 100,
            fault,
            pending,
        })
    };
    let mut b = standby();
    b.give(tracked(true, false));
    refused(&mut b, TakeoverRefusal::Fault);
    let mut b = standby();
    b.give(tracked(false, true));
    refused(&mut b, TakeoverRefusal::Pending);
    let mut b = standby();
    b.hear(255);
    refused(&mut b, TakeoverRefusal::Unbeatable);
    let mut b = standby();
    b.give(Input::Stop);
    refused(&mut b, TakeoverRefusal::Stopped);
}

#[test]
fn a_group_takes_over_as_a_whole_or_not_at_all() {
    let member = |vrid| {
        let mut router = Router::new(Settings { vrid, ..settings(100) });
        router.handle(secs(1000.0), Input::Start { crashed: false });
        router
    };
    let hear = |group: &mut Group, n: usize, priority: u8| {
        let advert = group.routers()[n].settings().advert(priority);
        let payload = advert.encode(peer(), GROUP, Form::Pseudo);
        let packet = Packet {
            src: peer(),
            dst: GROUP,
            ttl: 255,
            payload: &payload,
        };
        group.handle(secs(1001.0), n, Input::Packet(packet));
    };
    let states = |group: &Group| [0, 1].map(|n| group.routers()[n].state());
    for unbeatable in [false, true] {
        let mut group = Group::new(vec![member(1), member(2)]);
        hear(&mut group, 0, 101);
        hear(&mut group, 1, if unbeatable { 255 } else { 101 });
        let out = group.handle(secs(1001.5), 0, Input::Takeover(None));
        if unbeatable {
            assert_eq!(group.takeover_refusal(), Some(TakeoverRefusal::Unbeatable));
            assert_eq!((out.len(), states(&group)), (0, [State::Backup; 2]));
        } else {
            assert_eq!(states(&group), [State::Master; 2]);
        }
    }
}

#[test]
fn what_is_refused_to_a_group_leaves_nothing_behind() {
    let now = secs(1000.0);
    let pending = |pending| {
        Input::Tracked(Effective {
            priority: 100,
            fault: false,
            pending,
        })
    };
    let member = |vrid| Router::new(Settings { vrid, ..settings(100) });
    let mut group = Group::new(vec![member(1), member(2)]);
    group.handle(now, 1, pending(true));
    group.handle_all(now, &Input::Start { crashed: false });
    // The first hears an owner, the second has waited long enough, and its check has not answered.
    let now = secs(1003.7);
    let payload = group.routers()[0]
        .settings()
        .advert(150)
        .encode(peer(), GROUP, Form::Pseudo);
    let owner = Packet {
        src: peer(),
        dst: GROUP,
        ttl: 255,
        payload: &payload,
    };
    group.handle(now, 0, Input::Packet(owner));
    group.handle_all(now, &Input::Tick);
    assert_eq!(group.takeover_refusal(), Some(TakeoverRefusal::Pending));
    assert_eq!(group.handle_all(now, &Input::Takeover(None)), []);
    // Else the first would still want what it was refused.
    group.handle(now, 1, pending(false));
    assert!(group.routers().iter().all(|r| r.state() == State::Backup));
}

#[test]
fn an_owner_that_was_not_heard_yet_is_outbid_when_it_answers() {
    let mut b = Bench::new(settings(100));
    b.take();
    b.give(Input::Takeover(Some(secs(10.0))));
    assert_eq!((b.state(), sent(&b)), (State::Master, vec![100]));
    b.pass(0.01);
    b.hear(101);
    assert_eq!((b.state(), sent(&b)), (State::Master, vec![100, 102]));
    assert_eq!(b.router.snapshot(b.now).raised, Some(102));
    // Once: who is still better has its own reason.
    b.hear(103);
    assert_eq!(b.state(), State::Backup);
    // Nor does one that is told to hold back: the next owner is told to take over.
    let mut b = Bench::new(settings(100));
    b.give(Input::Takeover(Some(secs(10.0))));
    b.give(Input::Hold(None));
    b.hear(101);
    assert_eq!(b.state(), State::Backup);
    // Nor one that is told to resume: its raised priority would outlive that.
    let mut b = Bench::new(settings(100));
    b.give(Input::Takeover(None));
    b.give(Input::Resume);
    b.hear(101);
    assert_eq!(b.state(), State::Backup);
    // Nor somebody who comes later, or who cannot be outbid.
    let mut b = Bench::new(settings(100));
    b.give(Input::Takeover(None));
    b.pass(1.5);
    b.hear(101);
    assert_eq!(b.state(), State::Backup);
    let mut b = Bench::new(settings(100));
    b.give(Input::Takeover(None));
    b.hear(255);
    assert_eq!(b.state(), State::Backup);
}
