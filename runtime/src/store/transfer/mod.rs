//! All that a database has, as lines of JSON, and back.

mod give;
mod take;

pub(crate) use give::give;
pub use give::{ExportError, ExportOf};
pub(crate) use take::Taking;
pub use take::{Imported, LineError};
