// MOQT clients of others in a page: what viewers meet first.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import test from 'node:test';
import { Program, browser, hash, lines, payload, printed, publisher, relay, until } from './support.mjs';

const SAMPLE = fileURLToPath(new URL('../../../crates/moqtail-media/assets/sample.mp4', import.meta.url));

/** A page in which a script of a package is loaded. */
async function pageWith(chrome, script) {
  const page = await chrome.page();
  await page.addScriptTag({ url: `/node_modules/${script}` });
  return page;
}

/** A page with a session of `@moqt/webtransport` in its global `connection`. */
async function moqtPage(chrome, server) {
  const page = await pageWith(chrome, '@moqt/webtransport/dist/browser/index.global.js');
  const target = { url: server.web, hash: await hash(server) };
  await page.evaluate(async ({ url, hash }) => {
    globalThis.bytes = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));
    globalThis.failures = [];
    const value = Uint8Array.from(hash.match(/../g), (pair) => parseInt(pair, 16));
    const transport = new WebTransport(url, { serverCertificateHashes: [{ algorithm: 'sha-256', value }] });
    await transport.ready;
    globalThis.connection = new MoqtWebTransport.MoqtConnection(14);
    connection.onError = (error) => failures.push(String(error));
    // It grants the relay no requests by itself.
    await connection.connect(transport, { maxRequestId: 100n });
  }, target);
  return page;
}

test('@moqt/webtransport receives a live track', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const source = await publisher(t, server.quic, '--group-lines', '10');
  const page = await moqtPage(chrome, server);
  await page.evaluate(async () => {
    globalThis.seen = [];
    const onObject = ({ kind, groupId, objectId, payload }) => {
      if (kind !== 'data') return;
      seen.push({ group: Number(groupId), object: Number(objectId), payload: String.fromCharCode(...payload) });
    };
    globalThis.track = await connection.subscribeTrack([bytes('live'), bytes('page')], bytes('t'), { onObject });
  });
  const sent = Array.from({ length: 100 }, (_, number) => payload(number));
  source.write(lines(sent));
  await page.waitForFunction(() => failures.length > 0 || seen.length >= 100);
  assert.deepEqual(await page.evaluate(() => failures), []);
  const found = (await page.evaluate(() => seen)).sort((a, b) => a.group - b.group || a.object - b.object);
  assert.deepEqual(found.map((object) => object.payload), sent);
});

test('@moqt/webtransport publishes a track', async (t) => {
  const [server, chrome] = [await relay(t), await browser(t)];
  const page = await moqtPage(chrome, server);
  await page.evaluate(async () => {
    connection.onSubscribe = (id) => void connection.acceptSubscribe(id, 4n).then(() => (globalThis.accepted = true));
    await connection.publishNamespace([bytes('live'), bytes('page')]);
  });
  const program = new Program(t, '-v', 'subscribe', server.quic, 'live/page', '--track', 't');
  await program.line('subscribed');
  const sent = Array.from({ length: 20 }, (_, number) => payload(number));
  await page.waitForFunction(() => globalThis.accepted);
  await page.evaluate(async (sent) => {
    const stream = await connection.openSubgroup(4n, 0n, 0n, { publisherPriority: 128 });
    for (const [number, payload] of sent.entries()) await connection.sendObject(stream, BigInt(number), bytes(payload));
    await connection.closeSubgroup(stream);
  }, sent);
  const what = () => `20 objects, has ${program.stdout.length}; ${program.stderr.join('\n')}`;
  await until(what, () => program.stdout.length >= 20);
  assert.deepEqual(program.objects().map(printed), sent);
  assert.deepEqual(await page.evaluate(() => failures), []);
});

/** Plays `live/film` with shaka in a page of its own until 3 s of it were shown. */
async function watch(chrome, server) {
  const page = await pageWith(chrome, 'shaka-player/dist/shaka-player.experimental.js');
  await page.evaluate(async ({ web, http }) => {
    const video = document.body.appendChild(document.createElement('video'));
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    globalThis.failures = [];
    player.addEventListener('error', ({ detail }) => failures.push(`${detail.code}: ${detail.data}`));
    await player.attach(video);
    const fingerprintUri = `${http}/certificate.sha256`;
    player.configure({ manifest: { msf: { version: 'draft-14', fingerprintUri, namespaces: ['live', 'film'] } } });
    await player.load(`${web}/`, null, 'application/msf');
    await video.play();
  }, { web: server.web, http: server.http });
  await page.waitForFunction(() => {
    const video = document.querySelector('video');
    const { totalVideoFrames } = video.getVideoPlaybackQuality();
    return failures.length > 0 || (totalVideoFrames > 90 && video.webkitAudioDecodedByteCount > 0 && !video.paused);
  });
  assert.deepEqual(await page.evaluate(() => failures), []);
}

for (const way of ['quic', 'web']) {
  test(`shaka plays a broadcast that is published over ${way}, also for who comes later`, async (t) => {
    const [server, chrome] = [await relay(t), await browser(t)];
    const source = new Program(t, 'publish', server[way], 'live/film', SAMPLE, '--loop', '--hold', '0s');
    await source.line('Publishing live/film');
    await watch(chrome, server);
    await watch(chrome, server);
  });
}
