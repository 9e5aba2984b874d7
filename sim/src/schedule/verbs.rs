//! What the table of all steps makes: an enum, and how a step is written as a line of text and read again, its verb first and what
//! belongs to it behind.

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident $verb:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* },)+) => {
        /// What happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum What {
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $type,)* },)+
        }

        impl What {
            /// The verbs of the text format, with the names of what follows them.
            pub const VERBS: &[(&str, &[&str])] = &[$(($verb, &[$(stringify!($field),)*]),)+];

            /// The verb.
            #[must_use]
            pub const fn verb(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $verb,)+ }
            }

            /// The place of the verb in [`What::VERBS`].
            #[must_use]
            pub fn number(&self) -> usize {
                Self::VERBS.iter().position(|(verb, _)| *verb == self.verb()).unwrap_or(0)
            }

            /// Reads a verb and what follows it.
            ///
            /// # Errors
            /// A text that says what is wrong and what would be right.
            pub fn parse(verb: &str, rest: &[&str]) -> Result<Self, String> {
                let mut words = rest.iter();
                let step = match verb {
                    $($verb => Self::$variant { $($field: {
                        let word = words.next().ok_or(concat!($verb, ": ", stringify!($field), " is missing"))?;
                        word.parse::<$type>().map_err(|_| {
                            format!(concat!($verb, ": {} is no ", stringify!($field)), word)
                        })?
                    },)* },)+
                    _ => return Err(format!("{verb} is no verb of this format")),
                };
                match words.next() {
                    None => Ok(step),
                    Some(word) => Err(format!("{verb}: {word} is one word too many")),
                }
            }
        }

        impl core::fmt::Display for What {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.verb())?;
                match self {
                    $(Self::$variant { $($field,)* } => { $(write!(f, " {}", $field)?;)* })+
                }
                Ok(())
            }
        }
    };
}

pub(super) use steps;
