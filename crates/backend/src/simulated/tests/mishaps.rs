//! What each kind of weather does to those who are in it.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Runs one actor in a hundred simulations, each with a store of its own, and counts those of which `check` is true.
fn count(weather: &Weather, body: fn(&ActorHandle) -> bool, check: fn(&Simulation, bool) -> bool) -> usize {
    let run = |seed| {
        let mut simulation = Simulation::new(seed, weather.clone());
        let result = Mutex::new(false);
        simulation.run([Actor::new("a", |handle| *result.lock().unwrap() = body(&handle))]);
        check(&simulation, result.into_inner().unwrap())
    };
    (0..100).filter(|seed| run(*seed)).count()
}

#[test]
fn a_failure_has_no_effect_and_a_lost_answer_has_all() {
    let put = |handle: &ActorHandle| matches!(handle.backend().put(&name("a"), &[b"x"]), Err(Error::Io { .. }));
    let weather = Weather { failure: 1.0, ..Weather::calm() };
    assert_eq!(count(&weather, put, |s, failed| failed && listing(&s.calm_view()).is_empty()), 100);
    let weather = Weather { lost_answer: 1.0, ..Weather::calm() };
    assert_eq!(count(&weather, put, |s, failed| failed && listing(&s.calm_view()) == ["a"]), 100);
    let weather = Weather { lost_answer: 0.3, ..Weather::calm() };
    let failures = count(&weather, put, |s, failed| failed && listing(&s.calm_view()) == ["a"]);
    assert!((15..45).contains(&failures), "{failures} of 100 with a probability of 0.3");
}

#[test]
fn an_operation_that_fails_on_its_own_says_so_even_if_the_answer_was_to_be_lost() {
    let mut simulation = Simulation::new(1, Weather { lost_answer: 1.0, ..Weather::calm() });
    simulation.calm_view().put(&name("a"), &[b"x"]).unwrap();
    let ended = simulation.run([Actor::new("a", |handle| {
        assert!(handle.backend().put(&name("a"), &[b"y"]).unwrap_err().is_already_exists());
        assert!(handle.backend().delete(&name("b")).unwrap_err().is_not_found());
    })]);
    assert_eq!(ended[0].ending, Ending::Finished);
}

#[test]
fn a_late_change_comes_after_its_failure_unless_the_name_was_taken() {
    let mut simulation = Simulation::new(1, Weather { latest_effect: hours(1), ..Weather::calm() });
    let late = Weather { late_effect: 1.0, latest_effect: hours(1), ..Weather::calm() };
    let ended = simulation.run([Actor::new("late", |handle| {
        handle.backend().put(&name("a"), &[b"late"]).unwrap_err();
        handle.backend().put(&name("b"), &[b"late"]).unwrap_err();
    })
    .weather(late)]);
    assert_eq!(ended[0].ending, Ending::Finished);
    simulation.calm_view().put(&name("a"), &[b"early"]).unwrap();
    assert_eq!(listing(&simulation.calm_view()), ["a"]);
    simulation.run([Actor::new("reader", |handle| {
        handle.sleep(hours(1));
        assert_eq!(handle.backend().get(&name("b"), 9).unwrap(), b"late");
    })]);
    assert_eq!(simulation.calm_view().get(&name("a"), 9).unwrap(), b"early");
    assert_eq!(listing(&simulation.calm_view()), ["a", "b"]);
}

#[test]
fn after_a_crash_nothing_has_any_effect() {
    for seed in 0..50 {
        let mut simulation = Simulation::new(seed, Weather::calm());
        let crash = |handle: ActorHandle| {
            let backend = handle.backend();
            let mut writer = backend.create(&name("streamed")).unwrap();
            writer.write_all(b"123").unwrap();
            assert!(!handle.has_crashed());
            backend.put(&name("last"), &[b"x"]).unwrap_err();
            assert!(handle.has_crashed());
            handle.sleep(hours(1));
            assert!(matches!(writer.finish(), Err(Error::Io { .. })));
            assert!(matches!(backend.delete(&name("first")), Err(Error::Io { .. })));
            assert!(matches!(backend.list("", &mut |_| Ok(())), Err(Error::Io { .. })));
        };
        simulation.calm_view().put(&name("first"), &[b"x"]).unwrap();
        let ended = simulation.run([Actor::new("before", crash).crash_before(2)]);
        assert_eq!((&ended[0].ending, ended[0].operations), (&Ending::Crashed, 3));
        assert_eq!(listing(&simulation.calm_view()), ["first"]);
        let ended = simulation.run([Actor::new("after", crash).crash_after(2)]);
        assert_eq!(ended[0].ending, Ending::Crashed);
        assert_eq!(listing(&simulation.calm_view()), ["first", "last"]);
        assert!(simulation.elapsed() < hours(1));
    }
}

#[test]
fn what_was_in_flight_at_a_crash_is_there_or_not() {
    let put = |handle: &ActorHandle| handle.backend().put(&name("a"), &[b"x"]).is_err() && handle.has_crashed();
    let weather = Weather { crash: 1.0, ..Weather::calm() };
    assert_eq!(count(&weather, put, |_, crashed| crashed), 100);
    let there = count(&weather, put, |s, _| listing(&s.calm_view()) == ["a"]);
    assert!((30..70).contains(&there), "there in {there} of 100");
}

#[test]
fn an_actor_that_goes_on_after_its_crash_is_unwound_and_the_others_go_on() {
    let puts = AtomicU32::new(0);
    let mut simulation = Simulation::new(1, Weather::calm());
    let stubborn = Actor::new("stubborn", |handle: ActorHandle| {
        while handle.backend().size(&name("signal")).is_err() {
            handle.sleep(hours(1));
        }
    });
    let other = Actor::new("other", |handle: ActorHandle| {
        handle.sleep(hours(100));
        handle.backend().put(&name("signal"), &[]).unwrap();
        puts.fetch_add(1, Ordering::Relaxed);
    });
    let ended = simulation.run([stubborn.crash_before(3), other]);
    assert_eq!((&ended[0].ending, &ended[1].ending), (&Ending::Crashed, &Ending::Finished));
    assert_eq!(puts.into_inner(), 1);
}

#[test]
fn others_go_on_during_a_pause() {
    let weather = Weather { pause: 1.0, longest_pause: hours(72), ..Weather::calm() };
    let mut long = 0;
    let mut during = 0;
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed, Weather::calm());
        let done = Mutex::new(None);
        let ended = simulation.run([
            Actor::new("paused", |handle: ActorHandle| {
                handle.backend().put(&name("a"), &[b"x"]).unwrap();
                long += u32::from(handle.elapsed() > hours(1));
                during += u32::from(done.lock().unwrap().is_some());
            })
            .weather(weather.clone()),
            Actor::new("other", |handle: ActorHandle| {
                for n in 0..20 {
                    handle.backend().put(&name(&format!("b{n}")), &[b"x"]).unwrap();
                }
                *done.lock().unwrap() = Some(handle.elapsed());
            }),
        ]);
        assert!(ended.iter().all(|actor| actor.ending == Ending::Finished));
    }
    assert!(long > 10 && during > 30, "{long} of more than an hour, the other done in {during}");
}

/// Puts an object, waits, and lists, in 200 simulations; then the same with a delete. How often each listing was behind.
fn behind(wait: Duration) -> (usize, usize) {
    let settle_delay = Duration::from_secs(600);
    let counts = Mutex::new((0, 0));
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed, Weather { lag: 0.5, settle_delay, ..Weather::calm() });
        simulation.calm_view().put(&name("old"), &[b"x"]).unwrap();
        let ended = simulation.run([Actor::new("a", |handle: ActorHandle| {
            let backend = handle.backend();
            assert_eq!(backend.settle_delay(), settle_delay);
            backend.put(&name("new"), &[b"x"]).unwrap();
            handle.sleep(wait);
            assert_eq!(backend.size(&name("new")).unwrap(), 1, "reads do not lag");
            counts.lock().unwrap().0 += usize::from(listing(&backend) == ["old"]);
            handle.sleep(settle_delay);
            backend.delete(&name("new")).unwrap();
            handle.sleep(wait);
            assert!(backend.size(&name("new")).unwrap_err().is_not_found(), "reads do not lag");
            counts.lock().unwrap().1 += usize::from(listing(&backend) == ["new", "old"]);
            handle.sleep(settle_delay);
            assert_eq!(listing(&backend), ["old"]);
        })]);
        assert_eq!(ended[0].ending, Ending::Finished, "seed {seed}: {ended:?}");
    }
    counts.into_inner().unwrap()
}

#[test]
fn listings_lag_but_never_longer_than_the_settle_delay() {
    let (puts, deletes) = behind(Duration::ZERO);
    assert!((60..140).contains(&puts) && (60..140).contains(&deletes), "{puts} and {deletes} of 200");
    let (puts, deletes) = behind(Duration::from_secs(300));
    assert!((20..80).contains(&puts) && (20..80).contains(&deletes), "{puts} and {deletes} of 200");
    assert_eq!(behind(Duration::from_secs(600)), (0, 0));
}

#[test]
fn a_lagging_listing_shows_one_moment_or_a_moment_for_each_object() {
    let settle_delay = Duration::from_secs(600);
    let (mut moments, mut mixtures) = (0, 0);
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed, Weather { lag: 1.0, settle_delay, ..Weather::calm() });
        simulation.run([Actor::new("a", |handle: ActorHandle| {
            for n in 0..8 {
                handle.backend().put(&name(&format!("{n}")), &[b"x"]).unwrap();
                handle.sleep(Duration::from_secs(75));
            }
            let seen = listing(&handle.backend());
            let expected: Vec<String> = (0..seen.len()).map(|n| n.to_string()).collect();
            if seen == expected { moments += 1 } else { mixtures += 1 }
        })]);
    }
    assert!(moments > 30 && mixtures > 30, "{moments} of one moment, {mixtures} of several");
}

#[test]
fn others_go_on_between_the_pages_of_a_listing() {
    let (mut early, mut torn) = (0, 0);
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed, Weather { listing_page: 2, ..Weather::calm() });
        for n in 0..8 {
            simulation.calm_view().put(&name(&format!("{n}")), &[b"x"]).unwrap();
        }
        let seen = Mutex::new(Vec::new());
        simulation.run([
            Actor::new("reader", |handle: ActorHandle| *seen.lock().unwrap() = listing(&handle.backend())),
            Actor::new("deleter", |handle: ActorHandle| {
                for n in 0..8 {
                    handle.backend().delete(&name(&format!("{n}"))).unwrap();
                }
            }),
        ]);
        let seen = seen.into_inner().unwrap();
        early += u32::from(seen.len() == 8);
        // Something is missing in the middle: not what was there at any one moment.
        torn += u32::from(seen.last().is_some_and(|last| *last != "7") || seen.windows(2).any(|w| w[0] != w[1]));
    }
    assert!(early > 0 && torn > 10, "{early} before, {torn} torn");
}

#[test]
fn a_failure_in_the_middle_of_a_listing_is_an_error() {
    let list = |handle: &ActorHandle| {
        let mut seen = 0;
        let result = handle.backend().list("", &mut |_| {
            seen += 1;
            Ok(())
        });
        assert_eq!(result.is_ok(), seen == 20);
        result.is_err() && seen > 0
    };
    let mut middle = 0;
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed, Weather { failure: 0.1, listing_page: 2, ..Weather::calm() });
        for n in 0..20 {
            simulation.calm_view().put(&name(&format!("{n}")), &[b"x"]).unwrap();
        }
        let ended = simulation.run([Actor::new("reader", |handle: ActorHandle| middle += u32::from(list(&handle)))]);
        assert!(matches!(ended[0].ending, Ending::Finished), "{ended:?}");
    }
    assert!(middle > 20, "{middle} of 100 failed in the middle");
}
