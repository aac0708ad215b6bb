//! Sync groups.

use super::*;

#[test]
fn a_group_owns_all_or_nothing() {
    let mut second = settings(100);
    second.vrid = 52;
    let mut group = Group::new(vec![Router::new(settings(100)), Router::new(second)]);
    let mut now = secs(1.0);
    group.handle_all(now, &Input::Start { crashed: false });
    let states = |g: &Group| [g.routers()[0].state(), g.routers()[1].state()];
    // The first hears an owner, the second does not: none becomes owner.
    for _ in 0..8 {
        let payload = group.routers()[0]
            .settings()
            .advert(200)
            .encode(peer(), GROUP, Form::Pseudo);
        group.handle(
            now,
            0,
            Input::Packet(Packet {
                src: peer(),
                dst: GROUP,
                ttl: 255,
                payload: &payload,
            }),
        );
        now += secs(1.0);
        group.handle_all(now, &Input::Tick);
    }
    assert_eq!(states(&group), [State::Backup; 2]);
    now += secs(4.0);
    group.handle_all(now, &Input::Tick);
    assert_eq!(states(&group), [State::Master; 2]);
    let out = group.handle(
        now,
        1,
        Input::Tracked(Effective {
            priority: 100,
            fault: true,
            pending: false,
        }),
    );
    assert_eq!(states(&group), [State::Fault; 2]);
    let zeros = out
        .iter()
        .filter(|(_, o)| matches!(o, Output::Send { advert, .. } if advert.priority == 0))
        .count();
    assert_eq!(zeros, 2);
    group.handle(
        now,
        1,
        Input::Tracked(Effective {
            priority: 100,
            fault: false,
            pending: false,
        }),
    );
    assert_eq!(states(&group), [State::Backup; 2]);
}

/// Two routers with a priority each that have waited long enough: owners together.
fn owners(priorities: [u8; 2]) -> (Group, Time) {
    let router = |n: u8| {
        let mut s = settings(priorities[usize::from(n)]);
        s.vrid = 51 + n;
        Router::new(s)
    };
    let mut group = Group::new(vec![router(0), router(1)]);
    group.handle_all(secs(1.0), &Input::Start { crashed: false });
    let now = secs(5.0);
    group.handle_all(now, &Input::Tick);
    assert!(group.routers().iter().all(|r| r.state() == State::Master));
    (group, now)
}

fn effective(priority: u8, fault: bool) -> Effective {
    Effective {
        priority,
        fault,
        pending: false,
    }
}

#[test]
fn a_group_that_did_not_run_for_long_says_nothing_when_it_steps_down() {
    let (mut group, now) = owners([200, 200]);
    let now = now + secs(9.0);
    let lower = group.routers()[0]
        .settings()
        .advert(100)
        .encode(peer(), GROUP, Form::Pseudo);
    let packet = Packet {
        src: peer(),
        dst: GROUP,
        ttl: 255,
        payload: &lower,
    };
    let out = group.handle(now, 0, Input::Packet(packet));
    // Somebody else owns the addresses of both: a farewell would end the wrong owner.
    assert!(out.iter().all(|(_, o)| !matches!(o, Output::Send { .. })), "{out:?}");
    for member in 0..2 {
        let left = Output::Transition {
            from: State::Master,
            to: State::Backup,
            cause: Cause::Stalled,
        };
        assert!(out.contains(&(member, left)), "{out:?}");
        assert!(out.contains(&(member, Output::Release)));
    }
}

/// A reload may take a group apart.
#[test]
fn a_member_that_waited_for_its_group_continues_alone() {
    let mut group = Group::new(vec![Router::new(settings(100)), Router::new(settings(100))]);
    group.handle_all(secs(1.0), &Input::Start { crashed: false });
    // The second hears an owner, so the first, whose own wait is over, waits on.
    let owner = group.routers()[1]
        .settings()
        .advert(200)
        .encode(peer(), GROUP, Form::Pseudo);
    let packet = Packet {
        src: peer(),
        dst: GROUP,
        ttl: 255,
        payload: &owner,
    };
    group.handle(secs(4.0), 1, Input::Packet(packet));
    group.handle_all(secs(5.0), &Input::Tick);
    assert_eq!(group.routers()[0].state(), State::Backup);
    let first = group.into_routers().swap_remove(0);
    let mut alone = Group::new(vec![first]);
    let now = secs(6.0);
    assert!(alone.next_timer().is_some_and(|at| at <= now));
    alone.handle_all(now, &Input::Tick);
    assert_eq!(alone.routers()[0].state(), State::Master);
}

#[test]
fn a_member_that_failed_with_its_group_recovers_alone() {
    let (mut group, now) = owners([200, 200]);
    group.handle(now, 1, Input::Tracked(effective(200, true)));
    assert_eq!(group.routers()[0].state(), State::Fault);
    let first = group.into_routers().swap_remove(0);
    let mut alone = Group::new(vec![first]);
    let s = Box::new(alone.routers()[0].settings().clone());
    alone.handle(now, 0, Input::Configure(s, effective(200, false)));
    assert_eq!(alone.routers()[0].state(), State::Backup);
}

/// One member may preempt, the other may not: the group does what both may.
#[test]
fn a_group_preempts_only_if_every_member_may() {
    for (second_may, expected) in [(false, State::Backup), (true, State::Master)] {
        let mut second = settings(200);
        (second.vrid, second.preempt) = (52, second_may);
        let mut group = Group::new(vec![Router::new(settings(200)), Router::new(second)]);
        group.handle_all(Time::ZERO, &Input::Start { crashed: false });
        for n in 1..40u32 {
            let now = secs(f64::from(n) / 2.0);
            for member in 0..2 {
                if group.routers()[member].state() == State::Master || n % 2 == 0 {
                    continue;
                }
                let lower = group.routers()[member].settings().advert(100);
                let payload = lower.encode(peer(), GROUP, Form::Pseudo);
                let packet = Packet {
                    src: peer(),
                    dst: GROUP,
                    ttl: 255,
                    payload: &payload,
                };
                group.handle(now, member, Input::Packet(packet));
            }
            group.handle_all(now, &Input::Tick);
        }
        assert!(group.routers().iter().all(|r| r.state() == expected), "{second_may}");
    }
}
