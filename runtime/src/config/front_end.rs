//! What browsers are served beside the calls.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const BUILT_IN: &str = "built-in";
const OFF: &str = "off";

/// What browsers are served beside the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontEnd {
    /// A small page, to try the server with.
    BuiltIn,
    /// Nothing.
    Off,
    /// What is in this folder.
    Folder(PathBuf),
}

impl FromStr for FrontEnd {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            BUILT_IN => Self::BuiltIn,
            OFF => Self::Off,
            path => Self::Folder(path.into()),
        })
    }
}

impl Serialize for FrontEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::BuiltIn => serializer.serialize_str(BUILT_IN),
            Self::Off => serializer.serialize_str(OFF),
            Self::Folder(path) => path.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FrontEnd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // An empty variable is a slip, not the working directory.
        if text.is_empty() {
            return Err(D::Error::custom("the path is empty"));
        }
        match text.parse() {
            Ok(front_end) => Ok(front_end),
            Err(never) => match never {},
        }
    }
}
