// A small MOQT draft 14 session over a browser's WebTransport, independent of the library under test.

import { Fields, concat, latin1, namespace, prefixed, text, varint } from './wire.mjs';

const CLIENT_SETUP = 0x20;
const SERVER_SETUP = 0x21;
const VERSION = 0xff00000e;
const MAX_REQUEST_ID = 0x02;

/** Filters of SUBSCRIBE (draft-14 §5.1.2). */
export const NEXT_GROUP = 1;
export const LARGEST_OBJECT = 2;

/** Body of each message that the relay may send, by its type. */
const BODIES = {
  [SERVER_SETUP]: ['SERVER_SETUP', async (f) => ({ version: await f.varint() })],
  0x03: [
    'SUBSCRIBE',
    async (f) => ({ id: await f.varint(), namespace: await f.namespace(), track: await f.text() }),
  ],
  0x04: ['SUBSCRIBE_OK', async (f) => ({ id: await f.varint(), alias: await f.varint() })],
  0x05: ['SUBSCRIBE_ERROR', failure],
  0x02: ['SUBSCRIBE_UPDATE', async (f) => ({ id: await f.varint() })],
  0x0a: ['UNSUBSCRIBE', async (f) => ({ id: await f.varint() })],
  0x0b: [
    'PUBLISH_DONE',
    async (f) => ({ id: await f.varint(), code: await f.varint(), streams: await f.varint(), reason: await f.text() }),
  ],
  0x07: ['PUBLISH_NAMESPACE_OK', async (f) => ({ id: await f.varint() })],
  0x08: ['PUBLISH_NAMESPACE_ERROR', failure],
  0x1e: ['PUBLISH_OK', async (f) => ({ id: await f.varint(), forward: await f.u8() })],
  0x1f: ['PUBLISH_ERROR', failure],
  0x10: ['GOAWAY', async (f) => ({ uri: await f.text() })],
  0x15: ['MAX_REQUEST_ID', async (f) => ({ limit: await f.varint() })],
};

async function failure(f) {
  return { id: await f.varint(), code: await f.varint(), reason: await f.text() };
}

function hexBytes(hex) {
  return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}

/** Opens a session and exchanges SETUP. */
export async function connect({ url, hash, protocols }) {
  const session = await open({ url, hash, protocols });
  const parameters = concat(varint(1), varint(MAX_REQUEST_ID), varint(100));
  await session.send(CLIENT_SETUP, varint(1), varint(VERSION), parameters);
  session.setup = await session.next('SERVER_SETUP');
  return session;
}

/** Opens the transport and the control stream, and sends nothing yet. */
export async function open({ url, hash, protocols }) {
  const serverCertificateHashes = [{ algorithm: 'sha-256', value: hexBytes(hash) }];
  const transport = new WebTransport(url, { serverCertificateHashes, ...(protocols && { protocols }) });
  await transport.ready;
  return new Session(transport, await transport.createBidirectionalStream());
}

class Session {
  #writer;
  #nextId = 0;
  #waiting = [];

  /** Every control message that came, in order. */
  log = [];

  constructor(transport, control) {
    this.transport = transport;
    this.#writer = control.writable.getWriter();
    this.closed = transport.closed.then(
      ({ closeCode, reason }) => ({ closeCode, reason }),
      (error) => ({ lost: String(error) }),
    );
    this.#read(control.readable.getReader()).catch((error) => this.log.push({ type: 'ended', error: String(error) }));
  }

  /** Sends a control message. */
  send(type, ...fields) {
    const body = concat(...fields);
    const length = Uint8Array.of(body.length >> 8, body.length & 0xff);
    return this.#writer.write(concat(varint(type), length, body));
  }

  /** The next Request ID of this client. */
  request() {
    const id = this.#nextId;
    this.#nextId += 2;
    return id;
  }

  /** The first message of one of these types, about `id` if given; also one that came before. */
  async next(types, id) {
    const fits = (message) => [types].flat().includes(message.type) && (id === undefined || message.id === id);
    const found = this.log.find(fits);
    return found ?? new Promise((resolve) => this.#waiting.push({ fits, resolve }));
  }

  /** Subscribes and returns SUBSCRIBE_OK or SUBSCRIBE_ERROR. */
  async subscribe(name, track, filter = LARGEST_OBJECT) {
    const id = this.request();
    const settings = Uint8Array.of(128, 0, 1, filter);
    await this.send(0x03, varint(id), namespace(name), prefixed(track), settings, varint(0));
    return this.next(['SUBSCRIBE_OK', 'SUBSCRIBE_ERROR'], id);
  }

  /** Announces a namespace and returns the relay's answer. */
  async publishNamespace(name) {
    const id = this.request();
    await this.send(0x06, varint(id), namespace(name), varint(0));
    return this.next(['PUBLISH_NAMESPACE_OK', 'PUBLISH_NAMESPACE_ERROR'], id);
  }

  /** Waits for the relay's SUBSCRIBE of a track and accepts it under this alias. */
  async accept(track, alias) {
    const request = await this.next('SUBSCRIBE');
    if (request.track !== track) throw new Error(`the relay wants ${request.track}`);
    await this.send(0x04, varint(request.id), varint(alias), varint(0), Uint8Array.of(1, 0), varint(0));
    return request;
  }

  /** Offers a track by PUBLISH and returns the relay's answer. */
  async publish(name, track, alias) {
    const id = this.request();
    const settings = Uint8Array.of(1, 0, 1);
    await this.send(0x1d, varint(id), namespace(name), prefixed(track), varint(alias), settings, varint(0));
    return this.next(['PUBLISH_OK', 'PUBLISH_ERROR'], id);
  }

  /** Ends a track with TRACK_ENDED. */
  publishDone(id, streams) {
    return this.send(0x0b, varint(id), varint(2), varint(streams), prefixed('the page has ended'));
  }

  /** A stream of one subgroup with its header written; the caller writes objects and closes it. */
  async subgroup(alias, group) {
    const stream = await this.transport.createUnidirectionalStream();
    const writer = stream.getWriter();
    await writer.write(concat(varint(0x10), varint(alias), varint(group), Uint8Array.of(128)));
    return writer;
  }

  /** A whole group on a stream of its own. */
  async group(alias, group, payloads) {
    const writer = await this.subgroup(alias, group);
    for (const payload of payloads) await writer.write(object(payload));
    await writer.close();
  }

  /** A writer of datagrams. */
  datagrams() {
    this.datagramWriter ??= this.transport.datagrams.writable.getWriter();
    return this.datagramWriter;
  }

  async #read(reader) {
    const fields = new Fields(reader);
    while (!(await fields.ended())) {
      const type = await fields.varint();
      const length = ((await fields.u8()) << 8) | (await fields.u8());
      const body = new Fields(await fields.bytes(length));
      const [name, decode] = BODIES[type] ?? [`0x${type.toString(16)}`, async () => ({})];
      const message = { type: name, ...(await decode(body)) };
      this.log.push(message);
      this.#waiting = this.#waiting.filter(({ fits, resolve }) => !(fits(message) && (resolve(message), true)));
    }
  }
}

/** An object on a stream, its id the one after the object before. */
export function object(payload) {
  const bytes = latin1(payload);
  return concat(varint(0), varint(bytes.length), bytes, ...(bytes.length === 0 ? [varint(0)] : []));
}

/** A datagram with one object of id 0. */
export function datagram(alias, group, payload) {
  return concat(varint(0x04), varint(alias), varint(group), Uint8Array.of(128), latin1(payload));
}

/** SHA-256 of a payload, as hex. */
export async function digest(payload) {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', latin1(payload)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Reads all streams and datagrams that arrive from now on into the lists it returns. */
export function collect(session) {
  const seen = { objects: [], streams: [], datagrams: [], failed: [] };
  const fail = (error) => session.over || seen.failed.push(String(error));
  session.closed.then(() => (session.over = true));
  each(session.transport.incomingUnidirectionalStreams, (stream) => void readSubgroup(stream, seen).catch(fail)).catch(fail);
  each(session.transport.datagrams.readable, async (bytes) => seen.datagrams.push(await readDatagram(bytes))).catch(fail);
  return seen;
}

async function each(readable, take) {
  const reader = readable.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    await take(value);
  }
}

async function readSubgroup(stream, seen) {
  const fields = new Fields(stream.getReader());
  const entry = { end: 'open' };
  seen.streams.push(entry);
  try {
    const type = await fields.varint();
    if (type < 0x10 || type > 0x1d || (type & 0x06) === 0x06) throw new Error(`stream type ${type}`);
    entry.alias = await fields.varint();
    entry.group = await fields.varint();
    if (type & 0x04) entry.subgroup = await fields.varint();
    const priority = await fields.u8();
    for (let next = 0; !(await fields.ended()); next += 1) {
      next += await fields.varint();
      if (type & 0x01) await fields.bytes(await fields.varint());
      const length = await fields.varint();
      const status = length === 0 ? await fields.varint() : 0;
      const payload = text(await fields.bytes(length));
      seen.objects.push({ alias: entry.alias, group: entry.group, object: next, priority, status, payload });
    }
    entry.end = 'fin';
  } catch (error) {
    if (!(error instanceof WebTransportError)) throw error;
    entry.end = error.source === 'stream' ? error.streamErrorCode : 'lost';
  }
}

async function readDatagram(bytes) {
  const fields = new Fields(bytes);
  const type = await fields.varint();
  const alias = await fields.varint();
  const group = await fields.varint();
  const object = type & 0x04 ? 0 : await fields.varint();
  await fields.u8();
  if (type & 0x01) await fields.bytes(await fields.varint());
  const status = type & 0x20 ? await fields.varint() : 0;
  return { alias, group, object, status, payload: text(await fields.rest()) };
}
