import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import type { Site } from '../../src/services/contract.js';
import { service as coturn } from '../../src/services/coturn/service.js';
import { service as prosody } from '../../src/services/prosody/service.js';
import { service as web } from '../../src/services/web/service.js';
import { FINGERPRINT, startChatKit, type ChatKit } from '../helpers/chat-kit.js';

const DOMAIN = 'clinic.home.arpa';
const ADDRESS = '10.77.0.1';
const SITE: Site = {
  name: 'clinic',
  title: 'Clínica "El Río" & friends',
  domain: DOMAIN,
  languages: ['en', 'es', 'ar'],
  timezone: 'UTC',
  board: 'pi4',
  arch: 'arm64',
  base: 'debian',
  memoryMiB: 2048,
  storageGB: 16,
  mirror: 'auto',
  people: 8,
  network: {
    mode: 'lan',
    address: ADDRESS,
    prefix: 24,
    network: '10.77.0.0',
    netmask: '255.255.255.0',
    broadcast: '10.77.0.255',
    dhcp: { enabled: true, from: '10.77.0.50', to: '10.77.0.250', leaseHours: 12 },
    wifi: null,
  },
  admin: { keys: [] },
  backup: { enabled: true, at: '02:30', keep: { daily: 7, weekly: 4, monthly: 6 } },
  federation: [],
  services: {},
};

const host = createHost();
let kit: ChatKit;

beforeAll(async () => {
  kit = await startChatKit(host, SITE, [coturn, prosody, web]);
}, 900_000);
afterAll(() => host.close());

const curl = async (...argv: string[]): Promise<string> => {
  const { stdout, stderr, exitCode } = await kit.phone(
    ...[
      'curl',
      '--silent',
      '--show-error',
      '--max-time',
      '20',
      '--cacert',
      join(kit.work, 'ca.pem'),
      ...argv,
    ],
  );
  if (exitCode !== 0) throw new Error(`curl ${argv.join(' ')}: ${stderr}`);
  return stdout;
};
const head = (...argv: string[]): Promise<string> =>
  curl('--output', '/dev/null', '--dump-header', '-', ...argv);

describe('Prosody', () => {
  it('finds nothing wrong with itself: config, DNS, certificates, TURN', async () => {
    for (const part of ['config', 'dns', 'certs', 'turn']) {
      const { stdout, exitCode } = await kit.kit('prosodyctl', 'check', part);
      expect(stdout, part).toContain('All checks passed');
      expect(exitCode, part).toBe(0);
    }
    const { exitCode, stdout } = await kit.kit('prosodyctl', 'check');
    expect([exitCode, stdout.includes('Problems')]).toEqual([0, false]);
  });

  it('has every feature', async () => {
    const { stdout } = await kit.kit('prosodyctl', 'check', 'features');
    expect(stdout.match(/^\tOK\t/gm)?.length).toBe(10);
    expect(stdout).not.toContain('(!)');
  });

  it('starts without a complaint and stays small', async () => {
    expect(await kit.log('prosody')).toBe('');
    for (const name of ['lua5.4', 'turnserver', 'nginx'])
      console.info(`resident: ${name} ${await resident(name)} KiB`);
    expect(await resident('lua5.4')).toBeLessThan(30 * 1024);
  });

  it('listens where the plan says and nowhere else', async () => {
    const { stdout } = await kit.kit('ss', '-Hltnup');
    const relays = kit.plan.ports.find((port) => !port.listening);
    // `prosodyctl check turn` leaves a relay behind until it runs out.
    const relay = (protocol: string | undefined, port: number): boolean =>
      protocol === 'udp' && relays !== undefined && port >= relays.port && port <= (relays.to ?? 0);
    const heard = stdout
      .split('\n')
      .filter((line) => !line.includes('dnsmasq') && line !== '')
      .map((line) => line.split(/\s+/))
      .map(([protocol, , , , local]) => ({ protocol, port: Number(local?.split(':').at(-1)) }))
      .filter(({ protocol, port }) => !relay(protocol, port))
      .map(({ protocol, port }) => `${protocol} ${port}`);
    const planned = kit.plan.ports
      .filter((port) => port.listening)
      .map((one) => `${one.protocol} ${one.port}`);
    expect([...new Set(heard)].sort()).toEqual([...new Set(planned)].sort());
    expect(stdout).toMatch(/127\.0\.0\.1:5280 /);
    expect(stdout).not.toMatch(/\*:5280|0\.0\.0\.0:5280/);
  });

  it.each(['-tls1_2', '-tls1_3'])('speaks TLS on 5223 with the site certificate: %s', async (version) => {
    const { stdout, stderr } = await kit.phone(
      ...['openssl', 's_client', '-connect', `${DOMAIN}:5223`, '-servername', DOMAIN, version],
      ...['-CAfile', join(kit.work, 'ca.pem'), '-verify_hostname', DOMAIN, '-verify_return_error', '-brief'],
    );
    expect(stdout + stderr).toContain('Verification: OK');
  });

  it('refuses TLS 1.1', async () => {
    const { exitCode } = await kit.phone(
      ...[
        'openssl',
        's_client',
        '-connect',
        `${DOMAIN}:5223`,
        '-tls1_1',
        '-cipher',
        'DEFAULT@SECLEVEL=0',
        '-brief',
      ],
    );
    expect(exitCode).not.toBe(0);
  });

  it('lets two invited people register in a browser, talk, share a file, and meet in a closed group', async () => {
    await register('ana');
    await register('ben');
    const script = join(packageRoot(), 'test/helpers/chat-people.mjs');
    const { stdout, stderr, exitCode } = await kit.phone('node', script, DOMAIN, 'a-long-password');
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      message: 'salam',
      history: ['salam'],
      upload: 201,
      download: 12_000_000,
      tooLarge: 'not-acceptable',
      turn: [
        `stun tcp turn.${DOMAIN}:3478`,
        `stun udp turn.${DOMAIN}:3478`,
        `turn tcp turn.${DOMAIN}:3478`,
        `turn udp turn.${DOMAIN}:3478`,
        `turns tcp turn.${DOMAIN}:5349`,
      ],
      uninvited: 'registration-required',
      invited: 'inside',
      room: ['muc_hidden', 'muc_membersonly', 'muc_nonanonymous', 'muc_persistent'],
      bundle: 100_000,
      websocket: `ana@${DOMAIN}`,
    });
  });

  it('keeps all it stores on the data partition', async () => {
    const { stdout } = await kit.kit('find', '/srv/commesh/prosody', '-type', 'f');
    const share = `share%2e${DOMAIN.replaceAll('.', '%2e')}`;
    const stored = stdout.trim().split('\n');
    expect(stored.some((path) => path.includes(`/${share}/http_file_share/`))).toBe(true);
    const covered = kit.plan.backups.flatMap((backup) => [...backup.paths, ...backup.sqlite]);
    expect(stored.filter((path) => !covered.some((start) => path.startsWith(start)))).toEqual([]);
    const mode = await kit.kit('sqlite3', '/srv/commesh/prosody/prosody.sqlite', 'pragma journal_mode');
    expect(mode.stdout.trim()).toBe('wal');
  });
});

async function resident(name: string): Promise<number> {
  const { stdout } = await kit.kit(
    'sh',
    '-c',
    `for p in /proc/[0-9]*; do if [ "$(cat $p/comm)" = "$1" ]; then cat $p/status; fi; done`,
    'sh',
    name,
  );
  return [...stdout.matchAll(/^VmRSS:\s+(\d+) kB$/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
}

async function register(user: string): Promise<void> {
  const { stdout } = await kit.kit('prosodyctl', 'shell', 'invite', 'create_account', DOMAIN);
  const link = /https:\/\/\S+/.exec(stdout)?.[0] ?? '';
  expect(link).toMatch(new RegExp(`^https://${DOMAIN}/invite\\?`));
  const page = await curl(link);
  const foreign = [...page.matchAll(/(?:href|src)="(https?:\/\/[^"]+)"/g)].map((match) => match[1] ?? '');
  expect(foreign.filter((url) => !url.startsWith(`https://${DOMAIN}/`))).toEqual([]);
  for (const part of page.matchAll(/(?:src|stylesheet" href)="([^"]+)"/g))
    expect(await head(new URL(part[1] ?? '', link).href), part[1] ?? '').toMatch(/^HTTP\/2 200/);
  const token = link.split('?')[1] ?? '';
  const answer = await curl(
    ...['--data-urlencode', `user=${user}`, '--data-urlencode', 'password=a-long-password'],
    ...['--data-urlencode', `token=${token}`, `https://${DOMAIN}/register?t=${token}`],
  );
  expect(answer).toContain(`${user}@${DOMAIN}`);
  expect(await curl(link)).not.toContain('Conversations');
}

describe('nginx', () => {
  it('accepts its configuration', async () => {
    const { stderr, exitCode } = await kit.kit('nginx', '-t');
    expect([exitCode, stderr.includes('warn')]).toEqual([0, false]);
  });

  it('gives the join page over plain HTTP, in the language of the browser, for any name', async () => {
    expect(await curl(`http://${DOMAIN}/`)).toContain('lang="en"');
    expect(await curl('-H', 'Accept-Language: es-MX,en;q=0.5', `http://${ADDRESS}/`)).toContain('lang="es"');
    expect(
      await curl('-H', 'Accept-Language: ar', '-H', 'Host: anything.test', `http://${ADDRESS}/`),
    ).toContain('dir="rtl"');
    const page = await curl(`http://${DOMAIN}/`);
    expect(page).toContain('Clínica &quot;El Río&quot; &amp; friends');
    expect(page.replace(/<[^>]+>/g, '').replace(/\s/g, '')).toContain(
      FINGERPRINT.split(':').reduce((text, byte, index) => text + (index % 4 === 0 ? '' : ':') + byte, ''),
    );
    expect(page).not.toMatch(/<script|<style|style=|https?:\/\/(?!clinic\.home\.arpa)/);
  });

  it('gives certificate and profile with the types phones want', async () => {
    expect(await head(`http://${DOMAIN}/site-ca.crt`)).toMatch(/content-type: application\/x-x509-ca-cert/i);
    expect(await head(`http://${DOMAIN}/site-ca.mobileconfig`)).toMatch(
      /content-type: application\/x-apple-aspen-config/i,
    );
  });

  it.each([
    '/generate_204',
    '/hotspot-detect.html',
    '/connecttest.txt',
    '/invite',
    '/register',
    '/http-bind',
    '/xmpp-websocket',
    '/.well-known/host-meta',
    '/404.html',
    '/en/index.html',
    '/../../../etc/passwd',
    '/style.css/',
  ])('answers 404 over plain HTTP for %s', async (path) => {
    const answer = await head('--path-as-is', `http://${ADDRESS}${path}`);
    expect(answer).toMatch(/^HTTP\/1\.1 (404|400)/);
    expect(answer.toLowerCase()).not.toContain('location:');
  });

  it('refuses to take anything over plain HTTP', async () => {
    expect(await head('--data', 'x=1', `http://${DOMAIN}/`)).toMatch(/^HTTP\/1\.1 405/);
  });

  it('serves HTTPS with a strict policy, no HSTS, and no word about itself', async () => {
    const answer = (await head(`https://${DOMAIN}/`)).toLowerCase();
    expect(answer).toMatch(/^http\/2 200/);
    expect(answer).toContain("content-security-policy: default-src 'self'");
    expect(answer).not.toContain('strict-transport-security');
    expect(answer).not.toContain('unsafe-inline');
    expect(answer).toMatch(/server: nginx\r/);
    expect((await head(`https://${DOMAIN}/invite?x`)).toLowerCase()).toContain("default-src 'self'");
    expect(await head(`https://${ADDRESS}/`)).toMatch(/^HTTP\/2 200/);
  });

  it('says where browsers find the chat (XEP-0156)', async () => {
    const found = JSON.parse(await curl(`https://${DOMAIN}/.well-known/host-meta.json`)) as {
      links: { href: string }[];
    };
    expect(found.links.map((link) => link.href).sort()).toEqual([
      `https://${DOMAIN}/http-bind`,
      `wss://${DOMAIN}/xmpp-websocket`,
    ]);
  });
});

describe('coturn', () => {
  let next = 0;
  const relay = async (...argv: string[]): Promise<string> => {
    next += 1;
    const client = [
      'turnutils_uclient',
      '-W',
      'value-of-turn-secret',
      '-u',
      `caller${next}`,
      '-n',
      '4',
      '-m',
      '1',
    ];
    const { stdout, stderr } = await kit.kit(
      'timeout',
      '60',
      'ip',
      'netns',
      'exec',
      'phone',
      ...client,
      ...argv,
    );
    return stdout + stderr;
  };

  beforeAll(async () => {
    // The phone's programs come from the tree here: its /run knows the phone's network, too.
    await kit.kit('sh', '-c', 'mkdir -p /run/netns && touch /run/netns/phone');
    const nested = await kit.phone('true');
    expect(nested.exitCode).toBe(0);
    await bindPhone();
  });
  const bindPhone = async (): Promise<void> => {
    const { exitCode, stderr } = await kit.onStage(
      'mount',
      '--bind',
      '/run/netns/phone',
      '{root}/run/netns/phone',
    );
    expect([exitCode, stderr]).toEqual([0, '']);
    await kit.onStage(
      'sh',
      '-c',
      'chroot {root} ip netns exec phone turnutils_peer -L 10.77.0.2 -p 3480 >/dev/null 2>&1 & chroot {root} turnutils_peer -L 10.77.0.1 -p 5000 >/dev/null 2>&1 &',
    );
  };
  const nft = (...argv: string[]): Promise<{ exitCode: number; stderr: string }> => kit.kit('nft', ...argv);

  it('has rules that nft accepts, twice', async () => {
    for (const flags of [['-c'], [], []])
      expect(await nft(...flags, '-f', '/etc/nftables.d/50-coturn.nft')).toMatchObject({
        exitCode: 0,
        stderr: '',
      });
  });

  it('relays between two people', async () => {
    expect(await relay('-p', '3478', '-y', ADDRESS)).toContain('Total lost packets 0 ');
  });

  it('relays for somebody who reaches it over TCP or TLS only, to somebody on the kit network', async () => {
    expect(await relay('-p', '3478', '-t', '-e', '10.77.0.2', '-r', '3480', ADDRESS)).toContain(
      'Total lost packets 0 ',
    );
    expect(
      await relay(
        '-p',
        '5349',
        '-t',
        '-S',
        '-E',
        '/etc/commesh/tls/site-ca.crt',
        '-e',
        '10.77.0.2',
        '-r',
        '3480',
        ADDRESS,
      ),
    ).toContain('Total lost packets 0 ');
  });

  it.each(['127.0.0.1', '0.0.0.0', '10.99.0.1', '10.77.0.255', '10.77.0.0', '192.168.1.1', '169.254.1.1'])(
    'refuses the peer %s',
    async (peer) => {
      expect(await relay('-p', '3478', '-e', peer, '-r', '53', ADDRESS)).toContain('error 403');
    },
  );

  it('reaches no service of the kit, and only because of its rules', async () => {
    expect(await nft('-f', '/etc/nftables.d/50-coturn.nft')).toMatchObject({ exitCode: 0 });
    expect(await relay('-p', '3478', '-e', ADDRESS, '-r', '5000', ADDRESS)).toContain('tot_recv_msgs=0');
    expect(await nft('delete', 'table', 'inet', 'commesh_turn')).toMatchObject({ exitCode: 0 });
    expect(await relay('-p', '3478', '-e', ADDRESS, '-r', '5000', ADDRESS)).toContain(
      'Total lost packets 0 ',
    );
  });

  it('refuses a wrong secret', async () => {
    const { stdout, stderr } = await kit.kit(
      ...[
        'timeout',
        '60',
        'ip',
        'netns',
        'exec',
        'phone',
        'turnutils_uclient',
        '-W',
        'wrong',
        '-u',
        'mallory',
      ],
      ...['-n', '1', '-m', '1', '-p', '3478', '-y', ADDRESS],
    );
    expect(stdout + stderr).toContain('Cannot complete Allocation');
  });
});

describe('units', () => {
  it('pass systemd-analyze verify', async () => {
    const units = ['prosody.service', 'coturn.service', 'nginx.service'];
    const { stdout, stderr } = await kit.kit(
      'systemd-analyze',
      'verify',
      '--man=no',
      ...units.map((unit) => `/etc/systemd/system/${unit}`),
    );
    const about = (stdout + stderr).split('\n').filter((line) => units.some((unit) => line.includes(unit)));
    expect(about).toEqual([]);
    await writeFile(join(kit.work, 'done'), '');
  });
});
