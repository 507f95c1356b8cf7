// What browser tests need around the page: the program under test, Chromium, and a server for the pages.

import { spawn, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

/** How long a test waits for anything, in ms. Generous, for machines that do other work meanwhile. */
export const PATIENCE = 60_000;

const HERE = new URL('.', import.meta.url);
const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];

let binary;

/** Path of `moqtail`, built once; `MOQTAIL_E2E_BINARY` names another one to test. */
function moqtail() {
  binary ??= process.env.MOQTAIL_E2E_BINARY ?? build();
  return binary;
}

function build() {
  const options = ['build', '--quiet', '--workspace', '--bin', 'moqtail', '--message-format', 'json'];
  const stdio = ['ignore', 'pipe', 'inherit'];
  const { stdout } = spawnSync('cargo', options, { cwd: HERE, stdio, encoding: 'utf8', maxBuffer: 1 << 30 });
  const messages = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const found = messages.find((message) => message.executable && message.target.name === 'moqtail');
  if (!found) throw new Error('moqtail does not build');
  return found.executable;
}

/** Waits until `find` gives something. `what` is for the error when it never does. */
export async function until(what, find, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await find();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${typeof what === 'function' ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A running `moqtail`; ends with the test that started it. */
export class Program {
  stdout = [];
  stderr = [];

  constructor(test, ...options) {
    const environment = Object.entries(process.env).filter(([name]) => !name.startsWith('MOQTAIL_'));
    this.options = options;
    this.child = spawn(moqtail(), options, { env: Object.fromEntries(environment) });
    createInterface({ input: this.child.stderr }).on('line', (line) => this.stderr.push(line));
    createInterface({ input: this.child.stdout }).on('line', (line) => this.stdout.push(line));
    this.child.stdin.on('error', () => {});
    this.exit = new Promise((resolve) => this.child.on('close', (code) => resolve(code)));
    test.after(async () => {
      this.child.kill('SIGKILL');
      await this.exit;
    });
  }

  /** The first line of standard error or output with this text. */
  line(words) {
    const lines = () => [...this.stderr, ...this.stdout];
    const what = () => `${words} from moqtail ${this.options.join(' ')}:\n${lines().slice(-20).join('\n')}`;
    return until(what, () => lines().find((line) => line.includes(words)));
  }

  write(bytes) {
    this.child.stdin.write(bytes);
  }

  /** Closes standard input and waits for the end; returns the exit code. */
  async finish() {
    this.child.stdin.end();
    await until(
      () => `the end of moqtail ${this.options.join(' ')}:\n${this.stderr.join('\n')}`,
      () => this.child.exitCode !== null,
    );
    return this.exit;
  }

  /** Objects that `moqtail subscribe` printed. */
  objects() {
    return this.stdout.map((line) => JSON.parse(line));
  }
}

/** A relay on a free port. */
export async function relay(test) {
  const program = new Program(test, 'relay', '-v', '--listen', 'localhost:0');
  const line = await program.line('listening on 127.0.0.1:');
  const [port] = line.split('127.0.0.1:')[1].match(/^\d+/);
  const web = `https://localhost:${port}`;
  return { program, url: web, web, quic: `moqt://localhost:${port}`, http: `http://localhost:${port}` };
}

/** Lines of standard input as objects of `live/page`, track `t`. */
export async function publisher(test, url, ...options) {
  const program = new Program(test, 'publish', url, 'live/page', '--lines', '--track', 't', ...options);
  await program.line('Publishing live/page#t.');
  return program;
}

/** A payload of this length, different for each number, with every byte but line ends. One character is one byte. */
export function payload(number, length = 400) {
  let state = number + 1;
  const head = `${number}:`;
  const rest = Array.from({ length: Math.max(0, length - head.length) }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const byte = state >>> 24;
    return String.fromCharCode(byte === 10 || byte === 13 ? 1 : byte);
  });
  return head + rest.join('');
}

/** Payloads as lines for `moqtail publish --lines`. */
export function lines(payloads) {
  return Buffer.from(payloads.map((one) => `${one}\n`).join(''), 'latin1');
}

/** The payload of an object that `moqtail subscribe` printed. */
export function printed(object) {
  const bytes = object.text === undefined ? Buffer.from(object.base64, 'base64') : Buffer.from(object.text);
  return bytes.toString('latin1');
}

const KINDS = { '.html': 'text/html', '.mjs': 'text/javascript', '.js': 'text/javascript' };

/** Serves `page/` and `node_modules/` on http://localhost, a secure context. */
async function serve() {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname;
    const folder = path.startsWith('/node_modules/') ? new URL('..', HERE) : new URL('page/', HERE);
    try {
      const body = await readFile(fileURLToPath(new URL(`.${path === '/' ? '/empty.html' : path}`, folder)));
      response.setHeader('content-type', KINDS[extname(path)] ?? 'text/html');
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, 'localhost', resolve));
  return server;
}

/** A Chromium with a fresh profile, and pages in it. One process per call, so that a test may kill it. */
export async function browser(test) {
  const [chrome, server] = [
    await chromium.launchServer({ executablePath: EXECUTABLE, headless: true, args: FLAGS }),
    await serve(),
  ];
  const client = await chromium.connect(chrome.wsEndpoint());
  test.after(async () => {
    await chrome.kill();
    server.closeAllConnections();
    server.close();
  });
  return {
    process: chrome.process(),
    /** A page; what goes wrong in it is printed. */
    async page(path = '/') {
      const page = await client.newPage();
      page.setDefaultTimeout(PATIENCE);
      page.on('console', (message) => message.type() === 'error' && console.error(`page: ${message.text()}`));
      page.on('pageerror', (error) => console.error(`page: ${error}`));
      await page.goto(`http://localhost:${server.address().port}${path}`);
      return page;
    },
  };
}

/** A page with a session to the relay in its global `session`, what it receives in `seen`. */
export async function connected(chrome, relay, options = {}) {
  const page = await chrome.page();
  const target = { url: relay.web, hash: await hash(relay), ...options };
  await page.evaluate(async (target) => {
    globalThis.moqt = await import('/moqt.mjs');
    globalThis.session = await moqt.connect(target);
    if (!target.unread) globalThis.seen = moqt.collect(session);
  }, target);
  return page;
}

/** The relay's fingerprint, as pages fetch it. */
export async function hash(relay) {
  return (await (await fetch(`${relay.http}/certificate.sha256`)).text()).trim();
}
