//! Pictures, made smaller.
//!
//! What a picture says of itself is looked at before any of it is unpacked: a few bytes can claim billions of pixels. Of an animation the first
//! picture is taken, and nothing that came beside the pixels (places, cameras, profiles) goes into what is made.

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;
use std::sync::Arc;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};

use switchboard_engine::FileKind;

use super::files::{CHUNK_BYTES, Files, MediaError, type_of};
use super::objects::Objects;
use super::part::PartFile;
use crate::accounts::{Pool, PoolError};

/// The sizes that there are: each is the longer side in pixels at the most.
pub const THUMBNAIL_SIZES: [u32; 3] = [128, 256, 512];

/// Pixels of a side, and of a whole picture: cameras make 50 million.
const SIDE_LIMIT: u32 = 16_384;
const PIXEL_LIMIT: u64 = 52_000_000;

/// Bytes that unpacking may take.
const MEMORY_LIMIT_BYTES: u64 = 256 << 20;

/// Bytes of a file that is looked at.
const FILE_LIMIT_BYTES: u64 = 64 << 20;

/// Pictures that are unpacked at once, and that wait for it.
pub(super) const IMAGE_THREADS: usize = 2;
pub(super) const IMAGES_WAITING: usize = 64;

/// How well a JPEG is to look, of 100.
const JPEG_QUALITY: u8 = 82;

/// Why there is no smaller picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// It is of no kind that is unpacked here.
    #[error("the picture is no PNG, JPEG, GIF or WebP")]
    Format,
    /// It has more pixels than are unpacked.
    #[error(
        "the picture is too large: {width} by {height} pixels, and at most 16384 on a side and 52 million together are taken"
    )]
    TooLarge {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// Its file is too large to be looked at, or it needs too much memory.
    #[error("the picture takes too much to unpack")]
    TooMuch,
    /// It is damaged, or lies about itself.
    #[error("the picture is damaged: {0}")]
    Damaged(String),
}

impl From<ImageError> for PictureError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Unsupported(_) => Self::Format,
            ImageError::Limits(_) => Self::TooMuch,
            ImageError::Decoding(_)
            | ImageError::Encoding(_)
            | ImageError::Parameter(_)
            | ImageError::IoError(_) => Self::Damaged(error.to_string()),
        }
    }
}

/// A smaller picture, as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// Its file.
    pub bytes: Vec<u8>,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
}

impl Thumbnail {
    fn of(bytes: Vec<u8>) -> Self {
        let content_type = if bytes.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" };
        Self { bytes, content_type }
    }
}

/// Whether a file of this name is a picture of a kind that is made smaller; one that is damaged is not.
#[must_use]
pub fn is_shrunk(name: &str) -> bool {
    let extension = name.rsplit('.').next().unwrap_or_default();
    type_of(name).is_some() && ["png", "jpg", "gif", "webp"].contains(&extension)
}

/// Unpacks a picture, within the limits.
fn unpack(reader: impl BufRead + Seek) -> Result<DynamicImage, PictureError> {
    let damaged = |error: std::io::Error| PictureError::Damaged(error.to_string());
    let mut reader = ImageReader::new(reader).with_guessed_format().map_err(damaged)?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP) => {}
        Some(_) | None => return Err(PictureError::Format),
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY_LIMIT_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > SIDE_LIMIT || u64::from(width) * u64::from(height) > PIXEL_LIMIT {
        return Err(PictureError::TooLarge { width, height });
    }
    if decoder.total_bytes() > MEMORY_LIMIT_BYTES {
        return Err(PictureError::TooMuch);
    }
    // What is damaged beside the pixels does no harm.
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(picture)
}

/// The file of a picture whose longer side has so many pixels at the most.
fn shrink(reader: impl BufRead + Seek, size: u32) -> Result<Vec<u8>, PictureError> {
    let mut picture = unpack(reader)?;
    if picture.width().max(picture.height()) > size {
        picture = picture.thumbnail(size, size);
    }
    let mut bytes = Vec::new();
    if picture.color().has_alpha() {
        DynamicImage::from(picture.to_rgba8()).write_with_encoder(PngEncoder::new(&mut bytes))?;
    } else {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        DynamicImage::from(picture.to_rgb8()).write_with_encoder(encoder)?;
    }
    Ok(bytes)
}

/// What a smaller picture is kept under: no name of a file, so that it is served and counted as none.
fn key(name: &str, size: u32) -> String {
    format!("{name}.{size}")
}

/// Reads a whole file, if it is not too large; none if there is none.
fn whole(objects: &dyn Objects, name: &str) -> Result<Option<Vec<u8>>, MediaError> {
    let Some(first) = objects.read(name, 0, CHUNK_BYTES)? else { return Ok(None) };
    if first.size_bytes > FILE_LIMIT_BYTES {
        return Err(PictureError::TooMuch.into());
    }
    let mut bytes = first.bytes;
    loop {
        let at = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if at >= first.size_bytes {
            return Ok(Some(bytes));
        }
        let Some(next) = objects.read(name, at, CHUNK_BYTES)? else { return Ok(None) };
        if next.bytes.is_empty() {
            return Ok(None);
        }
        bytes.extend(next.bytes);
    }
}

impl Files {
    /// The smaller picture of a file, made if there is none yet, and kept beside it; none if there is no such file.
    ///
    /// # Errors
    /// If the size is none of [`THUMBNAIL_SIZES`], the file is no picture that can be unpacked, too many wait for theirs, or where files
    /// are kept fails.
    pub async fn thumbnail(&self, name: &str, size: u32) -> Result<Option<Thumbnail>, MediaError> {
        if type_of(name).is_none() || !THUMBNAIL_SIZES.contains(&size) {
            return Ok(None);
        }
        let (objects, name) = (self.objects(), name.to_owned());
        let kept = {
            let (objects, key) = (Arc::clone(&objects), key(&name, size));
            tokio::task::spawn_blocking(move || whole(&*objects, &key)).await
        };
        if let Some(bytes) = kept.map_err(|error| MediaError::Picture(damaged(&error)))?? {
            return Ok(Some(Thumbnail::of(bytes)));
        }
        let spool = self.spool();
        let made = self.images().run(move |()| make(&*objects, &spool, &name, size)).await;
        made.map_err(busy)?
    }

    /// The threads that unpack pictures.
    pub(super) fn start_images() -> std::io::Result<Pool<()>> {
        Pool::start("pictures", vec![(); IMAGE_THREADS], IMAGES_WAITING)
    }
}

/// Makes a smaller picture and keeps it, as long as its file is there.
fn make(objects: &dyn Objects, spool: &Path, name: &str, size: u32) -> Result<Option<Thumbnail>, MediaError> {
    let Some(bytes) = whole(objects, name)? else { return Ok(None) };
    let bytes = shrink(Cursor::new(bytes), size)?;
    let key = key(name, size);
    Files::spooled(spool, &bytes, |path| objects.keep(&key, path))?;
    // Whoever has removed the file meanwhile may not have seen this.
    if objects.size(name)?.is_none() {
        objects.remove(&key)?;
        return Ok(None);
    }
    Ok(Some(Thumbnail::of(bytes)))
}

/// Removes what was made of a picture.
pub(super) fn remove_all(objects: &dyn Objects, name: &str) -> Result<(), MediaError> {
    THUMBNAIL_SIZES.iter().try_for_each(|size| objects.remove(&key(name, *size)))
}

impl PartFile {
    /// Whether it is a picture that can be unpacked; gives it back if it is. What is not leaves nothing.
    ///
    /// # Errors
    /// If it is none, or too many are being looked at.
    pub async fn check_picture(self) -> Result<Self, MediaError> {
        self.check_kind(FileKind::Image)?;
        let images = self.images();
        let checked = images.run(move |()| {
            let file = fs::File::open(self.path()).map_err(super::disk::disk("open", self.path()))?;
            unpack(BufReader::new(file))?;
            Ok(self)
        });
        checked.await.map_err(busy)?
    }
}

fn busy(error: PoolError) -> MediaError {
    match error {
        PoolError::Busy => MediaError::Busy,
        PoolError::Stopped => MediaError::Stopped,
        // A panic of a decoder, whose log line says so; the file is at fault.
        PoolError::Failed => MediaError::Picture(PictureError::Damaged("it cannot be unpacked".to_owned())),
    }
}

fn damaged(error: &tokio::task::JoinError) -> PictureError {
    PictureError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::ZlibEncoder};
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn plain(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_pixel(width, height, Rgb([200, 10, 10])).into()
    }

    fn made(file: &[u8], size: u32) -> Result<DynamicImage, PictureError> {
        let bytes = shrink(Cursor::new(file), size)?;
        Ok(image::load_from_memory(&bytes).unwrap())
    }

    fn packed(bytes: usize) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        (0..bytes >> 20).for_each(|_| encoder.write_all(&zeros).unwrap());
        encoder.finish().unwrap()
    }

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        let length = u32::try_from(data.len()).unwrap();
        [&length.to_be_bytes(), &kind[..], data, &crc.sum().to_be_bytes()].concat()
    }

    /// A PNG of these sizes, with chunks before its pixels, and what is said to be them.
    fn png(width: u32, height: u32, before: &[u8], pixels: &[u8]) -> Vec<u8> {
        // 8 bits of red, green and blue.
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
        [
            b"\x89PNG\r\n\x1a\n",
            &chunk(b"IHDR", &header)[..],
            before,
            &chunk(b"IDAT", pixels),
            &chunk(b"IEND", &[]),
        ]
        .concat()
    }

    #[test]
    fn pictures_of_all_four_kinds_become_smaller_and_keep_their_shape() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP] {
            let file = encoded(&plain(1_000, 500), format);
            let small = made(&file, 128).unwrap();
            assert_eq!((small.width(), small.height()), (128, 64), "{format:?}");
            let same = made(&encoded(&plain(40, 20), format), 128).unwrap();
            assert_eq!((same.width(), same.height()), (40, 20), "it is not made larger");
        }
        let clear = RgbaImage::from_pixel(300, 300, Rgba([0, 0, 0, 0]));
        let small = shrink(Cursor::new(encoded(&clear.into(), ImageFormat::Png)), 128).unwrap();
        assert_eq!(Thumbnail::of(small).content_type, "image/png", "what is seen through stays so");
    }

    #[test]
    fn a_picture_is_turned_as_its_camera_was_and_says_nothing_of_it() {
        let jpeg = encoded(&plain(20, 10), ImageFormat::Jpeg);
        let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let exif = [b"Exif\0\0", &tiff[..], b"secret place"].concat();
        let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
        let file = [&jpeg[..2], b"\xff\xe1", &length, &exif, &jpeg[2..]].concat();
        let small = shrink(Cursor::new(&file), 128).unwrap();
        let picture = image::load_from_memory(&small).unwrap();
        assert_eq!((picture.width(), picture.height()), (10, 20));
        let says = |text: &[u8]| small.windows(text.len()).any(|window| window == text);
        assert!(!says(b"Exif") && !says(b"secret place"));
    }

    #[test]
    fn what_claims_too_many_pixels_is_not_unpacked() {
        // 7.5 GB are claimed.
        let bomb = png(50_000, 50_000, &[], &packed(16 << 20));
        let too_large = |width, height| Err(PictureError::TooLarge { width, height });
        assert_eq!(made(&bomb, 128), too_large(50_000, 50_000));
        assert_eq!(made(&png(16_385, 1, &[], &[]), 128), too_large(16_385, 1));
        assert_eq!(made(&png(10_000, 10_000, &[], &[]), 128), too_large(10_000, 10_000));
        let mut jpeg = encoded(&plain(16, 16), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|marker| marker == b"\xff\xc0").unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
        assert!(matches!(made(&jpeg, 128), Err(PictureError::TooLarge { .. })), "a JPEG that lies");
        assert!(made(&png(u32::MAX, u32::MAX, &[], &[]), 128).is_err());
        assert!(made(&png(0, 0, &[], &[]), 128).is_err());
    }

    #[test]
    fn what_is_packed_beside_the_pixels_does_no_harm() {
        let pixels = packed(1 << 20);
        let text = chunk(b"zTXt", &[b"Comment\0\0", &packed(32 << 20)[..]].concat());
        let profile = chunk(b"iCCP", &[b"profile\0\0", &packed(32 << 20)[..]].concat());
        for before in [text, profile] {
            let file = png(100, 100, &before, &pixels);
            match made(&file, 128) {
                Ok(small) => assert_eq!((small.width(), small.height()), (100, 100)),
                Err(error) => assert!(matches!(error, PictureError::TooMuch | PictureError::Damaged(_))),
            }
        }
    }

    #[test]
    fn of_an_animation_without_an_end_the_first_picture_is_taken() {
        let mut gif = b"GIF89a\x01\0\x01\0\x80\0\0\xff\0\0\0\0\xff".to_vec();
        let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
        gif.extend(frame.iter().copied().cycle().take(frame.len() * 1_000_000));
        let small = made(&gif, 128).unwrap();
        assert_eq!((small.width(), small.height()), (1, 1));
    }

    #[test]
    fn what_is_none_is_said_to_be_none() {
        for file in [&b""[..], b"text", b"BM0000", b"<svg/>", b"\0\0\0\x1cftypheic"] {
            assert_eq!(made(file, 128), Err(PictureError::Format), "{file:?}");
        }
        let whole = encoded(&plain(100, 100), ImageFormat::Png);
        for end in [8, 20, 40, whole.len() - 20] {
            assert!(matches!(made(&whole[..end], 128), Err(PictureError::Damaged(_))), "{end}");
        }
    }
}
