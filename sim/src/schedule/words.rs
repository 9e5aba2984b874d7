//! The words of which the lines of a schedule are made.

use core::fmt;
use core::str::FromStr;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u16);

        impl $name {
            /// As an index of a table.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                word.strip_prefix($letter).and_then(|n| n.parse().ok()).map(Self).ok_or(())
            }
        }
    };
}

number! {
    /// A client: one device.
    ClientNo, "c"
}
number! {
    /// A user; several clients may be one user's.
    UserNo, "u"
}
number! {
    /// A group.
    GroupNo, "g"
}
number! {
    /// A node.
    NodeNo, "n"
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

words! {
    /// What a client is made of.
    ClientKind {
        /// A front-end that only speaks the wire and answers Pings.
        Raw = "raw",
        /// The engine's own client.
        Engine = "engine",
        /// A session that only speaks the wire, and does what its steps say: also what no client should.
        RawSession = "raw-session",
        /// The engine's session client, with an application above it that keeps what it has to.
        Session = "session",
    }
}

impl ClientKind {
    /// Whether it speaks the session protocol.
    #[must_use]
    pub const fn is_session(self) -> bool {
        matches!(self, Self::RawSession | Self::Session)
    }

    /// Whether it only speaks the wire.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::Raw | Self::RawSession)
    }
}

words! {
    /// Who notices at once that a connection is lost.
    Seen {
        /// The server.
        Server = "server",
        /// The client.
        Client = "client",
        /// Both.
        Both = "both",
        /// Nobody: it is half-open until somebody's patience ends.
        Nobody = "nobody",
    }
}

words! {
    /// Which records a partition stops.
    Ways {
        /// Those in both directions.
        Both = "both",
        /// Those from the first node to the second.
        One = "one",
    }
}

words! {
    /// What a client wants to change about a group.
    Deed {
        /// It is to come into being, and nobody joins uninvited.
        Create = "create",
        /// The same, and everybody may join.
        Open = "open",
        /// To be a member.
        Join = "join",
        /// To be none any more.
        Leave = "leave",
        /// That somebody is a member.
        Invite = "invite",
        /// That somebody is none any more.
        Kick = "kick",
        /// That somebody is an ordinary member.
        Member = "member",
        /// That somebody is an admin.
        Admin = "admin",
        /// That somebody owns it.
        Owner = "owner",
        /// That somebody may not write for a time.
        Mute = "mute",
        /// That somebody may write again.
        Unmute = "unmute",
        /// Another name.
        Rename = "rename",
    }
}

words! {
    /// How a file travels.
    Carrier {
        /// In the field `file`.
        Bytes = "bytes",
        /// As a `data:` URL in the content.
        DataUrl = "url",
    }
}

words! {
    /// What a connection does that is wrong below the messages.
    Misdeed {
        /// Wrong framing.
        Framing = "framing",
        /// A text message.
        Text = "text",
        /// Text that is not UTF-8.
        Utf8 = "utf8",
        /// A message larger than the limit, found by its header.
        Large = "large",
        /// There is no room for its unfinished message.
        Budget = "budget",
    }
}

/// Which clients something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All of them.
    All,
    /// One.
    One(ClientNo),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(client) => client.fmt(f),
        }
    }
}

impl FromStr for Whose {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        if word == "all" { Ok(Self::All) } else { word.parse().map(Self::One) }
    }
}

/// To whom something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A user.
    User(UserNo),
    /// A group.
    Group(GroupNo),
    /// Nobody in particular: everyone, or the other side of the call.
    Nobody,
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Group(group) => group.fmt(f),
            Self::Nobody => f.write_str("-"),
        }
    }
}

impl FromStr for To {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "-" => Ok(Self::Nobody),
            word => word.parse().map(Self::User).or_else(|()| word.parse().map(Self::Group)),
        }
    }
}
