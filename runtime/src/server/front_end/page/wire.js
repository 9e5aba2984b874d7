// The classic protocol's message, in protobuf (https://protobuf.dev/programming-guides/encoding/): proto/proto/classic.proto.

const FIELDS = [
  ['avatar', 'text'], ['fromUsername', 'text'], ['from', 'text'], ['to', 'text'], ['content', 'text'],
  ['contentType', 'number'], ['type', 'text'], ['messageType', 'number'], ['url', 'text'], ['fileSuffix', 'text'],
  ['file', 'bytes'],
];
const VARINT = 0, I64 = 1, LEN = 2, I32 = 5;

/** A message's bytes. Fields that are missing, empty or 0 are left out, as proto3 has it. */
export function encode(message) {
  const parts = [];
  FIELDS.forEach(([name, kind], index) => {
    const value = message[name];
    if (!value || value.length === 0) return;
    if (kind === 'number') {
      parts.push(varint((index + 1) << 3 | VARINT), varint(value));
    } else {
      const bytes = kind === 'text' ? new TextEncoder().encode(value) : value;
      parts.push(varint((index + 1) << 3 | LEN), varint(bytes.length), bytes);
    }
  });
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The message in these bytes, with all its fields. What is no message throws. */
export function decode(bytes) {
  const message = Object.fromEntries(FIELDS.map(([name, kind]) =>
    [name, { text: '', number: 0, bytes: new Uint8Array() }[kind]]));
  let at = 0;
  const number = () => {
    let value = 0, factor = 1;
    for (;;) {
      if (at >= bytes.length || factor > 2 ** 63) throw new Error('no message');
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
  };
  const some = (length) => {
    if (at + length > bytes.length) throw new Error('no message');
    return bytes.subarray(at, at += length);
  };
  while (at < bytes.length) {
    const tag = number();
    const [name, kind] = FIELDS[Math.floor(tag / 8) - 1] ?? [];
    switch (tag % 8) {
      case VARINT: {
        const value = number();
        // Negative ones come as 64 bits.
        if (kind === 'number') message[name] = Number(BigInt.asIntN(32, BigInt(value)));
        break;
      }
      case LEN: {
        const value = some(number());
        if (kind === 'text') message[name] = new TextDecoder().decode(value);
        if (kind === 'bytes') message[name] = value;
        break;
      }
      case I64: some(8); break;
      case I32: some(4); break;
      default: throw new Error('no message');
    }
  }
  return message;
}

function varint(value) {
  const bytes = [];
  while (value > 127) {
    bytes.push(value % 128 | 128);
    value = Math.floor(value / 128);
  }
  bytes.push(value);
  return Uint8Array.from(bytes);
}
