// Bytes of draft 14 as tests in a page write and read them.

const utf8 = new TextEncoder();

/** Joins byte arrays. */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A variable-length integer (draft-14 §1.4.1) in its shortest form. */
export function varint(value) {
  const number = BigInt(value);
  const log = [6n, 14n, 30n, 62n].findIndex((bits) => number < 1n << bits);
  if (number < 0n || log < 0) throw new RangeError(`${value} is no varint`);
  const bytes = new Uint8Array(1 << log);
  for (let at = bytes.length - 1, rest = number; at >= 0; at -= 1, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  bytes[0] |= log << 6;
  return bytes;
}

/** Bytes or text with their length in front. */
export function prefixed(value) {
  const bytes = typeof value === 'string' ? utf8.encode(value) : value;
  return concat(varint(bytes.length), bytes);
}

/** A namespace from its printed form. */
export function namespace(name) {
  const fields = name.split('/');
  return concat(varint(fields.length), ...fields.map(prefixed));
}

/** Each character as one byte; payloads travel between page and test like this. */
export function latin1(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** The reverse of `latin1`. */
export function text(bytes) {
  let whole = '';
  for (let at = 0; at < bytes.length; at += 8192) whole += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return whole;
}

/** Reads fields off a stream of byte chunks, waiting for what has not arrived. */
export class Fields {
  #held = new Uint8Array();
  #source;

  /** @param source a reader of a ReadableStream, or bytes that are complete */
  constructor(source) {
    if (source instanceof Uint8Array) this.#held = source;
    else this.#source = source;
  }

  /** Whether nothing more comes. */
  async ended() {
    while (this.#held.length === 0) {
      if (!(await this.#more())) return true;
    }
    return false;
  }

  async bytes(count) {
    while (this.#held.length < count) {
      if (!(await this.#more())) throw new Error(`ended ${count - this.#held.length} bytes early`);
    }
    const taken = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return taken;
  }

  async rest() {
    while (await this.#more());
    return this.bytes(this.#held.length);
  }

  async u8() {
    return (await this.bytes(1))[0];
  }

  async varint() {
    const first = await this.u8();
    let value = BigInt(first & 0x3f);
    for (const byte of await this.bytes((1 << (first >> 6)) - 1)) value = (value << 8n) | BigInt(byte);
    return Number(value);
  }

  async text() {
    return new TextDecoder('utf-8', { fatal: true }).decode(await this.bytes(await this.varint()));
  }

  async namespace() {
    const fields = [];
    for (let left = await this.varint(); left > 0; left -= 1) fields.push(await this.text());
    return fields.join('/');
  }

  async #more() {
    if (!this.#source) return false;
    const { value, done } = await this.#source.read();
    if (done) return false;
    this.#held = this.#held.length === 0 ? value : concat(this.#held, value);
    return true;
  }
}
