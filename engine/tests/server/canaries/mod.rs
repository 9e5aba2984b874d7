//! Every canary sings: for each deliberate bug a short chat that goes otherwise with it than without. And every
//! mark is reached: for each rule there is a chat, with or without a bug of its own, that comes by.

mod authority;
mod calls;
mod chat;
mod connections;
mod delivery;
mod directory;
mod flow;
mod marks;
mod presence;
mod progress;
mod resend;
mod session;
mod storing;

use std::collections::BTreeSet;

use switchboard_engine::{Canary, Instant, Rule, Server, ServerConfig, Shipped};

use self::chat::Chat;

/// What is seen of one chat, as the server is meant to be and with a bug in it.
struct Trial {
    canary: Canary,
    chat: fn(&mut Chat) -> String,
    healthy: &'static str,
    sick: &'static str,
}

fn trials() -> impl Iterator<Item = &'static Trial> {
    let lists = [
        connections::TRIALS,
        delivery::TRIALS,
        storing::TRIALS,
        directory::TRIALS,
        session::TRIALS,
        authority::TRIALS,
        presence::TRIALS,
        calls::TRIALS,
        progress::TRIALS,
        flow::TRIALS,
        resend::TRIALS,
    ];
    lists.into_iter().flatten()
}

#[test]
fn every_canary_changes_what_is_seen() {
    for Trial { canary, chat, healthy, sick } in trials() {
        assert_ne!(healthy, sick, "{canary}");
        for (bug, expected) in [(None, healthy), (Some(*canary), sick)] {
            let mut world = Chat::new(bug);
            assert_eq!(chat(&mut world), *expected, "the chat of {canary} with {bug:?}");
            if bug.is_none() {
                assert_eq!(world.verdict(), "sound", "the chat of {canary} without it");
            }
        }
    }
}

#[test]
fn no_canary_makes_the_engine_panic_in_any_chat_or_keeps_it_busy_for_ever() {
    for canary in Canary::ALL {
        for trial in trials() {
            // What is seen may be anything; that the chat comes to its end is the point.
            println!("{canary} in the chat of {}", trial.canary);
            (trial.chat)(&mut Chat::new(Some(*canary)));
        }
    }
}

#[test]
fn every_canary_has_one_trial() {
    let tried: Vec<Canary> = trials().map(|trial| trial.canary).collect();
    let once: BTreeSet<Canary> = tried.iter().copied().collect();
    assert_eq!(once.len(), tried.len());
    assert_eq!(once.into_iter().collect::<Vec<_>>(), Canary::ALL);
}

#[test]
fn every_rule_is_reached_by_some_chat() {
    let mut reached = BTreeSet::new();
    let mut look = |chat: &dyn Fn(&mut Chat)| {
        let mut world = Chat::new(None);
        chat(&mut world);
        assert_eq!(world.verdict(), "sound");
        reached.extend(world.server.probe().reached.iter().copied());
    };
    trials().for_each(|trial| look(&|chat| drop((trial.chat)(chat))));
    marks::CHATS.iter().for_each(|chat| look(chat));
    let missed: Vec<_> = Rule::ALL.iter().filter(|rule| !reached.contains(rule)).collect();
    assert!(missed.is_empty(), "not reached: {missed:?}");
}

#[test]
fn names_are_told_apart_and_the_lists_are_in_order() {
    let names: BTreeSet<&str> = Canary::ALL.iter().map(|canary| canary.name()).collect();
    assert_eq!(names.len(), Canary::ALL.len());
    let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    assert!(Canary::ALL.iter().enumerate().all(|(index, canary)| *canary as usize == index));
    assert!(Rule::ALL.iter().enumerate().all(|(index, rule)| *rule as usize == index));
}

#[test]
fn a_shipped_probe_takes_no_room() {
    let server: Server = Server::new(ServerConfig::default(), 7, Instant::ZERO);
    assert_eq!(size_of_val(server.probe()), 0);
    assert!(size_of::<Server<Shipped>>() < size_of::<Server<chat::Watch>>());
}
