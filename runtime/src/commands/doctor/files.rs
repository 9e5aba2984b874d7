//! Whether the files of messages and users are where they should be.

use std::collections::{BTreeMap, BTreeSet};

use super::{Level, Report, reason};
use crate::{
    config::Config,
    media::{self, MEDIA_FOLDER},
    store::{DATABASE_FILE, Inspector},
};

/// Names that are shown of a kind of files.
const SHOWN: usize = 5;

/// Compares the books with what is there.
pub(super) fn look(report: &mut Report, config: &Config) {
    let what = "files";
    let bucket = match config.media.bucket() {
        Ok(bucket) => bucket,
        Err(error) => return report.add(Level::Wrong, "bucket", reason(&error)),
    };
    if bucket.is_none() && !config.data.join(MEDIA_FOLDER).exists() {
        return report.add(Level::Good, what, "there are none");
    }
    let there = match media::names(&config.data, bucket.as_ref()) {
        Ok(there) => there,
        Err(error) => {
            let what = if bucket.is_some() { "bucket" } else { what };
            return report.add(Level::Wrong, what, reason(&error));
        }
    };
    if let Some(bucket) = &bucket {
        report.add(Level::Good, "bucket", format!("{} answers and can be listed", bucket.bucket));
    }
    if !config.data.join(DATABASE_FILE).exists() {
        return;
    }
    match Inspector::open(&config.data).and_then(|inspector| inspector.files()) {
        Ok(Some(books)) => compare(report, &books, &there),
        Ok(None) => report.add(Level::Note, what, "there are no books on them before the server has started"),
        // It was said of the database already.
        Err(_) => {}
    }
}

fn compare(report: &mut Report, books: &BTreeMap<String, bool>, there: &BTreeSet<String>) {
    let what = "files";
    report.add(Level::Good, what, format!("{} are there, {} in the books", there.len(), books.len()));
    let missing: Vec<_> =
        books.iter().filter(|(name, used)| **used && !there.contains(*name)).map(|(name, _)| name).collect();
    if !missing.is_empty() {
        let text = format!(
            "that messages or users refer to are missing: {}; put them back from a backup",
            some(&missing)
        );
        report.add(Level::Wrong, what, text);
    }
    let unknown: Vec<_> = there.iter().filter(|name| !books.contains_key(*name)).collect();
    if !unknown.is_empty() {
        let text = format!(
            "are not in the books: {}; the server enters them when it starts, those of a bucket if anything refers to them",
            some(&unknown)
        );
        report.add(Level::Note, what, text);
    }
    let unused = books.values().filter(|used| !**used).count();
    if unused > 0 {
        let text =
            format!("{unused} are referred to by nothing: the server removes them when their time has come");
        report.add(Level::Note, what, text);
    }
}

fn some(names: &[&String]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} ({}{rest})", names.len(), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_unknown_files_are_told_apart() {
        let books = BTreeMap::from([
            ("here".to_owned(), true),
            ("missing".to_owned(), true),
            ("recalled".to_owned(), false),
        ]);
        let there = BTreeSet::from(["here".to_owned(), "unknown".to_owned()]);
        let mut report = Report::default();
        compare(&mut report, &books, &there);
        let found: Vec<_> = report.0.iter().map(|finding| (finding.level, finding.text.as_str())).collect();
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], (Level::Good, "2 are there, 3 in the books"));
        assert!(found[1].0 == Level::Wrong && found[1].1.contains("missing: 1 (missing)"), "{found:?}");
        assert!(found[2].0 == Level::Note && found[2].1.contains("1 (unknown)"), "{found:?}");
        assert!(found[3].1.starts_with("1 are referred to by nothing"), "{found:?}");
    }
}
