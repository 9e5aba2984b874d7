//! The names of things: connections, requests, users, groups, messages.

use alloc::{borrow::Cow, sync::Arc};
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest user or group id, in bytes.
pub const ID_LIMIT_BYTES: usize = 128;

/// Who the server's own messages come from; nobody else may be called so.
pub const SYSTEM: &str = "System";

/// One connection: a slot that connections reuse, and a generation that they do not.
///
/// The driver chooses both: the slot is an index into its table of sockets, smaller than
/// [`Limits::connections`](crate::Limits::connections), and the generation is one that this slot never had
/// before. So a late event of a closed connection can never touch its successor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    /// The connection of this generation in this slot.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Index of the connection's place in tables of connections.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// Which of the slot's connections this is.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.slot, self.generation)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Connects a request of the engine with its answer. Never used twice by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// The id of a message: unique per sender, for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub [u8; 16]);

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is not a user's or group's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// It is empty.
    Empty,
    /// It is longer than [`ID_LIMIT_BYTES`].
    TooLong,
    /// It contains a control character.
    ControlCharacter,
    /// It is [`SYSTEM`], which the server's own messages come from.
    Reserved,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the id is empty"),
            Self::TooLong => write!(f, "the id is longer than {ID_LIMIT_BYTES} bytes"),
            Self::ControlCharacter => f.write_str("the id contains a control character"),
            Self::Reserved => write!(f, "the id {SYSTEM} is the server's own"),
        }
    }
}

impl core::error::Error for IdError {}

fn check(id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        Err(IdError::Empty)
    } else if id.len() > ID_LIMIT_BYTES {
        Err(IdError::TooLong)
    } else if id.chars().any(char::is_control) {
        Err(IdError::ControlCharacter)
    } else if id == SYSTEM {
        Err(IdError::Reserved)
    } else {
        Ok(())
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to [`ID_LIMIT_BYTES`] bytes of UTF-8 without control characters; cheap to clone.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the id from a text.
            ///
            /// # Errors
            /// If the text is empty, too long, reserved, or has a control character in it.
            pub fn new(id: &str) -> Result<Self, IdError> {
                check(id).map(|()| Self(Arc::from(id)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&id).map_err(D::Error::custom)
            }
        }

        impl core::str::FromStr for $name {
            type Err = IdError;

            fn from_str(id: &str) -> Result<Self, IdError> {
                Self::new(id)
            }
        }
    };
}

text_id! {
    /// The id of a user.
    UserId
}

text_id! {
    /// The id of a group.
    GroupId
}
