// What a page publishes arrives at subscribers on the command line and in other pages.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Program, browser, connected, payload, printed, relay, until } from './support.mjs';

const numbers = (count) => Array.from({ length: count }, (_, number) => number);

/** A page that has announced `live/page`. */
async function announced(chrome, server) {
  const page = await connected(chrome, server);
  const answer = await page.evaluate(() => session.publishNamespace('live/page'));
  assert.equal(answer.type, 'PUBLISH_NAMESPACE_OK');
  return page;
}

/** `moqtail subscribe` for the page's track `t`; the page has accepted the relay's subscription. */
async function subscriber(t, url, page) {
  const program = new Program(t, '-v', 'subscribe', url, 'live/page', '--track', 't');
  const request = await page.evaluate(() => session.accept('t', 9));
  await program.line('subscribed');
  return { program, request };
}

async function objects(program, count) {
  const what = () => `${count} objects, has ${program.stdout.length}:\n${program.stderr.join('\n')}`;
  await until(what, () => program.stdout.length >= count);
  return program.objects().sort((a, b) => a.group - b.group || a.object - b.object);
}

for (const way of ['web', 'quic']) {
  test(`objects, datagrams and the end of a page's track arrive over ${way}`, async (t) => {
    const [server, chrome] = [await relay(t), await browser(t)];
    const page = await announced(chrome, server);
    const { program, request } = await subscriber(t, server[way], page);
    assert.equal(request.namespace, 'live/page');
    const sent = numbers(30).map((number) => payload(number, number * 97));
    await page.evaluate(async (sent) => {
      for (let group = 0; group < 3; group += 1) await session.group(9, group, sent.slice(group * 10, group * 10 + 10));
    }, sent);
    const found = await objects(program, 30);
    assert.deepEqual(found.map(printed), sent);
    assert.deepEqual(
      found.map(({ group, object }) => [group, object]),
      sent.map((_, number) => [Math.floor(number / 10), number % 10]),
    );
    await page.evaluate((id) => session.publishDone(id, 3), request.id);
    assert.equal(await program.finish(), 0);
  });
}

test('200 streams of a page arrive', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await announced(chrome, server);
  const { program } = await subscriber(t, server.quic, page);
  const sent = numbers(200).map((number) => payload(number, 1200));
  await page.evaluate((sent) => Promise.all(sent.map((one, group) => session.group(9, group, [one]))), sent);
  const found = await objects(program, 200);
  assert.deepEqual(found.map(printed), sent);
});

test('datagrams of a page arrive', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await announced(chrome, server);
  const { program } = await subscriber(t, server.quic, page);
  const sent = numbers(100).map((number) => payload(number, 300));
  for (const [group, one] of sent.entries()) {
    await page.evaluate(([group, one]) => session.datagrams().write(moqt.datagram(9, group, one)), [group, one]);
    await objects(program, group + 1);
  }
  assert.deepEqual((await objects(program, 100)).map(printed), sent);
});

test('a track that a page offers by PUBLISH reaches who subscribes to it', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await connected(chrome, server);
  const answer = await page.evaluate(() => session.publish('live/page', 't', 5));
  assert.equal(answer.type, 'PUBLISH_OK');
  const program = new Program(t, '-v', 'subscribe', server.quic, 'live/page', '--track', 't');
  await program.line('subscribed');
  const sent = numbers(10).map((number) => payload(number));
  await page.evaluate((sent) => session.group(5, 0, sent), sent);
  assert.deepEqual((await objects(program, 10)).map(printed), sent);
  await page.evaluate((id) => session.publishDone(id, 1), answer.id);
  assert.equal(await program.finish(), 0);
});

test('a track that a page ended before it left is over, although a stream of it never came', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await announced(chrome, server);
  const { program, request } = await subscriber(t, server.quic, page);
  await page.evaluate((sent) => session.group(9, 0, [sent]), payload(1));
  await objects(program, 1);
  await page.evaluate(async (id) => {
    await session.publishDone(id, 2);
    // What is still on its way is lost with the transport; this answer tells that the relay has read it.
    await session.publishNamespace('live/other');
    session.transport.close();
  }, request.id);
  assert.equal(await program.finish(), 0);
});

test('a stream that one page resets ends with that code in another page', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await announced(chrome, server);
  const viewer = await connected(chrome, server);
  const accepting = page.evaluate(() => session.accept('t', 9));
  assert.equal((await viewer.evaluate(() => session.subscribe('live/page', 't'))).type, 'SUBSCRIBE_OK');
  await accepting;
  const [first, second] = [payload(1), payload(2)];
  await page.evaluate(async (first) => {
    globalThis.writer = await session.subgroup(9, 0);
    await writer.write(moqt.object(first));
  }, first);
  await viewer.waitForFunction(() => seen.objects.length === 1);
  // draft-14 §10.4.3: DELIVERY_TIMEOUT
  await page.evaluate(() => writer.abort(new WebTransportError({ message: 'too late', streamErrorCode: 2 })));
  await viewer.waitForFunction(() => seen.streams[0].end !== 'open');
  await page.evaluate((second) => session.group(9, 1, [second]), second);
  await viewer.waitForFunction(() => seen.objects.length === 2 && seen.streams[1].end !== 'open');
  const { streams, objects, failed } = await viewer.evaluate(() => seen);
  assert.deepEqual(failed, []);
  assert.deepEqual(streams.map(({ end }) => end), [2, 'fin']);
  assert.deepEqual(objects.map((object) => object.payload), [first, second]);
});
