/**
 * A Matrix kit for a PC as its volunteer and its people know it: profile → fetch → build-image → boot → people → verify →
 * chat in two browsers → backup → restore on a fresh kit, where a device that kept its keys still reads.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BuildReport } from '../../src/cli/commands/build-image.js';
import { loadProject, type Project } from '../../src/cli/commands/project.js';
import { createHost, type Host } from '../../src/host/host.js';
import { readLock } from '../../src/mirror/lock.js';
import { readIdentity } from '../../src/pki/identity.js';
import { openMatrix, type MatrixRoute, type MatrixSession } from '../../src/verify/clients/matrix.js';
import type { Report } from '../../src/verify/types.js';
import { chatInBrowser } from '../helpers/chat-in-browser.js';
import { expectPlanInImage } from '../helpers/contents.js';
import { bootProfile, escapes, type RunningKit } from '../helpers/kit.js';
import { CACHE, commeshctl, makeSite, works } from '../helpers/product.js';

const CLIENT = '/_matrix/client/v3';
const TEXT = 'the boat leaves before sunrise';
const LATER = 'it came back empty';

let folder: string;
let profile: string;
let image: string;
let host: Host;
let project: Project;
let caPem: string;
let kit: RunningKit;
let forwards: string;
const passwords = new Map<string, string>();
/** A device that stays switched on through everything; where it connects to can be changed. */
let anna: MatrixSession;
let ben: MatrixSession;
let room: string;
let route: MatrixRoute;
let where: RunningKit;

beforeAll(async () => {
  await mkdir(CACHE, { recursive: true });
  folder = await mkdtemp(join(CACHE, 'kit-matrix-'));
  profile = await makeSite(join(folder, 'site'), 'matrixkit', (text) =>
    text
      .replace(
        /^services:[\s\S]*/m,
        'services:\n  synapse: { database: postgres }\n  webchat: true\n  coturn: true\n  prosody: false\n',
      )
      .replace(/^board: pc$/m, 'board: pc\nmemory: 2 GiB'),
  );
  image = join(folder, 'images/matrixkit.img');
  host = createHost();
  project = await loadProject(profile);
});
afterAll(async () => {
  await host.close();
  await rm(folder, { recursive: true, force: true });
});

const verify = async (...more: string[]): Promise<{ code: number; report: Report }> => {
  const { code, stdout } = await commeshctl([
    ...['verify', '--profile', profile, '--forwards', forwards, '--json'],
    ...more,
  ]);
  return { code, report: JSON.parse(stdout) as Report };
};
const failures = (report: Report): string[] =>
  report.results.filter((one) => one.state === 'fail').map((one) => `${one.title}: ${one.reason}`);
const people = async (...args: string[]): Promise<string> =>
  (await works(['people', ...args, '--profile', profile, '--forwards', forwards, '--json'])).stdout;

describe('a Matrix kit for a PC', () => {
  it('is fetched and built, with wheels and a web client that are pinned', async () => {
    await works(['fetch', profile, '--cache', CACHE, '--plain']);
    await works(['build-image', profile, '--cache', CACHE, '--output', image, '--plain']);
    const lock = await readLock(profile.replace('.yaml', '.lock.json'));
    if (lock === null) throw new Error('no lock was written');
    expect(lock.artifacts?.['wheels-synapse']?.map(({ name }) => name)).toContain('matrix-synapse');
    expect(lock.artifacts?.['npm']?.map(({ name }) => name)).toContain('hydrogen-view-sdk');
    const report = JSON.parse(await readFile(image.replace('.img', '.json'), 'utf8')) as BuildReport;
    expect(report.artifacts?.map(({ name }) => name)).toContain('matrix-synapse');
    process.stderr.write(`Matrix image: ${Math.round(report.image.bytesUsed / 1e6)} MB raw content\n`);
    await expectPlanInImage(host, project, image, lock, CACHE);
  });
});

describe('on the running kit', () => {
  beforeAll(async () => {
    kit = await bootProfile(host, profile, { image, disk: join(folder, 'card.qcow2'), bios: 'uefi' });
    where = kit;
    caPem = (await readIdentity(host, profile)).caPem;
    forwards = join(folder, 'forwards.json');
    await writeFile(forwards, JSON.stringify(kit.kit.forwards));
    route = {
      baseUrl: `https://matrix.${project.plan.site.domain}`,
      caPem,
      dialer: { tcp: (port) => where.dialer.tcp(port), udp: (port) => where.dialer.udp(port) },
    };
  });

  it('passes verify, inside and as two people', async () => {
    const { code, report } = await verify('--report', join(folder, 'handover'));
    expect(failures(report)).toEqual([]);
    expect(code).toBe(0);
    const titles = report.results.filter(({ state }) => state === 'pass').map(({ title }) => title);
    expect(titles).toContain('two people exchange encrypted messages');
    expect(titles).toContain('a call between two apps can be relayed');
    process.stderr.write(`verify: ${report.milliseconds / 1000} s, ${JSON.stringify(report.counts)}\n`);
    const text = (await readFile(join(folder, 'handover.txt'), 'utf8')) + JSON.stringify(report);
    const { secrets } = await readIdentity(host, profile);
    for (const id of secrets.ids()) if (!id.endsWith('.pub')) expect(text).not.toContain(secrets.value(id));
  });

  it('gets people over SSH: an administrator, others, a new passphrase, and nobody who was removed', async () => {
    const made = JSON.parse(await people('add', 'anna', 'ben', 'carl')) as {
      people: { name: string; passphrase: string; accounts: { state: string }[] }[];
    };
    for (const one of made.people) {
      expect(one.accounts.map(({ state }) => state)).toEqual(['done']);
      passwords.set(one.name, one.passphrase);
    }
    await people('add', 'chief', '--admin');
    const again = JSON.parse(await people('reset', 'ben')) as typeof made;
    expect(again.people[0]?.passphrase).not.toBe(passwords.get('ben'));
    passwords.set('ben', again.people[0]?.passphrase ?? '');
    await people('remove', 'carl');
    const list = await people('list');
    for (const name of ['anna', 'ben', 'chief']) expect(list).toContain(`@${name}:`);
    expect(list).not.toMatch(/@carl:|verify-|kit-service/);
    const invited = await people('invite');
    expect(invited).toContain(`https://chat.${project.plan.site.domain}/join/`);
  });

  it('is chatted on in two browsers, which ask nobody but the kit', async () => {
    const { domain } = project.plan.site;
    const chat = await chatInBrowser(host, {
      domain,
      caPem,
      https: { address: '127.0.0.1', port: kit.dialer.tcp(443).port },
      folder: await host.temporary('browsers'),
      people: [
        { name: 'anna', password: passwords.get('anna') ?? '' },
        { name: 'ben', password: passwords.get('ben') ?? '' },
      ],
    });
    expect(chat.hosts).toEqual([`chat.${domain}`, domain, `matrix.${domain}`].sort());
  });

  it('keeps what it cannot read', async () => {
    anna = await openMatrix(route, { name: 'anna', password: passwords.get('anna') ?? '' });
    ben = await openMatrix(route, { name: 'ben', password: passwords.get('ben') ?? '' });
    await Promise.all([anna.sync(), ben.sync()]);
    const made = await anna.call('POST', `${CLIENT}/createRoom`, {
      preset: 'private_chat',
      invite: [ben.user],
    });
    room = String(made['room_id']);
    await ben.call('POST', `${CLIENT}/join/${encodeURIComponent(room)}`, {});
    const sent = await anna.sendEncrypted(room, [anna.user, ben.user], { msgtype: 'm.text', body: TEXT });
    const event = await ben.expect('the message', ({ id }) => id === sent, 120_000);
    expect((await ben.decrypt(event, room))['body']).toBe(TEXT);
    const dump = 'sudo -n runuser -u matrix-synapse -- pg_dump synapse';
    const sealed = await kit.run(`${dump} | grep -c m.megolm.v1.aes-sha2`);
    expect(Number(sealed)).toBeGreaterThan(0);
    for (const text of [TEXT, 'Is the generator running?', 'Yes, until six.'])
      expect(await kit.run(`${dump} | grep -c -F '${text}' || true`)).toBe('0');
    // The search does find what is there.
    expect(Number(await kit.run(`${dump} | grep -c -F '@anna:'`))).toBeGreaterThan(0);
  });

  it('reaches nothing outside its network, and its services are frugal', async () => {
    expect(await escapes(kit)).toEqual([]);
    const anonymous = async (unit: string): Promise<number> =>
      Number(
        await kit.run(
          `awk '/^(anon|shmem|kernel) / {sum += $2} END {print sum}' /sys/fs/cgroup/system.slice/${unit}/memory.stat`,
        ),
      );
    const [server, database] = [await anonymous('synapse.service'), await anonymous('postgresql.service')];
    process.stderr.write(
      `memory: Synapse ${Math.round(server / 2 ** 20)} MiB, PostgreSQL ${Math.round(database / 2 ** 20)} MiB\n`,
    );
    expect(server + database).toBeLessThan(350 * 2 ** 20);
  });

  it('is put back on a fresh kit, where a device that kept its keys reads and writes on', async () => {
    const backups = join(folder, 'backups');
    await works(['backup', '--profile', profile, '--forwards', forwards, '--to', backups, '--plain']);
    const key = await kit.run('sudo -n cat /srv/commesh/synapse/signing.key');
    await kit.kit.kill();
    const fresh = await bootProfile(host, profile, { image, bios: 'uefi' });
    const there = join(folder, 'fresh.json');
    await writeFile(there, JSON.stringify(fresh.kit.forwards));
    // A fresh kit makes its database first.
    await fresh.run('timeout 300 systemctl is-system-running --wait || true', 310_000);
    await works(['restore', '--profile', profile, '--forwards', there, '--from', backups, '--plain']);
    expect(await fresh.run('sudo -n cat /srv/commesh/synapse/signing.key')).toBe(key);
    await fresh.run(
      'timeout 300 sh -c "until systemctl is-active --quiet synapse; do sleep 2; done"',
      310_000,
    );
    where = fresh;
    // Everybody's passphrase still opens the door, on a new device.
    const later = await openMatrix(route, { name: 'ben', password: passwords.get('ben') ?? '' });
    const old = await later.sync();
    expect(old.some(({ type, raw }) => type === 'm.room.encrypted' && raw['sender'] === anna.user)).toBe(
      true,
    );
    await later.close();
    // The devices from before: the history is there, and their keys fit it.
    const history = await ben.call(
      'GET',
      `${CLIENT}/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=20`,
    );
    const kept = (history['chunk'] as readonly { event_id: string; type: string; sender: string }[]).find(
      ({ type, sender }) => type === 'm.room.encrypted' && sender === anna.user,
    );
    if (kept === undefined) throw new Error('the message is not in the history');
    const again = await ben.decrypt(
      { id: kept.event_id, type: kept.type, sender: kept.sender, raw: { ...kept } },
      room,
    );
    expect(again['body']).toBe(TEXT);
    const written = await ben.sendEncrypted(room, [anna.user, ben.user], { msgtype: 'm.text', body: LATER });
    const answer = await anna.expect('the answer', ({ id }) => id === written, 120_000);
    expect((await anna.decrypt(answer, room))['body']).toBe(LATER);
    await Promise.all([anna.close(), ben.close()]);
    await fresh.kit.kill();
  });
});
