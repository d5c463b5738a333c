/**
 * The whole path for a PC, as its volunteer walks it: profile → fetch → build-image → boot → verify → trouble → backup →
 * restore on a fresh kit → pulled plug. Real programs all the way; needs the Debian mirror of this machine.
 */
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BuildReport } from '../../src/cli/commands/build-image.js';
import { loadProject, type Project } from '../../src/cli/commands/project.js';
import { createHost, type Host } from '../../src/host/host.js';
import { readLock } from '../../src/mirror/lock.js';
import type { Lock } from '../../src/mirror/types.js';
import { readIdentity } from '../../src/pki/identity.js';
import type { Report } from '../../src/verify/types.js';
import { archive, download, login, makeAccount, sayInRoom, upload } from '../helpers/chat.js';
import { bootProfile, escapes, type RunningKit } from '../helpers/kit.js';
import { expectPlanInImage, imageHolds } from '../helpers/contents.js';
import { CACHE, commeshctl, copySite, makeSite, works } from '../helpers/product.js';
import { xml } from '../../src/verify/clients/xmpp.js';

let folder: string;
let profile: string;
let image: string;
let host: Host;
let project: Project;
let lock: Lock;

const sha256 = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
const build = (from: string, to: string, ...more: string[]): ReturnType<typeof works> =>
  works(['build-image', from, '--cache', CACHE, '--output', to, '--plain', ...more]);

beforeAll(async () => {
  await mkdir(CACHE, { recursive: true });
  // Beside the cache, so that files of it can be linked instead of copied.
  folder = await mkdtemp(join(CACHE, 'kit-pc-'));
  profile = await makeSite(join(folder, 'site'), 'testkit');
  image = join(folder, 'images/testkit.img');
  host = createHost();
  project = await loadProject(profile);
});

afterAll(async () => {
  await host.close();
  await rm(folder, { recursive: true, force: true });
});

describe('a kit for a PC', () => {
  it('is fetched: everything is in the cache, and a second fetch has nothing to do', async () => {
    await works(['fetch', profile, '--cache', CACHE, '--plain']);
    const again = await works(['fetch', profile, '--cache', CACHE, '--locked', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ fetchedFiles: 0, resolved: false });
    const found = await readLock(profile.replace('.yaml', '.lock.json'));
    if (found === null) throw new Error('no lock was written');
    lock = found;
    expect(lock.sets['system']?.find((one) => one.name === 'coturn')).toMatchObject({ suite: 'forky' });
    expect(lock.sets['system']?.filter((one) => one.suite === 'forky').map((one) => one.name)).toEqual([
      'coturn',
    ]);
  });

  it('is built, with a report, a block map and a checksum beside it', async () => {
    await build(profile, image, '--compress', 'zst');
    const report = JSON.parse(await readFile(image.replace('.img', '.json'), 'utf8')) as BuildReport;
    expect(report.image.sha256).toBe(await sha256(image));
    expect(await readFile(`${image}.sha256`, 'utf8')).toContain(report.image.sha256);
    expect(await readFile(`${image}.bmap`, 'utf8')).toContain('<bmap version="2.0">');
    expect(report.packages.length).toBe(lock.sets['system']?.length);
    process.stderr.write(
      `image: ${Math.round(report.image.bytesUsed / 1e6)} MB raw content, ` +
        `${Math.round((report.image.compressed?.size ?? 0) / 1e6)} MB as zst; ${JSON.stringify(report.timings)}\n`,
    );
    // The goals for the quickstart kit.
    expect(report.image.bytesUsed).toBeLessThan(900e6);
    expect(report.image.compressed?.size).toBeLessThan(300e6);
    expect((await readdir(join(folder, 'images'))).sort()).toEqual([
      'testkit.img',
      'testkit.img.bmap',
      'testkit.img.sha256',
      'testkit.img.zst',
      'testkit.json',
    ]);
  });

  it('holds what the plan says, and no secret that has no place there', async () => {
    await expectPlanInImage(host, project, image, lock, CACHE);
    const secrets = profile.replace('.yaml', '.secrets');
    const line = (text: string): string => text.split('\n')[5] ?? '';
    const caKey = await readFile(join(secrets, 'ca.key'), 'utf8');
    const operator = await readFile(join(secrets, 'values/ssh-operator'), 'utf8');
    expect(await imageHolds(image, line(caKey))).toBe(false);
    expect(await imageHolds(image, operator.split('\n')[2] ?? '')).toBe(false);
    // The search does find what is there.
    expect(await imageHolds(image, line(await readFile(join(secrets, 'tls/web.key'), 'utf8')))).toBe(true);
  });

  it('is the same, byte for byte, in another folder, at another time, with the base layer made anew', async () => {
    const elsewhere = join(folder, 'elsewhere');
    const cache = join(elsewhere, 'cache');
    await mkdir(cache, { recursive: true });
    await host.exec(['cp', '-al', join(CACHE, 'apt'), join(cache, 'apt')]);
    if (existsSync(join(CACHE, 'indexes')))
      await host.exec(['cp', '-al', join(CACHE, 'indexes'), join(cache, 'indexes')]);
    const copy = await copySite(profile, join(elsewhere, 'site'));
    const other = join(elsewhere, 'other.img');
    await works(['build-image', copy, '--cache', cache, '--output', other, '--plain']);
    expect(await sha256(other)).toBe(await sha256(image));
    await host.exec(['rm', '-rf', elsewhere]);
  });

  it('is not built from a cache that is not what the lock says, and nothing half-built is left', async () => {
    const bad = join(folder, 'bad');
    await mkdir(bad, { recursive: true });
    await host.exec(['cp', '-al', join(CACHE, 'apt'), join(bad, 'apt')]);
    const coturn = lock.sets['system']?.find((one) => one.name === 'coturn');
    if (coturn === undefined) throw new Error('no coturn');
    const deb = join(bad, 'apt', coturn.archive, coturn.path);
    const good = await readFile(deb);
    const attempt = async (): Promise<string> => {
      const output = join(bad, 'images/bad.img');
      const { code, stderr } = await commeshctl([
        'build-image',
        profile,
        '--cache',
        bad,
        '--output',
        output,
        '--plain',
      ]);
      expect(code).toBe(1);
      expect(existsSync(join(bad, 'images'))).toBe(false);
      return stderr;
    };
    const replace = async (content: Buffer): Promise<void> => {
      // The file is linked from the good cache: a new one, not new content.
      await rm(deb);
      await writeFile(deb, content);
    };
    const flipped = Buffer.from(good);
    flipped[1000] = (flipped[1000] ?? 0) ^ 1;
    await replace(flipped);
    const changed = await attempt();
    expect(changed).toContain('coturn');
    expect(changed).toMatch(/changed/);
    // The line that asked for it.
    expect(changed).toMatch(/testkit\.yaml:\d+:\d+/);
    await replace(good);
    await truncate(deb, 5000);
    expect(await attempt()).toMatch(/cut short/);
    await rm(deb);
    expect(await attempt()).toMatch(/not in the offline cache/);
    await host.exec(['rm', '-rf', bad]);
  });
});

describe('on the running kit', () => {
  let kit: RunningKit;
  let caPem: string;
  let forwards: string;
  const disk = (): string => join(folder, 'card.qcow2');
  const PASSWORD = 'correct-horse-battery';
  const ROOM_TEXT = 'the water point opens at eight';
  const TEXT = 'are you there?';
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_none, at) => (at * 7) % 251));
  let fileAt = '';

  const verify = async (...more: string[]): Promise<{ code: number; report: Report; stderr: string }> => {
    const { code, stdout, stderr } = await commeshctl([
      'verify',
      '--profile',
      profile,
      '--forwards',
      forwards,
      '--json',
      ...more,
    ]);
    return { code, report: JSON.parse(stdout) as Report, stderr };
  };
  const failures = (report: Report): string[] =>
    report.results.filter((one) => one.state === 'fail').map((one) => `${one.title}: ${one.reason}`);

  beforeAll(async () => {
    kit = await bootProfile(host, profile, { image, disk: disk(), bios: 'uefi' });
    caPem = (await readIdentity(host, profile)).caPem;
    forwards = join(folder, 'forwards.json');
    await writeFile(forwards, JSON.stringify(kit.kit.forwards));
  });

  it('passes verify from inside and outside, and the report tells no secret', async () => {
    const { code, report } = await verify('--report', join(folder, 'handover'));
    expect(failures(report)).toEqual([]);
    expect(code).toBe(0);
    expect(report.counts.pass).toBeGreaterThan(35);
    process.stderr.write(`verify: ${report.milliseconds / 1000} s, ${JSON.stringify(report.counts)}\n`);
    const text = (await readFile(join(folder, 'handover.txt'), 'utf8')) + JSON.stringify(report);
    const { secrets } = await readIdentity(host, profile);
    for (const id of secrets.ids()) if (!id.endsWith('.pub')) expect(text).not.toContain(secrets.value(id));
  });

  it('left no temporary account behind', async () => {
    expect(
      await kit.run(`sudo -n prosodyctl shell user list ${project.plan.site.domain} </dev/null`),
    ).not.toContain('verify-');
  });

  it('reaches nothing outside its network', async () => {
    expect(await escapes(kit)).toEqual([]);
  });

  it('is frugal', async () => {
    const prosody = Number(await kit.run("ps -C lua5.4 -o rss= | awk '{sum += $1} END {print sum}'"));
    const used = Number(
      await kit.run("awk '/MemTotal/ {t=$2} /MemAvailable/ {a=$2} END {print t - a}' /proc/meminfo"),
    );
    process.stderr.write(
      `memory: Prosody ${prosody} KiB resident, ${Math.round(used / 1024)} MiB in use in total\n`,
    );
    expect(prosody).toBeLessThan(40 * 1024);
  });

  it('grew its data partition to the card', async () => {
    const size = Number(await kit.run('df --output=size -B1 /srv/commesh | tail -n 1'));
    expect(size).toBeGreaterThan(5e9);
  });

  it('is found out when something is wrong with it', async () => {
    const secrets = profile.replace('.yaml', '.secrets');
    // A certificate of the right CA that ended yesterday.
    await host.exec([
      'sh',
      '-euc',
      `cd "$1"
       openssl req -new -key ${secrets}/tls/turn.key -subj /CN=turn -out t.csr
       printf 'subjectAltName=DNS:turn.%s\\nextendedKeyUsage=serverAuth\\n' "$2" > t.ext
       printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=db\\nserial=s\\nnew_certs_dir=.\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > ca.cnf
       : > db; echo 99 > s
       openssl ca -batch -config ca.cnf -in t.csr -cert ${secrets}/ca.crt -keyfile ${secrets}/ca.key -extfile t.ext \\
         -startdate 20240101000000Z -enddate 20250101000000Z -out turn.crt -notext`,
      'sh',
      folder,
      project.plan.site.domain,
    ]);
    const expired = await readFile(join(folder, 'turn.crt'), 'utf8');
    const ssh = await kit.connect();
    const { code, stderr } = await ssh.exec('sudo -n sh -eu', {
      stdin: `systemctl stop coturn.service
chmod 0666 /etc/commesh/dnsmasq.conf
cp /etc/commesh/tls/turn.crt /run/turn.crt
cat > /etc/commesh/tls/turn.crt <<'END'
${expired}END
systemd-run --quiet --unit=stray perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,6); bind(S,sockaddr_in(4444,INADDR_ANY)) or die; listen(S,5); sleep 9999'
fallocate -l $(($(df --output=avail -B1 /srv/commesh | tail -n 1) - 4096)) /srv/commesh/full
date -s '+5 minutes' >/dev/null
`,
      timeoutMs: 60_000,
    });
    expect([code, stderr]).toEqual([0, '']);
    const { code: result, report } = await verify('--vantage', 'inside');
    expect(result).toBe(1);
    const found = failures(report).join('\n');
    process.stderr.write(`found:\n${found}\n`);
    expect(found).toMatch(/coturn/);
    expect(found).toMatch(/dnsmasq\.conf/);
    expect(found).toMatch(/4444/);
    expect(found).toMatch(/clock|minutes/);
    expect(found).toMatch(/full|room|space/);
    expect(found).toMatch(/turn.*(ended|expired)|(ended|expired).*turn/i);
    const { code: undone, stderr: trouble } = await ssh.exec('sudo -n sh -eu', {
      stdin: `rm /srv/commesh/full
systemctl stop stray.service
chmod 0644 /etc/commesh/dnsmasq.conf
cat /run/turn.crt > /etc/commesh/tls/turn.crt
systemctl start coturn.service
`,
      timeoutMs: 60_000,
    });
    expect([undone, trouble]).toEqual([0, '']);
    ssh.close();
    const { report: after } = await verify('--vantage', 'inside', '--set-time');
    expect(failures(after)).toEqual([]);
  });

  it('keeps what people write', async () => {
    const { domain } = project.plan.site;
    await makeAccount(kit, 'amina', PASSWORD);
    await makeAccount(kit, 'boris', PASSWORD);
    const [amina, boris] = await Promise.all([
      login(kit, caPem, 'amina', PASSWORD),
      login(kit, caPem, 'boris', PASSWORD),
    ]);
    await amina.send(xml('message', { to: `boris@${domain}`, type: 'chat' }, xml('body', {}, TEXT)));
    await boris.expect('the message', (stanza) => stanza.getChildText('body') === TEXT);
    fileAt = await upload(kit, caPem, amina, bytes);
    expect((await download(kit, caPem, fileAt)).equals(bytes)).toBe(true);
    await sayInRoom(amina, `camp@groups.${domain}`, ROOM_TEXT);
    expect(await archive(boris)).toContain(TEXT);
    await Promise.all([amina.close(), boris.close()]);
  });

  it('is backed up over SSH, and put back on a fresh kit: same accounts, rooms, history, files', async () => {
    const { domain } = project.plan.site;
    const backups = join(folder, 'backups');
    await works(['backup', '--profile', profile, '--forwards', forwards, '--to', backups, '--plain']);
    expect((await readdir(backups, { recursive: true })).some((path) => /(^|\/)config$/.test(path))).toBe(
      true,
    );

    const fresh = await bootProfile(host, profile, { image, bios: 'uefi' });
    try {
      const there = join(folder, 'fresh.json');
      await writeFile(there, JSON.stringify(fresh.kit.forwards));
      await works(['restore', '--profile', profile, '--forwards', there, '--from', backups, '--plain']);
      const boris = await login(fresh, caPem, 'boris', PASSWORD);
      expect(await archive(boris)).toContain(TEXT);
      expect((await download(fresh, caPem, fileAt)).equals(bytes)).toBe(true);
      // A room's archive is for its members.
      const amina = await login(fresh, caPem, 'amina', PASSWORD);
      const room = `camp@groups.${domain}`;
      await amina.send(
        xml('presence', { to: `${room}/amina` }, xml('x', { xmlns: 'http://jabber.org/protocol/muc' })),
      );
      await amina.expect(
        'being in the room',
        (stanza) => stanza.is('presence') && stanza.attrs['from'] === `${room}/amina`,
      );
      expect(await archive(amina, room)).toContain(ROOM_TEXT);
      await amina.close();
      await boris.close();
    } finally {
      await fresh.kit.kill();
    }
  });

  it('survives a pulled plug, and boots under BIOS as well', async () => {
    await kit.kit.kill();
    kit = await bootProfile(host, profile, { image, disk: disk(), bios: 'bios' });
    await writeFile(forwards, JSON.stringify(kit.kit.forwards));
    const boris = await login(kit, caPem, 'boris', PASSWORD);
    expect(await archive(boris)).toContain(TEXT);
    await boris.close();
    expect((await download(kit, caPem, fileAt)).equals(bytes)).toBe(true);
    const { report } = await verify('--vantage', 'inside');
    expect(failures(report)).toEqual([]);
    await kit.kit.kill();
  });
});

describe('a second site with the same packages', () => {
  it('needs no second base layer, and shares nothing secret with the first', async () => {
    const second = await makeSite(join(folder, 'second'), 'other');
    await cp(profile.replace('.yaml', '.lock.json'), second.replace('.yaml', '.lock.json'));
    const output = join(folder, 'second/other.img');
    const { stderr } = await build(second, output);
    expect(stderr).toMatch(/disk of the packages [0-9a-f]{12}.*already there/);
    const own = async (path: string, id: string): Promise<string> =>
      (await readIdentity(host, path)).secrets.value(id);
    for (const id of ['turn-secret', 'backup-key', 'ssh-host', 'ssh-operator']) {
      expect(await own(second, id)).not.toBe(await own(profile, id));
    }
    const file = await open(output, 'r');
    await file.close();
  });
});
