//! Fields of protobuf messages, written one by one where a message in between would cost too much.
//!
//! All fields have numbers below 16, so that number and type are one byte. Like all of proto3, what has its default is left out.
//! Types: <https://protobuf.dev/programming-guides/encoding/#structure>.

use alloc::vec::Vec;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LEN: u8 = 2;

fn key(field: u8, kind: u8, into: &mut Vec<u8>) {
    into.push(field << 3 | kind);
}

pub(crate) fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value > 0x7f {
        // The low seven bits, and that more follow.
        into.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    into.push(value.to_le_bytes()[0]);
}

/// Begins a message of this length, which stands there even if it is empty.
pub(crate) fn nested(field: u8, len: usize, into: &mut Vec<u8>) {
    key(field, LEN, into);
    varint(len as u64, into);
}

pub(crate) fn bytes(field: u8, bytes: &[u8], into: &mut Vec<u8>) {
    if !bytes.is_empty() {
        nested(field, bytes.len(), into);
        into.extend_from_slice(bytes);
    }
}

pub(crate) fn uint(field: u8, value: u64, into: &mut Vec<u8>) {
    if value != 0 {
        key(field, VARINT, into);
        varint(value, into);
    }
}

pub(crate) fn fixed(field: u8, value: u64, into: &mut Vec<u8>) {
    if value != 0 {
        key(field, FIXED64, into);
        into.extend_from_slice(&value.to_le_bytes());
    }
}

/// Length of a varint: one byte for every seven bits.
pub(crate) const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Length of a message in another one, with what stands before it.
pub(crate) const fn nested_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

pub(crate) const fn bytes_len(len: usize) -> usize {
    if len == 0 { 0 } else { nested_len(len) }
}

pub(crate) const fn uint_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

pub(crate) const fn fixed_len(value: u64) -> usize {
    if value == 0 { 0 } else { 9 }
}
