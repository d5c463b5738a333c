import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium, type BrowserContext, type Page } from 'playwright-core';
import type { Host } from '../../src/host/host.js';

/** A kit on an emulated processor is slow; milliseconds. */
const PATIENCE = 180_000;

export interface Person {
  readonly name: string;
  readonly password: string;
}

export interface BrowserOptions {
  readonly domain: string;
  /** The only CA the browsers trust besides their own. */
  readonly caPem: string;
  /** Where the kit's port 443 is. */
  readonly https: { readonly address: string; readonly port: number };
  /** A folder for the browsers' profiles and their records of every request; pictures of the pages go there, too. */
  readonly folder: string;
  /** Starts Chromium with the arguments it gets (default: Debian's Chromium itself). */
  readonly executable?: string;
  /** Camera and microphone are Chromium's own fakes, and every page may use them. */
  readonly fakeDevices?: boolean;
}

export interface Browsers {
  /** A browser with a profile of its own, like a device of its own. */
  open(
    name: string,
    size?: { readonly width: number; readonly height: number },
    more?: { readonly locale?: string; readonly colorScheme?: 'light' | 'dark' },
  ): Promise<Device>;
}

export interface Device {
  readonly context: BrowserContext;
  readonly page: Page;
  /** What the page's scripts complained about. */
  readonly complaints: readonly string[];
  /** Closes the browser. @returns every host any part of it asked for, by the browser's own record of its network. */
  close(): Promise<readonly string[]>;
}

/** Chromium for people of a kit: names of the site lead to the kit, all others nowhere. */
export async function browsersFor(host: Host, options: BrowserOptions): Promise<Browsers> {
  const { domain, https, folder } = options;
  const home = join(folder, 'home');
  const nss = join(home, '.pki/nssdb');
  await mkdir(nss, { recursive: true });
  await host.exec(['certutil', '-d', `sql:${nss}`, '-N', '--empty-password']);
  await host.exec(['certutil', '-d', `sql:${nss}`, '-A', '-t', 'C,,', '-n', 'site'], {
    input: options.caPem,
  });
  const kit = `${https.address}:${https.port}`;
  const rules = [
    `MAP ${domain}:443 ${kit}`,
    `MAP *.${domain}:443 ${kit}`,
    // Its relay for calls, at its own ports; for UDP the browser asks for names with a dot at the end.
    `MAP *.${domain} ${https.address}`,
    `MAP *.${domain}. ${https.address}`,
    'MAP * ~NOTFOUND',
    `EXCLUDE ${https.address}`,
  ];
  return {
    async open(name, size = { width: 1280, height: 800 }, more = {}) {
      const record = join(folder, `${name}.netlog`);
      const context = await chromium.launchPersistentContext(join(folder, name), {
        executablePath: options.executable ?? '/usr/bin/chromium',
        viewport: size,
        locale: 'en-US',
        ...more,
        env: { ...(process.env as Record<string, string>), HOME: home },
        args: [
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-background-networking',
          '--disable-component-update',
          '--disable-sync',
          ...(options.fakeDevices === true
            ? ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
            : []),
          `--log-net-log=${record}`,
          `--host-resolver-rules=${rules.join(', ')}`,
        ],
      });
      context.setDefaultTimeout(PATIENCE);
      const page = context.pages()[0] ?? (await context.newPage());
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(message.text());
      });
      return {
        context,
        page,
        complaints,
        async close() {
          await context.close();
          return hostsAsked(await readFile(record, 'utf8'));
        },
      };
    },
  };
}

interface NetLog {
  readonly events: readonly { readonly params?: { readonly url?: string; readonly initiator?: string } }[];
}

/**
 * Hosts in Chromium's record of its network (net-log) that a page or a worker of it asked for, or led to. What the browser itself
 * would like to ask its maker has no origin as its initiator.
 */
export function hostsAsked(record: string): readonly string[] {
  const { events } = JSON.parse(record) as NetLog;
  const hosts = events.flatMap(({ params: { url = '', initiator = '' } = {} }) =>
    /^(https?|wss?):/.test(url) && initiator.includes('://') ? [new URL(url).hostname] : [],
  );
  return [...new Set(hosts)].sort();
}

/** Scripts for the page; as text, since Node has no such types. A PNG of one colour, as the browser draws it. */
const DRAW = (colour: string): string => `(() => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 200 });
  const pen = canvas.getContext('2d');
  pen.fillStyle = '${colour}';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/png');
})()`;
/** Size and colour of the last picture of somebody else, once it is drawn. */
const LOOK = `(async () => {
  const img = [...document.querySelectorAll('.Timeline_message:not(.own) .media img')].at(-1);
  await img.decode();
  const canvas = Object.assign(document.createElement('canvas'), { width: img.naturalWidth, height: img.naturalHeight });
  const pen = canvas.getContext('2d');
  pen.drawImage(img, 0, 0);
  const hex = [...pen.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data].slice(0, 3);
  return canvas.width + 'x' + canvas.height + ' #' + hex.map((one) => one.toString(16).padStart(2, '0')).join('');
})()`;

async function picture(page: Page, colour: string): Promise<Buffer> {
  const url = await page.evaluate<string>(DRAW(colour));
  return Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');
}

/** Logs in and waits for the list of rooms. */
export async function logIn(device: Device, domain: string, { name, password }: Person): Promise<void> {
  const { page } = device;
  await page.goto(`https://chat.${domain}/`);
  await page.fill('#username', name);
  await page.fill('#password', password);
  await page.click('.PasswordLoginView button[type=submit]');
  await page.waitForSelector('.LeftPanel', { timeout: 120_000 });
}

/** Writes the recovery key down that a new account is offered. @returns it. */
export async function keepRecoveryKey({ page }: Device): Promise<string> {
  const key = (await page.locator('#recovery code').textContent({ timeout: PATIENCE })) ?? '';
  await page.click('#recovery .primary');
  await page.waitForSelector('#recovery', { state: 'hidden', timeout: PATIENCE });
  return key;
}

/** Gives a further device of somebody the recovery key, so that it gets the keys of old messages. @returns what it says to a wrong key. */
export async function recover({ page }: Device, key: string): Promise<string> {
  const reversed = [...key].reverse().join('');
  await page.fill('#recovery-key', reversed, { timeout: PATIENCE });
  await page.click('#recovery .primary');
  const problem = page.locator('#recovery [role=alert]:not(:empty)');
  const said = (await problem.textContent({ timeout: PATIENCE })) ?? '';
  await page.fill('#recovery-key', key);
  await page.click('#recovery .primary');
  await page.waitForSelector('#recovery', { state: 'hidden', timeout: PATIENCE });
  return said;
}

/** Makes an encrypted room. */
export async function makeRoom({ page }: Device, name: string): Promise<void> {
  await page.click('.LeftPanel .create');
  await page.click('.menu li:first-child button');
  await page.fill('#name', name);
  if (!(await page.isChecked('#isEncrypted'))) throw new Error('a new room is not encrypted');
  await page.click('.CreateRoomView button[type=submit]');
  await page.waitForSelector('.MessageComposer textarea', { timeout: PATIENCE });
}

/** Invites somebody to the room that is open. */
export async function inviteTo({ page }: Device, address: string): Promise<void> {
  await page.click('.room-options');
  await page.click('.menu li:first-child button');
  await page.click('.RoomDetailsView button.RoomDetailsView_row');
  await page.click('.MemberListView__invite-container button, .MemberListView button:has-text("Invite")');
  await page.fill('.InvitePanelView__input', address);
  await page.click('.InvitePanelView__btn');
  await page.waitForSelector('.InvitePanelView', { state: 'detached', timeout: PATIENCE });
}

/** Accepts the only invitation. */
export async function accept({ page }: Device, room: string): Promise<void> {
  await page.click(`.RoomList a:has-text("${room}")`, { timeout: PATIENCE });
  await page.click('.InviteView .button-action.primary:not(.destructive)');
  await page.waitForSelector('.MessageComposer textarea', { timeout: PATIENCE });
}

export async function say({ page }: Device, text: string): Promise<void> {
  await page.fill('.MessageComposer textarea', text);
  await page.press('.MessageComposer textarea', 'Enter');
}

/** Waits for a message of somebody else. */
export async function hear({ page }: Device, text: string): Promise<void> {
  await page.waitForSelector(`.Timeline_message:not(.own) .Timeline_messageBody:has-text("${text}")`, {
    timeout: PATIENCE,
  });
}

export async function sendPicture({ page }: Device, colour: string): Promise<void> {
  const buffer = await picture(page, colour);
  await page.click('.MessageComposer .sendFile');
  const [chooser] = await Promise.all([
    page.waitForEvent('filechooser'),
    page.click('.menu .picture button, .menu li.picture'),
  ]);
  await chooser.setFiles({ name: 'picture.png', mimeType: 'image/png', buffer });
}

/** Waits for a picture of somebody else and looks at its middle. @returns its size and colour, `320x200 #ff0000`. */
export async function seePicture({ page }: Device): Promise<string> {
  await page
    .locator('.Timeline_message:not(.own) .media img[src^="blob:"]')
    .last()
    .waitFor({ timeout: PATIENCE });
  return page.evaluate<string>(LOOK);
}

/** What two people did, and every host their browsers asked for. */
export interface Chat {
  /** In the order of the people. */
  readonly recoveryKeys: readonly string[];
  readonly hosts: readonly string[];
  readonly complaints: readonly string[];
}

/**
 * Two people in two browsers, one of them on a phone: log in, an encrypted room, an invitation, a message and a picture each way.
 * @throws Error when something does not arrive within a minute.
 */
export async function chatInBrowser(
  host: Host,
  options: BrowserOptions & {
    readonly people: readonly [Person, Person];
    /** Runs once everything has arrived, while both browsers are still open. */
    readonly finally?: () => Promise<void>;
  },
): Promise<Chat> {
  const { domain, folder, people } = options;
  const browsers = await browsersFor(host, options);
  const [one, two] = people;
  const desk = await browsers.open(one.name);
  const phone = await browsers.open(two.name, { width: 390, height: 780 });
  const shot = (device: Device, name: string): Promise<unknown> =>
    device.page.screenshot({ path: join(folder, `${name}.png`) });
  let recoveryKeys: readonly string[];
  try {
    await Promise.all([logIn(desk, domain, one), logIn(phone, domain, two)]);
    await phone.page.waitForSelector('#recovery code');
    await shot(phone, 'phone-recovery');
    recoveryKeys = await Promise.all([keepRecoveryKey(desk), keepRecoveryKey(phone)]);
    await makeRoom(desk, 'Night shift');
    await inviteTo(desk, `@${two.name}:${domain}`);
    await accept(phone, 'Night shift');
    await say(desk, 'Is the generator running?');
    await hear(phone, 'Is the generator running?');
    await say(phone, 'Yes, until six.');
    await hear(desk, 'Yes, until six.');
    await sendPicture(desk, '#c03020');
    const seen = [await seePicture(phone)];
    await sendPicture(phone, '#2050c0');
    seen.push(await seePicture(desk));
    await shot(desk, 'desk-room');
    await shot(phone, 'phone-room');
    if (seen.join() !== '320x200 #c03020,320x200 #2050c0')
      throw new Error(`other pictures came: ${seen.join(', ')}`);
    await options.finally?.();
  } catch (error) {
    await shot(desk, 'desk-failed');
    await shot(phone, 'phone-failed');
    throw new Error(
      [desk, phone].map(({ page, complaints }) => [page.url(), ...complaints].join('\n')).join('\n'),
      { cause: error },
    );
  }
  const hosts = [...(await desk.close()), ...(await phone.close())];
  return {
    recoveryKeys,
    hosts: [...new Set(hosts)].sort(),
    complaints: [...desk.complaints, ...phone.complaints],
  };
}
