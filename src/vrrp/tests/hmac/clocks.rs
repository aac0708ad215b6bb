//! Stamps of `auth_hmac`, and clocks that are wrong.

use super::*;

#[test]
fn the_window_is_counted_in_seconds_and_said_from_half_of_it_on() {
    for (ahead, verdict) in [(-6, false), (-5, true), (5, true), (6, false)] {
        let mut ear = Ear::of(&v4());
        let real = REAL.checked_add_signed_seconds(ahead);
        let heard = ear.hear(&sent(&v4(), &Sequence::default(), real));
        assert_eq!(heard.is_none(), verdict, "{ahead}");
        if !verdict {
            let Some(Ignored::Hmac(Refusal::Stale { ahead: said, window: 5 })) = heard else {
                panic!("{heard:?}");
            };
            assert_eq!(said.millis(), ahead * 1000);
        }
    }
    let mut ear = Ear::of(&v4());
    ear.bench.take();
    let sequence = Sequence::default();
    let mut said = Vec::new();
    // 2 s: not yet; 2.6 s: said, once; 2.3 s: still said; 1.9 s: over.
    for (n, tenths) in [20, 26, 27, 23, 19, 18].into_iter().enumerate() {
        ear.bench.pass(1.0);
        ear.real = REAL + secs(n as f64);
        let stamp = ear.real + Duration::from_millis(tenths * 100);
        assert_eq!(ear.hear(&sent(&v4(), &sequence, stamp)), None);
        said.extend(ear.bench.take().into_iter().map(|(_, o)| (tenths, o)));
    }
    let src = ear.src;
    assert!(
        matches!(&said[..], [
            (26, Output::Alarm(Alarm::Clock { src: a, ahead, window: 5 })),
            (19, Output::Alarm(Alarm::ClockFine { src: b })),
        ] if (*a, *b) == (src, src) && (2590..=2600).contains(&ahead.millis())),
        "{said:?}"
    );
    let clocks = ear.bench.router.snapshot(ear.bench.now).clocks;
    assert!(
        matches!(&clocks[..], [(a, ahead)] if *a == src && (1790..=1800).contains(&ahead.millis())),
        "{clocks:?}"
    );
    // The time between what was told of the real clock and the packet counts.
    let mut ear = Ear::of(&v4());
    ear.bench.router.set_real_time(ear.bench.now - secs(3.0), REAL);
    assert_eq!(clock_of(&mut ear, REAL + secs(3.0)), 0);
    ear.bench
        .router
        .set_real_time(ear.bench.now + secs(2.0), REAL + secs(6.0));
    assert_eq!(clock_of(&mut ear, REAL + secs(4.5)), 500);
}

fn clock_of(ear: &mut Ear, stamp: Duration) -> i64 {
    let payload = sent(&v4(), &Sequence::default(), stamp);
    let (src, dst) = (ear.src, ear.dst);
    ear.bench.give(Input::Packet(Packet {
        src,
        dst,
        ttl: 255,
        payload: &payload,
    }));
    ear.bench.router.snapshot(ear.bench.now).clocks[0].1.millis()
}

trait Signed {
    fn checked_add_signed_seconds(self, seconds: i64) -> Duration;
}

impl Signed for Duration {
    fn checked_add_signed_seconds(self, seconds: i64) -> Duration {
        let change = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { self - change } else { self + change }
    }
}

#[test]
fn without_the_time_no_stamp_is_believed() {
    let mut ear = Ear::of(&v4());
    ear.real = Duration::ZERO;
    assert!(matches!(ear.refused(&bytes(IPV4)), Refusal::Stale { window: 5, .. }));
    assert_eq!(ear.bench.router.snapshot(ear.bench.now).statistics.hmac_stale, 1);
}

#[test]
fn monotonic_stamps_need_no_common_clock() {
    let monotonic = AuthHmac {
        anti_replay: AntiReplay::Monotonic,
        ..auth(&[1], 1, Mode::Enforce)
    };
    let s = Settings {
        auth_hmac: Some(Arc::new(monotonic)),
        ..v4()
    };
    let mut ear = Ear::of(&s);
    let sequence = Sequence::default();
    let day = secs(86_400.0);
    assert_eq!(ear.hear(&sent(&s, &sequence, REAL - day)), None);
    let old = sent(&s, &Sequence::default(), REAL - day);
    assert_eq!(ear.refused(&old), Refusal::Replay);
    assert_eq!(ear.hear(&sent(&s, &sequence, REAL + day)), None);
    // The clock was set back: the sequence goes on all the same.
    assert_eq!(ear.hear(&sent(&s, &sequence, REAL)), None);
    assert!(
        ear.bench
            .said
            .iter()
            .all(|(_, o)| !matches!(o, Output::Alarm(Alarm::Clock { .. })))
    );
}

#[test]
fn a_clock_that_is_set_back_recovers() {
    let mut ear = Ear::of(&v4());
    let sequence = Sequence::default();
    assert_eq!(ear.hear(&sent(&v4(), &sequence, REAL)), None);
    // By less than the window: the stamps go on from where they were.
    for _ in 0..3 {
        assert_eq!(ear.hear(&sent(&v4(), &sequence, REAL - secs(2.0))), None);
    }
    // By more, on both hosts: the old marks are outside the window.
    ear.real = REAL - secs(3600.0);
    assert_eq!(ear.hear(&sent(&v4(), &sequence, ear.real)), None);
    assert!(matches!(ear.refused(&bytes(IPV4)), Refusal::Stale { .. }));
}

#[test]
fn stamps_of_a_clock_that_nobody_believed_are_not_used_again() {
    let sequence = Sequence::default();
    let auth = v4().auth_hmac.unwrap();
    let sealed = |at: f64, real: f64| {
        let mut out = Vec::new();
        let seal = auth.seal(&sequence, secs(at), REAL + secs(real));
        let advert = v4().advert(v4().priority);
        advert.encode_sealed_into(v4().source, GROUP, v4().form, seal, &mut out);
        out
    };
    // Its clock is 50 s ahead, and right again before it sends the next message: by then the last stamp is inside the window again.
    sealed(0.0, 50.0);
    assert_eq!(sealed(48.0, 48.0), sent(&v4(), &Sequence::default(), REAL + secs(48.0)));
    // Set back by less than the window, it goes on from the last stamp.
    let ahead = sealed(49.0, 53.0);
    assert!(sealed(50.0, 50.0)[16..24] > ahead[16..24]);
}
