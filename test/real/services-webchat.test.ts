import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { createDialer } from '../../src/verify/dialer.js';
import { verify } from '../../src/verify/run.js';
import { SITE } from '../fixtures/verify-plan.js';
import {
  browsersFor,
  chatInBrowser,
  hear,
  logIn,
  recover,
  seePicture,
  type BrowserOptions,
  type Browsers,
} from '../helpers/chat-in-browser.js';
import { startWebchat, type TestWebchat } from '../helpers/matrix-web.js';

const host = createHost();
const { domain } = SITE;
const OWN = [`chat.${domain}`, domain, `matrix.${domain}`].sort();
let kit: TestWebchat;
let folder: string;
let options: BrowserOptions;
let browsers: Browsers;

beforeAll(async () => {
  kit = await startWebchat(host, { ...SITE, languages: ['en', 'es', 'ar'] });
  // Pictures of the pages are kept there, for those who want to look at them.
  folder = process.env['COMMESH_TEST_PICTURES'] ?? (await host.temporary('browsers'));
  await mkdir(folder, { recursive: true });
  const https = { address: '127.0.0.1', port: kit.ports.https };
  options = { domain, caPem: kit.caPem, https, folder };
  browsers = await browsersFor(host, options);
});
afterAll(() => host.close());

describe('the page for new people', () => {
  it('makes an account with an invitation, once, and says what is wrong', async () => {
    await kit.addPerson('taken', 'correct horse battery');
    const token = await kit.invite();
    const device = await browsers.open('new', { width: 360, height: 740 });
    const { page } = device;
    const problem = async (): Promise<string> => {
      await page.click('button[type=submit]');
      await page.waitForSelector('button[type=submit]:not([disabled])', { state: 'attached' });
      return (await page.locator('#problem').textContent()) ?? '';
    };
    await page.goto(`https://chat.${domain}/join/#not-a-token`);
    expect(await page.inputValue('#token')).toBe('not-a-token');
    expect(page.url()).toBe(`https://chat.${domain}/join/`);
    await page.fill('#name', 'Chidi Anagonye');
    await page.fill('#password', 'moral plays');
    expect(await problem()).toContain('small letters');
    await page.fill('#name', 'taken');
    expect(await problem()).toContain('already has this name');
    await page.fill('#name', 'chidi');
    expect(await page.textContent('#name-help')).toContain(`@chidi:${domain}`);
    await page.fill('#password', 'short');
    expect(await problem()).toContain('too short');
    await page.fill('#password', 'moral plays');
    expect(await problem()).toContain('does not work');
    await page.screenshot({ path: join(folder, 'join-problem.png'), fullPage: true });
    await page.fill('#token', token);
    expect(await problem()).toBe('');
    expect(await page.textContent('#new-address')).toBe(`@chidi:${domain}`);
    await page.screenshot({ path: join(folder, 'join-done.png') });
    await page.click('#done a');
    await page.waitForSelector('#username');
    await page.screenshot({ path: join(folder, 'phone-login.png') });
    await logIn(device, domain, { name: 'chidi', password: 'moral plays' });
    // One use is one use.
    const second = await device.context.newPage();
    await second.goto(`https://chat.${domain}/join/es/#${token}`);
    await second.fill('#name', 'eleanor');
    await second.fill('#password', 'fork and shirt');
    await second.click('button[type=submit]');
    await second.waitForSelector('#problem:not([hidden])');
    expect(await second.locator('#problem').textContent()).toMatch(/invitación/);
    expect(await device.close()).toEqual(OWN);
  });
});

describe('the chat for browsers', () => {
  it('lets two people write and send pictures in an encrypted room, and asks nobody but the kit', async () => {
    const people = [
      { name: 'anna', password: 'correct horse battery' },
      { name: 'ben', password: 'staple river window' },
    ] as const;
    for (const { name, password } of people) await kit.addPerson(name, password);
    const { hosts, complaints, recoveryKeys } = await chatInBrowser(host, {
      ...options,
      folder: join(folder, 'two'),
      people,
      // Anna's key and Ben's, for Anna's other device below.
      finally: () => kit.untilBackedUp('anna', 2),
    });
    expect(hosts).toEqual(OWN);
    // A server that has no backup of keys and no device to take over answers 404.
    expect(complaints.filter((text) => !/status of 404/.test(text))).toEqual([]);
    const rows = await kit.events();
    expect(rows.filter(({ type }) => type === 'm.room.encrypted').length).toBe(4);
    expect(rows.filter(({ type }) => type === 'm.room.message')).toEqual([]);
    expect(JSON.stringify(rows)).not.toMatch(/generator|until six|picture\.png/);

    // Another device of Anna's, with nothing but her password and her paper.
    const other = await browsers.open('anna-again', { width: 1280, height: 800 });
    await logIn(other, domain, people[0]);
    expect(await recover(other, recoveryKeys[0] ?? '')).toContain('does not fit');
    await other.page.click('.RoomList a:has-text("Night shift")');
    await hear(other, 'Yes, until six.');
    expect(await seePicture(other)).toBe('320x200 #2050c0');
    await other.page.screenshot({ path: join(folder, 'second-device.png') });
    expect(await other.close()).toEqual(OWN);
    const { device_keys, master_keys } = await kit.keysOf('anna');
    const signers = Object.values(device_keys).map(
      (one) => Object.keys(one.signatures[`@anna:${domain}`] ?? {}).length,
    );
    expect([signers, Object.keys(master_keys)]).toEqual([[2, 2], [`@anna:${domain}`]]);
  });

  it('offers no other server, in every language of the site, dark and light', async () => {
    for (const [locale, colorScheme, button] of [
      ['en', 'light', 'Log In'],
      ['es', 'dark', 'Entrar'],
      ['ar', 'light', 'دخول'],
    ] as const) {
      const device = await browsers.open(
        `look-${locale}`,
        { width: 390, height: 780 },
        { locale, colorScheme },
      );
      await device.page.goto(`https://chat.${domain}/`);
      await device.page.waitForSelector('#password');
      expect(await device.page.isVisible('#homeserver')).toBe(false);
      expect(await device.page.textContent('.PasswordLoginView button')).toBe(button);
      expect(await device.page.locator('a:visible').evaluateAll((all) => all.map(String))).toEqual([
        `https://chat.${domain}/join/${locale}/`,
      ]);
      await device.page.screenshot({ path: join(folder, `login-${locale}.png`) });
      await device.page.goto(`https://chat.${domain}/join/${locale}/`);
      await device.page.screenshot({ path: join(folder, `join-${locale}.png`) });
      expect(await device.close()).toEqual(OWN);
    }
  });
});

describe('verify', () => {
  const look = async (): Promise<Record<string, string>> => {
    const report = await verify(host, {
      plan: kit.plan,
      secrets: { value: () => undefined },
      caPem: kit.caPem,
      ssh: () => Promise.reject(new Error('not in this test')),
      dialer: createDialer(SITE.network.address, {
        address: '127.0.0.1',
        tcp: { 443: kit.ports.https },
        udp: {},
      }),
      only: ['webchat'],
    });
    return Object.fromEntries(report.results.map(({ id, state, reason }) => [id, `${state}: ${reason}`]));
  };

  it('finds the client as planned', async () => {
    expect(await look()).toEqual({
      'webchat/page': expect.stringMatching(/^pass: the page and \d\d parts of it$/) as string,
      'webchat/policy': `pass: the page's policy names matrix.${domain} and ${domain}`,
      'webchat/config': `pass: it names ${domain}`,
      'webchat/join': `pass: https://chat.${domain}/join/ loads`,
    });
  });

  it('sees a missing part, another server, and a page that leads elsewhere', async () => {
    const change = async (name: string, edit: (text: string) => string, result: string): Promise<void> => {
      const path = join(kit.pages, name);
      await copyFile(path, `${path}.kept`);
      await writeFile(path, edit(await readFile(path, 'utf8')));
      expect(Object.values(await look())).toContainEqual(expect.stringContaining(result));
      await copyFile(`${path}.kept`, path);
    };
    await change(
      'config.json',
      (text) => text.replaceAll(domain, 'https://matrix.example'),
      'fail: it names matrix.example',
    );
    await change('config.json', () => '{}', 'fail: it names no server of this kit');
    await change(
      'index.html',
      (text) => text.replace('</head>', '<link href="//cdn.example/x.css"></head>'),
      'cdn.example',
    );
    await change(
      'index.html',
      (text) => text.replace('/app.css', '/gone.css'),
      'fail: parts of it are missing: /gone.css',
    );
    expect(Object.values(await look()).every((text) => text.startsWith('pass'))).toBe(true);
  });
});
