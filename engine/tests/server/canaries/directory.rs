//! Bugs in what the server knows of its users, and tells the bus.

use switchboard_engine::{Answer, Canary, DirectoryChangeKind, UserProfile};

use super::Trial;
use crate::{harness::group_text, store::group};

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::SubscribeForgotten,
        chat: |chat| {
            chat.found("crew", &["alice"]);
            chat.arrives("alice");
            chat.topics()
        },
        healthy: r#"User("alice"), Group("crew")"#,
        sick: r#"User("alice")"#,
    },
    Trial {
        canary: Canary::UnsubscribeForgotten,
        chat: |chat| {
            chat.found("crew", &["alice"]);
            let alice = chat.arrives("alice");
            chat.leaves(alice);
            chat.topics()
        },
        healthy: "",
        sick: r#"Group("crew")"#,
    },
    Trial {
        canary: Canary::StaleChangeApplied,
        chat: |chat| {
            chat.store.revision = 5;
            chat.found("crew", &["alice", "bob"]);
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.directory_says(4, "alice", DirectoryChangeKind::Left(group("crew")));
            chat.says(bob, group_text("crew", "hi"));
            chat.hears(alice)
        },
        healthy: "hi",
        sick: "",
    },
    Trial {
        canary: Canary::ChangeDuringLoadLost,
        chat: |chat| {
            chat.found("crew", &["bob"]);
            let bob = chat.arrives("bob");
            chat.store.holds = true;
            let alice = chat.connects("alice");
            chat.joins("alice", "crew");
            chat.store_says(0, Answer::UserLoaded(UserProfile::default()));
            chat.store_resumes();
            chat.says(bob, group_text("crew", "hi"));
            chat.hears(alice)
        },
        healthy: "welcome!, hi",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::LoadWaitsAnew,
        chat: |chat| {
            chat.store.holds = true;
            let alice = chat.connects("alice");
            chat.passes(9);
            chat.joins("alice", "crew");
            chat.passes(1);
            chat.hears(alice)
        },
        healthy: "welcome!",
        sick: "",
    },
    Trial {
        canary: Canary::LeftKeepsMember,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.is_removed_from("alice", "crew");
            chat.says(bob, group_text("crew", "hi"));
            chat.hears(alice)
        },
        healthy: "",
        sick: "hi",
    },
    Trial {
        canary: Canary::ReloadForgotten,
        chat: |chat| {
            chat.store.holds = true;
            chat.connects("alice");
            chat.store_says(0, Answer::Failed);
            chat.passes(1);
            chat.store.asked.to_string()
        },
        healthy: "2",
        sick: "1",
    },
    Trial {
        canary: Canary::ReloadAtOnce,
        chat: |chat| {
            chat.store.holds = true;
            chat.connects("alice");
            chat.store_says(0, Answer::Failed);
            chat.passes(0);
            chat.store.asked.to_string()
        },
        healthy: "1",
        sick: "2",
    },
    Trial {
        canary: Canary::AvatarKept,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.directory_says(9, "alice", DirectoryChangeKind::Avatar("new.png".into()));
            chat.says(alice, group_text("crew", "hi"));
            chat.reads(bob).into_iter().map(|message| message.avatar).collect()
        },
        healthy: "new.png",
        sick: "",
    },
];
