// Setup, ends and codes of a session between a page and the relay.

import assert from 'node:assert/strict';
import test from 'node:test';
import { browser, connected, hash, publisher, relay } from './support.mjs';

test('a page sets up a session, with a protocol offer and without', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const cases = [
    [['moq-00'], 'moq-00'],
    [['moqt-99', 'moq-00'], 'moq-00'],
    [['moqt-99'], ''],
    [undefined, ''],
  ];
  for (const [protocols, chosen] of cases) {
    const page = await connected(chrome, server, { protocols });
    const found = await page.evaluate(() => [session.transport.protocol ?? '', session.setup.version]);
    assert.deepEqual(found, [chosen, 0xff00000e], `offer ${protocols}`);
    await page.close();
  }
});

test('a page fetches the fingerprint from the relay itself', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await chrome.page();
  const fetched = await page.evaluate(
    async (url) => (await fetch(`${url}/certificate.sha256`)).text().then((text) => text.trim()),
    server.http,
  );
  assert.match(fetched, /^[0-9a-f]{64}$/);
  assert.equal(fetched, await hash(server));
});

test('the relay learns with which code and reason a page closed', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await connected(chrome, server);
  await page.evaluate(() => session.transport.close({ closeCode: 4242, reason: 'seen enough' }));
  await server.program.line('closed by the peer with 0x1092 (seen enough)');
});

test('a page learns with which code and reason the relay closed', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await connected(chrome, server);
  const closed = await page.evaluate(async () => {
    session.request = () => 7;
    void session.publishNamespace('live/odd');
    return session.closed;
  });
  // draft-14 §9.1: INVALID_REQUEST_ID
  assert.equal(closed.closeCode, 0x4);
  assert.match(closed.reason, /Request ID 7.*draft-14 §9\.1/);
});

test('an unknown message type closes the session of the page alone', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const [page, other] = [await connected(chrome, server), await connected(chrome, server)];
  const closed = await page.evaluate(async () => {
    await session.send(0x41);
    return session.closed;
  });
  assert.equal(closed.closeCode, 0x3);
  const answer = await other.evaluate(() => session.publishNamespace('live/still'));
  assert.equal(answer.type, 'PUBLISH_NAMESPACE_OK');
});

test('pages are told to go before the relay ends, and those that stay are closed', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  await publisher(t, server.quic);
  const [idle, watching] = [await connected(chrome, server), await connected(chrome, server)];
  assert.equal((await watching.evaluate(() => session.subscribe('live/page', 't'))).type, 'SUBSCRIBE_OK');
  server.program.child.kill('SIGTERM');
  const end = (page) => page.evaluate(async () => [(await session.next('GOAWAY')).uri, (await session.closed).closeCode]);
  // draft-14 §3.5: NO_ERROR where nothing was left to end, else GOAWAY_TIMEOUT
  assert.deepEqual(await Promise.all([end(idle), end(watching)]), [['', 0x0], ['', 0x10]]);
  assert.equal(await server.program.finish(), 0);
});

test('a track that nobody publishes is refused at once', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await connected(chrome, server);
  const answer = await page.evaluate(() => session.subscribe('live/nobody', 't'));
  assert.deepEqual([answer.type, answer.code], ['SUBSCRIBE_ERROR', 0x4]);
  assert.match(answer.reason, /not found/);
});
