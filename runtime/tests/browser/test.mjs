// Two people in two browsers: they register, make friends, talk, send a picture, meet in a group, and read it all again after a
// reload. The page is the one that a server shows by itself.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { startServer } from './server.mjs';

const PATIENCE_MS = 15_000;
/** One green pixel. */
const PICTURE = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M/wHwAEBgIApD5fRAAAAABJRU5ErkJggg==', 'base64');

let browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--no-sandbox', '--disable-background-networking', '--disable-gpu', '--disable-dev-shm-usage'],
  });
});

after(() => browser?.close());

/** Somebody with a browser of their own. */
async function somebody(name, address, people) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, baseURL: address });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  const person = { name, context, page, errors };
  people.push(person);
  return person;
}

async function enter({ page, name }, how) {
  await page.goto('/');
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Password').fill(`the password of ${name}`);
  await page.getByRole('button', { name: how }).click();
  await page.getByRole('status').getByText('connected').waitFor();
}

async function add({ page }, name, how) {
  await page.getByLabel('Name of a user or a group').fill(name);
  await page.getByRole('button', { name: how }).click();
  await page.getByRole('heading', { name, exact: true }).waitFor();
}

async function choose({ page }, name) {
  await page.getByRole('navigation').getByRole('button', { name }).click();
  await page.getByRole('heading', { name, exact: true }).waitFor();
}

async function say({ page }, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

const line = ({ page }, text) => page.getByRole('listitem').filter({ hasText: text });
const sees = (person, text) => line(person, text).waitFor();

/** What is in the conversation, without the times, when the server has all of it. */
async function lines({ page }, count) {
  const items = page.getByRole('listitem');
  await items.nth(count - 1).waitFor();
  await page.getByRole('listitem').filter({ hasText: /^sending/ }).waitFor({ state: 'detached' });
  return items.evaluateAll((all) => all.map((item) => item.lastChild.tagName ?? item.lastChild.textContent));
}

/** Waits until the picture in the conversation is there and can be shown. */
async function seesPicture({ page }) {
  const image = page.getByRole('listitem').getByRole('img');
  await image.waitFor();
  await page.waitForFunction((element) => element.complete && element.naturalWidth === 1, await image.elementHandle());
  return image.getAttribute('src');
}

async function story(address, people) {
  const alice = await somebody('alice', address, people);
  const bob = await somebody('bob', address, people);
  await enter(alice, 'Register');
  await enter(bob, 'Register');

  await add(alice, 'bob', 'Add friend');
  await say(alice, 'hello bob');
  // Who is written to by a stranger finds the conversation there.
  await choose(bob, 'alice');
  await sees(bob, 'hello bob');
  await say(bob, 'hello alice <b>&amp;</b>');
  await sees(alice, 'hello alice <b>&amp;</b>');

  await alice.page.getByLabel('File').setInputFiles({ name: 'pixel.png', mimeType: 'image/png', buffer: PICTURE });
  assert.match(await seesPicture(bob), /^\/file\/[0-9a-f]{32}\.png$/);
  const direct = ['hello bob', 'hello alice <b>&amp;</b>', 'IMG'];
  assert.deepEqual(await lines(alice, 3), direct);
  assert.deepEqual(await lines(bob, 3), direct);

  await add(alice, 'chess', 'Make group');
  await add(bob, 'chess', 'Join group');
  // The shards are told of who has joined; until then it is not for him.
  await say(bob, 'may I?');
  await sees(alice, 'may I?');
  await say(alice, 'e4');
  await sees(bob, 'e4');

  for (const person of [alice, bob]) {
    await person.page.reload();
    await person.page.getByRole('status').getByText('connected').waitFor();
  }
  await choose(alice, 'bob');
  assert.deepEqual(await lines(alice, 3), direct);
  await seesPicture(alice);
  await choose(bob, 'chess');
  assert.deepEqual(await lines(bob, 2), ['may I?', 'e4']);

  // The cookie is all that makes a browser somebody, and no script sees it.
  const [cookie] = await alice.context.cookies();
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.secure, address.startsWith('https:'));
  assert.equal(await alice.page.evaluate(() => document.cookie), '');
  await alice.page.getByRole('button', { name: 'Log out' }).click();
  await alice.page.getByRole('button', { name: 'Register' }).waitFor();
  assert.deepEqual(await alice.context.cookies(), []);
  await enter(alice, 'Log in');
  await choose(alice, 'chess');
  assert.deepEqual(await lines(alice, 2), ['may I?', 'e4']);
  for (const { name, errors } of people) assert.deepEqual(errors, [], `what ${name}'s browser complains of`);
}

async function played(mode, context, isTls) {
  const server = await startServer(mode, isTls);
  const people = [];
  try {
    await story(server.address, people);
  } catch (error) {
    for (const { name, page, errors } of people) {
      const path = `${import.meta.dirname}/failure-${mode}${isTls ? '-tls' : ''}-${name}.png`;
      await page.screenshot({ path }).catch(() => {});
      context.diagnostic(`${name}: see ${path}; the browser complains of ${JSON.stringify(errors)}`);
    }
    context.diagnostic(`the server says:\n${server.log()}`);
    throw error;
  } finally {
    for (const { context: own } of people) await own.close();
    await server.stop();
  }
}

test('two users of a server with passwords', (context) => played('password', context));
test('two users of a server that believes everybody', (context) => played('open', context));
test('two users of a server that speaks TLS', (context) => played('password', context, true));
