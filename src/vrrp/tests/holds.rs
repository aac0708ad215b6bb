//! What keeps a router from taking over, and what must not keep it.

use super::*;

fn effective(priority: u8) -> Effective {
    Effective {
        priority,
        fault: false,
        pending: false,
    }
}

#[test]
fn hold_and_handover_stop_a_takeover_that_is_on_its_way() {
    for input in [Input::Hold(None), Input::Handover(Some(secs(60.0)))] {
        let mut b = Bench::new(settings(100));
        b.hear(50);
        b.pass(0.3);
        b.give(input);
        b.pass(0.7);
        b.hear_for(50, 20);
        assert_eq!(b.mastery(), None);
        b.pass(5.0);
        assert_eq!(
            b.mastery().map(|m| m.1),
            Some(Cause::Silence),
            "a dead owner is replaced all the same"
        );
    }
}

#[test]
fn a_hold_may_be_as_long_as_anything() {
    for input in [Input::Hold(Some(Duration::MAX)), Input::Handover(Some(Duration::MAX))] {
        let mut b = Bench::new(settings(100));
        b.give(input);
        b.hear_for(50, 100);
        assert_eq!(b.mastery(), None);
    }
}

#[test]
fn after_a_crash_a_dead_owner_is_replaced_as_ever() {
    let start = |priority| {
        let mut b = Bench {
            router: Router::new(settings(priority)),
            now: secs(1000.0),
            said: Vec::new(),
        };
        b.give(Input::Start { crashed: true });
        b
    };
    // Nobody there at all.
    let mut b = start(100);
    b.pass(10.0);
    assert_eq!(b.mastery(), Some((secs(1003.609375), Cause::Silence)));
    // Who owns the addresses waits like everybody else.
    let mut b = start(255);
    b.pass(10.0);
    assert_eq!(b.mastery(), Some((secs(1003.0 + 1.0 / 256.0), Cause::Silence)));
    // An owner that stops.
    let mut b = start(100);
    b.hear_for(50, 10);
    b.hear(0);
    b.pass(1.0);
    assert_eq!(b.mastery().map(|m| m.1), Some(Cause::OwnerStopped));
}

#[test]
fn a_handover_that_nobody_answers_ends_after_the_usual_wait() {
    let mut b = Bench::new(settings(200));
    b.pass(4.0);
    b.take();
    let from = b.now;
    b.give(Input::Handover(Some(secs(600.0))));
    b.pass(10.0);
    assert_eq!(b.mastery(), Some((from + secs(3.0 + 56.0 / 256.0), Cause::Silence)));
    // It keeps them until somebody better comes, although the hold still runs.
    assert_eq!(b.state(), State::Master);
    b.hear(100);
    b.pass(1.0);
    assert_eq!(b.state(), State::Master);
}

#[test]
fn both_hosts_degraded_to_the_same_priority_stay_as_they_are() {
    // As owner, against an equal standby that never sends; and as standby with the higher address, against an equal owner.
    let mut b = Bench::new(settings(101));
    b.pass(4.0);
    assert_eq!(b.state(), State::Master);
    b.give(Input::Tracked(effective(96)));
    b.pass(20.0);
    assert_eq!(b.state(), State::Master);
    assert!(settings(1).source > peer());
    let mut b = Bench::new(settings(100));
    b.hear_for(101, 3);
    b.hear(96);
    b.give(Input::Tracked(effective(96)));
    b.pass(1.0);
    b.hear_for(96, 30);
    assert_eq!(b.mastery(), None);
}

#[test]
fn a_takeover_from_a_living_owner_is_dropped_when_we_fall_below_it() {
    // Its predecessor stopped; before our wait is over it is there already, lower than us, and then we are lower than it.
    let mut b = Bench::new(settings(150));
    b.hear_for(200, 3);
    b.hear(0);
    b.pass(0.2);
    b.hear(100);
    b.give(Input::Tracked(effective(90)));
    b.pass(0.9);
    b.hear_for(100, 5);
    assert_eq!(b.mastery(), None);
}

#[test]
fn an_end_that_is_said_twice_makes_nobody_wait_longer() {
    let mut b = Bench::new(settings(100));
    b.hear_for(200, 3);
    let from = b.now;
    for _ in 0..5 {
        b.hear(0);
        b.pass(0.2);
    }
    assert_eq!(b.mastery(), Some((from + secs(156.0 / 256.0), Cause::OwnerStopped)));
    // Nor one that comes when the wait is nearly over.
    let mut b = Bench::new(settings(100));
    b.hear(200);
    let from = b.now;
    b.pass(3.5);
    b.hear(0);
    b.pass(1.0);
    assert_eq!(b.mastery().map(|m| m.0), Some(from + secs(3.609375)));
}

#[test]
fn who_no_longer_owns_the_addresses_and_may_not_preempt_does_not() {
    let mut b = Bench {
        router: Router::new(settings(255)),
        now: secs(1000.0),
        said: Vec::new(),
    };
    b.give(Input::Start { crashed: true });
    b.hear_for(100, 2);
    b.give(Input::Resume);
    b.hear(100);
    // The takeover is on its way when the reload comes.
    let mut s = settings(150);
    s.preempt = false;
    b.give(Input::Configure(Box::new(s), effective(150)));
    b.said.clear();
    b.pass(1.0);
    b.hear_for(100, 30);
    assert_eq!(b.mastery(), None);
}

#[test]
fn adverts_go_as_often_as_they_say() {
    let mut s = settings(100);
    (s.version, s.auth, s.advert_int) = (3, None, Duration::from_millis(15));
    let mut b = Bench::new(s);
    b.pass(1.0);
    let sent: Vec<(Time, u16)> = b
        .said
        .iter()
        .filter_map(|(at, o)| match o {
            Output::Send { advert, .. } => Some((*at, advert.interval)),
            _ => None,
        })
        .collect();
    assert!(sent.len() > 50 && sent.iter().all(|s| s.1 == 1));
    assert!(sent.windows(2).all(|w| w[1].0 - w[0].0 == Duration::from_millis(10)));
}

/// We wait for the silence of a better owner that is dead, while a lower one lives: whatever then forbids a takeover from it makes us
/// wait for its silence instead.
#[test]
fn a_lower_owner_beside_a_dead_better_one_is_a_living_owner() {
    let third = IpAddr::from([10, 0, 0, 3]);
    let mut nopreempt = settings(150);
    nopreempt.preempt = false;
    let inputs = [
        Input::Hold(None),
        Input::Handover(None),
        Input::Configure(Box::new(nopreempt), effective(150)),
        Input::Tracked(effective(90)),
    ];
    for input in inputs {
        let mut b = Bench::new(settings(150));
        b.hear_for(200, 3);
        let lower = |b: &mut Bench| {
            let payload = b.router.settings().advert(100).encode(third, GROUP, Form::Pseudo);
            b.give(Input::Packet(Packet {
                src: third,
                dst: GROUP,
                ttl: 255,
                payload: &payload,
            }));
        };
        b.pass(1.5);
        lower(&mut b);
        b.give(input.clone());
        // The better one would be silent for long enough here.
        b.pass(0.95);
        for _ in 0..10 {
            lower(&mut b);
            b.pass(1.0);
        }
        assert_eq!(b.mastery(), None, "{input:?}");
        b.pass(5.0);
        assert_eq!(b.mastery().map(|m| m.1), Some(Cause::Silence), "{input:?}");
    }
}

#[test]
fn the_end_of_who_was_not_the_owner_shortens_no_wait() {
    let mut b = Bench::new(settings(100));
    b.hear_for(200, 3);
    let from = b.now - secs(1.0);
    let loser = IpAddr::from([10, 0, 0, 7]);
    let payload = b.router.settings().advert(0).encode(loser, GROUP, Form::Pseudo);
    b.give(Input::Packet(Packet {
        src: loser,
        dst: GROUP,
        ttl: 255,
        payload: &payload,
    }));
    b.pass(10.0);
    assert_eq!(b.mastery(), Some((from + secs(3.609375), Cause::Silence)));
}
