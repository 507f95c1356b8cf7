// What a publisher on the command line sends arrives in a page, byte for byte.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { Program, browser, connected, lines, payload, printed, publisher, relay, until } from './support.mjs';

const numbers = (count) => Array.from({ length: count }, (_, number) => number);

/** Waits until the page has received this many, and returns them in order of group and object. */
async function received(page, kind, count) {
  const enough = ({ kind, count }) => seen.failed.length > 0 || seen[kind].length >= count;
  await page.waitForFunction(enough, { kind, count });
  const { failed, found } = await page.evaluate((kind) => ({ failed: seen.failed, found: seen[kind] }), kind);
  assert.deepEqual(failed, []);
  return found.sort((a, b) => a.group - b.group || a.object - b.object);
}

/** SHA-256 of a payload. */
const digest = (payload) => createHash('sha256').update(payload, 'latin1').digest('hex');

/** Lets the page keep digests of what it has received instead: 40 MB take long out of a page. */
function shorten(page) {
  return page.evaluate(async () => {
    for (const object of seen.objects) object.payload = await moqt.digest(object.payload);
  });
}

/** A page that watches the track of a publisher, before anything is published. */
async function watching(t, ...options) {
  const [server, chrome] = [await relay(t), await browser(t)];
  const source = await publisher(t, server.quic, ...options);
  const page = await connected(chrome, server);
  const accepted = await page.evaluate(() => session.subscribe('live/page', 't'));
  assert.equal(accepted.type, 'SUBSCRIBE_OK');
  return { server, chrome, source, page, accepted };
}

test('every byte of a live track arrives in a page', async (t) => {
  const { source, page, accepted } = await watching(t, '--group-lines', '10');
  const sent = [0, 1, 1000, 70_000].flatMap((length) => numbers(10).map((number) => payload(number, length).slice(0, length)));
  source.write(lines(sent));
  const objects = await received(page, 'objects', sent.length);
  assert.deepEqual(objects.map((object) => object.payload), sent);
  const first = objects[0].group;
  assert.deepEqual(
    objects.map(({ alias, group, object, status }) => [alias, group - first, object, status]),
    sent.map((_, number) => [accepted.alias, Math.floor(number / 10), number % 10, 0]),
  );

  // The end: every stream finished, and counted in PUBLISH_DONE.
  assert.equal(await source.finish(), 0);
  const done = await page.evaluate((id) => session.next('PUBLISH_DONE', id), accepted.id);
  assert.deepEqual([done.code, done.streams], [2, 4]);
  const streams = await page.evaluate(() => seen.streams);
  assert.deepEqual(streams.map((stream) => stream.end), ['fin', 'fin', 'fin', 'fin']);
});

test('a page receives 200 streams', async (t) => {
  const { source, page } = await watching(t);
  const sent = numbers(200).map((number) => payload(number, 1200));
  source.write(lines(sent));
  const objects = await received(page, 'objects', 200);
  assert.deepEqual(objects.map((object) => object.payload), sent);
  assert.equal((await page.evaluate(() => seen.streams)).length, 200);
});

test('a page receives datagrams', async (t) => {
  const { source, page, accepted } = await watching(t, '--datagram');
  const sent = numbers(100).map((number) => payload(number, 300));
  // A page's receive queue is short: the next goes out when the one before has arrived.
  for (const [number, one] of sent.entries()) {
    source.write(lines([one]));
    await received(page, 'datagrams', number + 1);
  }
  const datagrams = await received(page, 'datagrams', sent.length);
  assert.deepEqual(datagrams.map((datagram) => datagram.payload), sent);
  assert.ok(datagrams.every(({ alias, object, status }) => alias === accepted.alias && object === 0 && status === 0));
});

test('a page that does not read disturbs nobody', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const source = await publisher(t, server.quic, '--group-lines', '50');
  const deaf = await connected(chrome, server, { unread: true });
  const page = await connected(chrome, server);
  const watcher = new Program(t, '-v', 'subscribe', server.quic, 'live/page', '--track', 't');
  await watcher.line('subscribed');
  const subscribe = () => session.subscribe('live/page', 't');
  const [accepted, other] = [await deaf.evaluate(subscribe), await page.evaluate(subscribe)];
  assert.deepEqual([accepted.type, other.type], ['SUBSCRIBE_OK', 'SUBSCRIBE_OK']);
  // 40 MB, far more than the windows of a browser hold, at the pace of those who read.
  const sent = numbers(1000).map((number) => payload(number, 40_000));
  for (let at = 0; at < sent.length; at += 25) {
    source.write(lines(sent.slice(at, at + 25)));
    await page.waitForFunction((least) => seen.objects.length >= least, at + 25);
    await until('objects at the watcher', () => watcher.stdout.length >= at + 25);
  }
  assert.deepEqual(watcher.objects().map(printed), sent);
  const digests = sent.map(digest);
  await shorten(page);
  const objects = await received(page, 'objects', sent.length);
  assert.deepEqual(objects.map((object) => object.payload), digests);

  // What a page has not read fills its connection's window, control included. Once it reads, it learns that it was too
  // far behind, and what it got until then is a part of the track.
  const done = deaf.evaluate((id) => session.next('PUBLISH_DONE', id), accepted.id);
  await deaf.evaluate(() => (globalThis.seen = moqt.collect(session)));
  // draft-14 §9.12: TOO_FAR_BEHIND
  assert.equal((await done).code, 0x6);
  await deaf.waitForFunction(() => seen.streams.every((stream) => stream.end !== 'open'));
  await shorten(deaf);
  const late = await received(deaf, 'objects', 0);
  const first = objects[0].group;
  for (const { group, object, payload } of late) assert.equal(payload, digests[(group - first) * 50 + object]);
  const answer = await deaf.evaluate(() => session.publishNamespace('live/deaf'));
  assert.equal(answer.type, 'PUBLISH_NAMESPACE_OK');
});
