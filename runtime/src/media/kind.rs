//! What a file is, and what it may be called.

use switchboard_engine::FileKind;

/// A type of file that the server is ready to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileType {
    /// Without a dot.
    pub(super) extension: &'static str,
    pub(super) content_type: &'static str,
    pub(super) kind: FileKind,
}

const fn file_type(kind: FileKind, extension: &'static str, content_type: &'static str) -> FileType {
    FileType { extension, content_type, kind }
}

/// What is none of the others.
const UNKNOWN: FileType = file_type(FileKind::Other, "bin", "application/octet-stream");

/// Every type of file that is stored under an extension of its own: none that a browser would run, so
/// neither pages nor scripts, nor SVG, which can carry scripts.
const SAFE: [FileType; 49] = {
    use FileKind::{Audio, Image, Other, Video};
    [
        UNKNOWN,
        file_type(Image, "jpg", "image/jpeg"),
        file_type(Image, "png", "image/png"),
        file_type(Image, "gif", "image/gif"),
        file_type(Image, "webp", "image/webp"),
        file_type(Image, "bmp", "image/bmp"),
        file_type(Image, "tif", "image/tiff"),
        file_type(Image, "heif", "image/heif"),
        file_type(Image, "avif", "image/avif"),
        file_type(Image, "jxl", "image/jxl"),
        file_type(Image, "jp2", "image/jp2"),
        file_type(Image, "ico", "image/vnd.microsoft.icon"),
        file_type(Audio, "mp3", "audio/mpeg"),
        file_type(Audio, "m4a", "audio/mp4"),
        file_type(Audio, "ogg", "audio/ogg"),
        file_type(Audio, "opus", "audio/ogg"),
        file_type(Audio, "flac", "audio/flac"),
        file_type(Audio, "wav", "audio/wav"),
        file_type(Audio, "amr", "audio/amr"),
        file_type(Audio, "aac", "audio/aac"),
        file_type(Audio, "aiff", "audio/aiff"),
        file_type(Audio, "midi", "audio/midi"),
        file_type(Video, "mp4", "video/mp4"),
        file_type(Video, "m4v", "video/mp4"),
        file_type(Video, "mkv", "video/x-matroska"),
        file_type(Video, "webm", "video/webm"),
        file_type(Video, "mov", "video/quicktime"),
        file_type(Video, "avi", "video/x-msvideo"),
        file_type(Video, "wmv", "video/x-ms-wmv"),
        file_type(Video, "mpg", "video/mpeg"),
        file_type(Video, "flv", "video/x-flv"),
        file_type(Other, "txt", "text/plain; charset=utf-8"),
        file_type(Other, "csv", "text/csv; charset=utf-8"),
        file_type(Other, "pdf", "application/pdf"),
        file_type(Other, "rtf", "application/rtf"),
        file_type(Other, "doc", "application/msword"),
        file_type(Other, "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        file_type(Other, "xls", "application/vnd.ms-excel"),
        file_type(Other, "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        file_type(Other, "ppt", "application/vnd.ms-powerpoint"),
        file_type(Other, "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        file_type(Other, "odt", "application/vnd.oasis.opendocument.text"),
        file_type(Other, "ods", "application/vnd.oasis.opendocument.spreadsheet"),
        file_type(Other, "odp", "application/vnd.oasis.opendocument.presentation"),
        file_type(Other, "zip", "application/zip"),
        file_type(Other, "gz", "application/gzip"),
        file_type(Other, "7z", "application/x-7z-compressed"),
        file_type(Other, "rar", "application/vnd.rar"),
        file_type(Other, "tar", "application/x-tar"),
    ]
};

/// Other spellings of extensions.
const ALIASES: [(&str, &str); 8] = [
    ("jpeg", "jpg"),
    ("jfif", "jpg"),
    ("tiff", "tif"),
    ("heic", "heif"),
    ("mpeg", "mpg"),
    ("mid", "midi"),
    ("aif", "aiff"),
    ("oga", "ogg"),
];

/// What a file is by its first bytes, else by its suffix. Bytes that are recognised as something that is
/// not safe are not made safe by a suffix.
pub(super) fn classify(contents: &[u8], suffix: &str) -> FileType {
    let found = match infer::get(contents) {
        Some(found) => by_extension(found.extension()),
        None => {
            let suffix = suffix.trim_start_matches('.').to_ascii_lowercase();
            let alias = ALIASES.iter().find(|(alias, _)| *alias == suffix);
            by_extension(alias.map_or(suffix.as_str(), |(_, extension)| extension))
        }
    };
    found.unwrap_or(UNKNOWN)
}

/// The safe type of this extension, spelled as the server does.
pub(super) fn by_extension(extension: &str) -> Option<FileType> {
    SAFE.iter().find(|safe| safe.extension == extension).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

    #[test]
    fn the_first_bytes_count_more_than_the_suffix() {
        for suffix in ["png", "txt", "html", "", "../../png", "mp3"] {
            assert_eq!(classify(PNG, suffix).extension, "png");
        }
        assert_eq!(classify(b"\xff\xd8\xff\xe0 jpeg", "png").extension, "jpg");
        assert_eq!(classify(b"ID3\x03 mp3", "exe").kind, FileKind::Audio);
        let webm = [b"\x1aE\xdf\xa3\x42\x82\x84webm".as_slice(), &[0; 256]].concat();
        assert_eq!(classify(&webm, "txt").kind, FileKind::Video);
    }

    #[test]
    fn the_suffix_counts_where_the_bytes_say_nothing() {
        let by_suffix = |suffix| {
            let found = classify(b"nothing that anybody knows", suffix);
            (found.extension, found.kind)
        };
        assert_eq!(by_suffix("JPEG"), ("jpg", FileKind::Image));
        assert_eq!(by_suffix(".mp3"), ("mp3", FileKind::Audio));
        assert_eq!(by_suffix("mp4"), ("mp4", FileKind::Video));
        assert_eq!(by_suffix("txt"), ("txt", FileKind::Other));
    }

    #[test]
    fn what_a_browser_would_run_has_no_extension_of_its_own() {
        let suffixes = [
            "html", "htm", "HTML", "svg", "js", "mjs", "xhtml", "xml", "php", "exe", "sh", "swf", "wasm",
            "png.html", "../x", "a/b", "png\0", "", "...", "shtml", "xht", "mht", "hta",
        ];
        for suffix in suffixes {
            assert_eq!(classify(b"anything", suffix), UNKNOWN, "{suffix:?}");
        }
        let contents: [&[u8]; 5] = [
            b"<!DOCTYPE html><html></html>",
            b"<?xml version=\"1.0\"?><svg/>",
            b"#!/bin/sh\necho",
            b"\x7fELF\x02\x01\x01 and at least so many bytes as a header of a program has to have, or more",
            b"\0asm\x01\0\0\0",
        ];
        for contents in contents {
            assert_eq!(classify(contents, "png"), UNKNOWN, "{contents:?}");
        }
    }

    #[test]
    fn every_extension_is_plain_and_there_once() {
        for (index, safe) in SAFE.iter().enumerate() {
            assert!(safe.extension.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            assert!(SAFE[..index].iter().all(|other| other.extension != safe.extension), "{safe:?}");
            assert_eq!(safe.content_type.starts_with("image/"), safe.kind == FileKind::Image);
            assert_eq!(safe.content_type.starts_with("audio/"), safe.kind == FileKind::Audio);
            assert_eq!(safe.content_type.starts_with("video/"), safe.kind == FileKind::Video);
        }
        assert!(
            ALIASES
                .iter()
                .all(|(alias, name)| { by_extension(alias).is_none() && by_extension(name).is_some() })
        );
    }
}
