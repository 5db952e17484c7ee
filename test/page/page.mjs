// Uses the status page in Chromium and prints what it found. See main.go.
import assert from 'node:assert/strict';
import {chromium} from 'playwright-core';
import {attacks} from './attacks.mjs';
import {looks} from './looks.mjs';
import {program} from './program.mjs';
import {uses} from './uses.mjs';

const at = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: at.chromium,
  args: ['--no-sandbox', '--host-resolver-rules=MAP evil.example 127.0.0.1'],
});

// open makes a page of its own and keeps what went wrong in it.
async function open(options = {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 900}, ...options});
  const page = await context.newPage();
  const wrong = [], asked = [];
  page.on('pageerror', (e) => wrong.push(`error: ${e.message}`));
  page.on('console', (m) => { if (m.type() === 'error') wrong.push(`console: ${m.text()}`); });
  page.on('dialog', (d) => { wrong.push(`dialog: ${d.message()}`); d.dismiss(); });
  page.on('request', (r) => asked.push(r.url()));
  page.setDefaultTimeout(10_000);
  return {page, wrong, asked, close: () => context.close()};
}

const world = {
  at,
  open,
  status: `http://${at.status}/`,
  // calls are what changed the program so far.
  calls: async () => (await (await fetch(`http://${at.control}/calls`)).text()).split('\n').filter(Boolean),
  down: (name) => fetch(`http://${at.control}/down/${encodeURIComponent(name)}`, {method: 'POST'}),
};

let failed = 0;
for (const [name, check] of Object.entries({...looks, ...uses, ...attacks, ...program})) {
  const began = Date.now();
  try {
    await check(world, assert);
    console.log(`ok    ${name} (${Date.now() - began} ms)`);
  } catch (e) {
    failed++;
    console.log(`FAIL  ${name}\n${e.stack}`);
  }
}
await browser.close();
process.exitCode = failed ? 1 : 0;
