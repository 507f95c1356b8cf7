// Pages that stay long, and pages that go without a word.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Program, browser, connected, lines, payload, printed, publisher, relay, until } from './support.mjs';

/** Longer than the idle timeout of the relay, in ms. */
const LONG = 33_000;

/** Whether the relay knows a publisher of `live/tab`. */
async function announced(t, server) {
  const asking = new Program(t, 'subscribe', server.quic, 'live/tab', '--track', 't', '--no-wait', '--timeout', '1s');
  assert.equal(await asking.finish(), 1);
  return !asking.stderr.at(-1).includes('not found');
}

/** A page that publishes `live/tab` and watches a track, in the midst of both. */
async function busy(chrome, server) {
  const page = await connected(chrome, server);
  await page.evaluate(() => session.publishNamespace('live/tab'));
  assert.equal((await page.evaluate(() => session.subscribe('live/page', 't'))).type, 'SUBSCRIBE_OK');
  return page;
}

/** Ends the page or its browser in the midst of a stream; the relay forgets it, and a watcher misses nothing. */
async function gone(t, end) {
  const [server, chrome] = [await relay(t), await browser(t)];
  const source = await publisher(t, server.quic, '--group-lines', '100000');
  const watcher = new Program(t, '-v', 'subscribe', server.quic, 'live/page', '--track', 't');
  await watcher.line('subscribed');
  const page = await busy(chrome, server);
  const sent = [];
  let publishing = true;
  const writer = (async () => {
    while (publishing) {
      sent.push(payload(sent.length, 2000));
      source.write(lines(sent.slice(-1)));
      await until('the watcher', () => watcher.stdout.length === sent.length);
    }
  })();
  await page.waitForFunction(() => seen.objects.length > 50);
  assert.ok(await announced(t, server));
  await end(page, chrome);
  await server.program.line('session ended');
  await until('the relay to forget live/tab', async () => !(await announced(t, server)));
  publishing = false;
  await writer;
  assert.deepEqual(watcher.objects().map(printed), sent);
}

test('a tab that is closed is forgotten at once', (t) => gone(t, (page) => page.close()));

test('a tab that crashes is forgotten at once', (t) => gone(t, (page) => page.goto('chrome://crash').catch(() => {})));

test('a browser that is killed is forgotten after the idle timeout', (t) =>
  gone(t, (_, chrome) => chrome.process.kill('SIGKILL')));

test('a page stays connected although it sends nothing on its QPACK streams', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await connected(chrome, server);
  await page.evaluate(() => session.publishNamespace('live/page'));
  const program = new Program(t, '-v', 'subscribe', server.web, 'live/page', '--track', 't');
  await page.evaluate(() => session.accept('t', 9));
  await program.line('subscribed');
  // The relay is told of the streams before this one by its number.
  const [before, after] = [payload(1), payload(2)];
  await page.evaluate((before) => session.group(9, 0, [before]), before);
  await until('the first object', () => program.stdout.length === 1);
  const started = Date.now();
  await until('time to pass', () => Date.now() - started > LONG);
  await page.evaluate((after) => session.group(9, 1, [after]), after);
  await until('the second object', () => program.stdout.length === 2);
  assert.deepEqual(program.objects().map(printed), [before, after]);
  assert.ok(!server.program.stderr.some((line) => line.includes('session ended')));
});
