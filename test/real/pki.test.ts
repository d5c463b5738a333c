import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { readFile, readdir, rm, stat, writeFile, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import forge from 'node-forge';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { makeRsaKey, openAuthority } from '../../src/pki/authority.js';
import { sign } from '../../src/pki/certificate.js';
import { secretsFolder } from '../../src/pki/folder.js';
import { ensureIdentity, readIdentity, renewIdentity, type IdentityRequest } from '../../src/pki/identity.js';
import { attribute, subjectOf } from '../../src/pki/names.js';
import { mobileconfig } from '../../src/pki/mobileconfig.js';
import type { CertificateNeed, IdentitySite, SiteIdentity } from '../../src/pki/types.js';

const DAY = 86_400_000;
// The browser test needs an address of this machine, so the site's network is the loopback one.
const SITE: IdentitySite = {
  title: 'عيادة Źródło – Klinik „Süd“ with a title that is much longer than sixty-four characters',
  domain: 'clinic.home.arpa',
  network: { address: '127.0.0.1', network: '127.0.0.0', netmask: '255.0.0.0' },
};
const CERTIFICATES: CertificateNeed[] = [
  { id: 'web', labels: ['', 'share'], address: true, client: false },
  { id: 'chat', labels: ['', 'groups', 'share'], address: false, client: true },
];
const FOREIGN: IdentitySite = { ...SITE, domain: 'bank.example' };
const FOREIGN_NET: IdentitySite = { ...SITE, network: { ...SITE.network, address: '192.0.2.7' } };

const host = createHost();
let folder: string;
let request: IdentityRequest;
let identity: SiteIdentity;
/** Leaves the site CA's key signed for names that are not the site's. */
const foreign = new Map<string, { cert: string; key: string }>();

async function signForeign(id: string, site: IdentitySite, need: Partial<CertificateNeed>): Promise<void> {
  const authority = await openAuthority(host, secretsFolder(request.profilePath), SITE);
  const key = await makeRsaKey(host, 2048);
  const full: CertificateNeed = { id, labels: [], address: false, client: false, ...need };
  const cert = sign(host, site, authority, await authority.signingKey(), full, key, host.now());
  foreign.set(id, { cert: cert + authority.pem, key });
  await writeFile(join(folder, `${id}.crt`), cert);
}

beforeAll(async () => {
  folder = await host.temporary('pki-real');
  request = {
    profilePath: join(folder, 'clinic.yaml'),
    site: SITE,
    certificates: CERTIFICATES,
    secrets: [{ id: 'ssh-host', kind: 'ssh-ed25519', length: 0 }],
  };
  identity = await ensureIdentity(host, request);
  await writeFile(join(folder, 'ca.pem'), identity.caPem);
  for (const leaf of identity.leaves.values()) await writeFile(join(folder, `${leaf.id}.crt`), leaf.chainPem);
  await signForeign('name', FOREIGN, { labels: [''] });
  await signForeign('mixed', FOREIGN, { labels: ['', 'www'], address: true });
  await signForeign('address', FOREIGN_NET, { labels: [], address: true });
  await signForeign('lookalike', { ...SITE, domain: 'evilclinic.home.arpa' }, { labels: [''] });
});
afterAll(() => host.close());

async function opensslVerify(id: string, ...more: string[]): Promise<string> {
  const result = await host.exec(
    ['openssl', 'verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', 'ca.pem', ...more, `${id}.crt`],
    { cwd: folder, allowFailure: true },
  );
  return result.stdout + result.stderr;
}

describe('openssl', () => {
  it.each([
    ['web', ['-verify_hostname', 'clinic.home.arpa']],
    ['web', ['-verify_hostname', 'share.clinic.home.arpa']],
    ['web', ['-verify_ip', '127.0.0.1']],
    ['chat', ['-verify_hostname', 'groups.clinic.home.arpa']],
    ['chat', ['-purpose', 'sslclient']],
  ])('accepts %s with %j', async (id, more) => {
    expect(await opensslVerify(id, ...more)).toBe(`${id}.crt: OK\n`);
  });

  it.each([
    ['web', ['-verify_hostname', 'groups.clinic.home.arpa'], /hostname mismatch/],
    ['web', ['-verify_ip', '127.0.0.2'], /IP address mismatch/],
    ['web', ['-purpose', 'sslclient'], /unsupported certificate purpose|unsuitable certificate purpose/],
    ['chat', ['-verify_ip', '127.0.0.1'], /IP address mismatch/],
    ['name', [], /permitted subtree violation/],
    ['mixed', [], /permitted subtree violation/],
    ['address', [], /permitted subtree violation/],
    ['lookalike', [], /permitted subtree violation/],
  ])('refuses %s with %j', async (id, more, reason) => {
    expect(await opensslVerify(id, ...more)).toMatch(reason);
  });

  it('would accept the foreign leaves without the constraints, so these are what refuses them', async () => {
    // The same leaf under a CA made for the foreign domain.
    const other = await ensureIdentity(host, {
      ...request,
      profilePath: join(folder, 'foreign.yaml'),
      site: FOREIGN,
      certificates: [{ id: 'name', labels: [''], address: false, client: false }],
    });
    await writeFile(join(folder, 'other-ca.pem'), other.caPem);
    await writeFile(join(folder, 'other.crt'), other.leaves.get('name')?.chainPem ?? '');
    const result = await host.exec(
      ['openssl', 'verify', '-CAfile', 'other-ca.pem', '-verify_hostname', 'bank.example', 'other.crt'],
      { cwd: folder },
    );
    expect(result.stdout).toBe('other.crt: OK\n');
  });

  it('refuses a certificate for IPv6, a mail address elsewhere, and a CA below this one', async () => {
    const authority = await openAuthority(host, secretsFolder(request.profilePath), SITE);
    const key = forge.pki.privateKeyFromPem(
      (await authority.signingKey()).export({ type: 'pkcs8', format: 'pem' }).toString(),
    ) as forge.pki.rsa.PrivateKey;
    const make = async (
      id: string,
      extensions: unknown[],
      below = key,
      issuer = subjectOf(authority.forge),
    ) => {
      const cert = forge.pki.certificateFromPem(foreign.get('name')?.cert ?? '');
      cert.setSubject([attribute('CN', id)]);
      cert.setIssuer(issuer);
      cert.setExtensions(extensions as never);
      cert.sign(below, forge.md.sha256.create());
      await writeFile(join(folder, `${id}.crt`), forge.pki.certificateToPem(cert));
    };
    const san = (altNames: unknown[]): unknown => ({ name: 'subjectAltName', altNames });
    await make('ipv6', [san([{ type: 7, value: '\0'.repeat(15) + '\x01' }])]);
    await make('mail', [san([{ type: 1, value: 'someone@bank.example' }])]);
    await make('ownmail', [san([{ type: 1, value: 'someone@clinic.home.arpa' }])]);
    await make('subca', [
      { name: 'basicConstraints', critical: true, cA: true },
      { name: 'keyUsage', critical: true, keyCertSign: true },
    ]);
    const subKey = forge.pki.privateKeyFromPem(foreign.get('name')?.key ?? '') as forge.pki.rsa.PrivateKey;
    await make('below', [san([{ type: 2, value: SITE.domain }])], subKey, [attribute('CN', 'subca')]);
    const check = async (id: string, ...more: string[]): Promise<string> => {
      const result = await host.exec(['openssl', 'verify', '-CAfile', 'ca.pem', ...more, `${id}.crt`], {
        cwd: folder,
        allowFailure: true,
      });
      return result.stdout + result.stderr;
    };
    expect(await check('ipv6')).toMatch(/(permitted|excluded) subtree violation/);
    expect(await check('mail')).toMatch(/permitted subtree violation/);
    expect(await check('ownmail')).toMatch(/OK/);
    expect(await check('below', '-untrusted', 'subca.crt')).toMatch(/path length constraint exceeded/);
  });

  it('reads in the CA what a phone has to read', async () => {
    const { stdout } = await host.exec(
      ['openssl', 'x509', '-in', 'ca.pem', '-noout', '-text', '-nameopt', 'utf8'],
      {
        cwd: folder,
      },
    );
    expect(stdout).toMatch(/X509v3 Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(stdout).toMatch(/X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign/);
    expect(stdout).toMatch(/X509v3 Name Constraints: critical/);
    expect(stdout).toMatch(/DNS:clinic\.home\.arpa/);
    expect(stdout).toMatch(/IP:127\.0\.0\.0\/255\.0\.0\.0/);
    expect(stdout).toMatch(/Public-Key: \(3072 bit\)/);
    expect(stdout).toMatch(/Not Before: Jan {2}1 00:00:00 2020 GMT/);
    expect(stdout).toMatch(/Not After : Dec 31 23:59:59 2049 GMT/);
    expect(stdout).toMatch(/Subject: CN=عيادة Źródło – Klinik „Süd“.* site CA [0-9a-f]{4}, O=عيادة/);
  });

  it('finds lifetime, serial and usage of the leaves as the phones want them', async () => {
    const now = Date.now();
    for (const leaf of identity.leaves.values()) {
      const cert = new X509Certificate(leaf.chainPem);
      const begin = Date.parse(cert.validFrom);
      expect(Date.parse(cert.validTo) - begin).toBeLessThan(825 * DAY);
      expect(begin).toBeLessThan(now - 29 * DAY);
      expect(leaf.notAfter).toBeGreaterThan(now + 700 * DAY);
      expect(cert.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
      expect(Math.abs(leaf.issuedAt - now)).toBeLessThan(600_000);
    }
    expect(identity.issuedAt * 1000).toBe(
      Math.max(...[...identity.leaves.values()].map((leaf) => leaf.issuedAt)),
    );
    const serials = [...identity.leaves.values()].map(
      (leaf) => new X509Certificate(leaf.chainPem).serialNumber,
    );
    expect(new Set(serials).size).toBe(2);
  });
});

describe('GnuTLS, as in many desktop programs', () => {
  const verify = (id: string, name: string): Promise<{ exitCode: number; stdout: string }> =>
    host.exec(
      [
        'certtool',
        '--verify',
        '--load-ca-certificate',
        'ca.pem',
        '--infile',
        `${id}.crt`,
        '--verify-hostname',
        name,
      ],
      {
        cwd: folder,
        allowFailure: true,
      },
    );
  it('accepts the site and refuses a foreign name', async () => {
    expect((await verify('web', 'clinic.home.arpa')).exitCode).toBe(0);
    const refused = await verify('name', 'bank.example');
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stdout).toMatch(/constraint|not trusted/i);
  });
});

describe('Node as TLS client', () => {
  async function handshake(server: { cert: string; key: string }, servername: string): Promise<string> {
    const listener = createServer(server, (_request, response) => response.end('hello'));
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port } = listener.address() as AddressInfo;
    try {
      return await new Promise((resolve) => {
        const socket = connect({ host: '127.0.0.1', port, ca: identity.caPem, servername }, () => {
          socket.destroy();
          resolve('accepted');
        });
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(`${error.code}: ${error.message}`));
      });
    } finally {
      listener.closeAllConnections();
      listener.close();
    }
  }
  it('accepts the site only', async () => {
    const web = identity.leaves.get('web');
    const own = { cert: web?.chainPem ?? '', key: web?.keyPem ?? '' };
    expect(await handshake(own, 'clinic.home.arpa')).toBe('accepted');
    expect(await handshake(own, 'other.clinic.home.arpa')).toMatch(/ERR_TLS_CERT_ALTNAME_INVALID/);
    const bank = foreign.get('name');
    if (!bank) throw new Error('no foreign leaf');
    expect(await handshake(bank, 'bank.example')).toMatch(/permitted subtree violation/);
  });
});

describe('the folder', () => {
  it('is written once: a second run changes no byte and needs no key of the CA', async () => {
    const store = secretsFolder(request.profilePath);
    const read = async (): Promise<Record<string, string>> => {
      const all: Record<string, string> = {};
      for (const entry of await readdir(store, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (entry.isFile()) {
          all[path] = `${(await stat(path)).mtimeMs} ${await readFile(path, 'utf8')}`;
          expect((await stat(path)).mode & 0o777, path).toBe(0o600);
        }
      }
      return all;
    };
    const before = await read();
    const key = join(store, 'ca.key');
    await rename(key, join(folder, 'ca.key.away'));
    const again = await ensureIdentity(host, request);
    await rename(join(folder, 'ca.key.away'), key);
    expect(await read()).toEqual(before);
    expect(again.leaves).toEqual(identity.leaves);
    expect(again.issuedAt).toBe(identity.issuedAt);
    expect(again.caFingerprintSha256).toBe(identity.caFingerprintSha256);
  });

  it('holds an SSH key that ssh-keygen takes', async () => {
    const values = join(secretsFolder(request.profilePath), 'values');
    const { stdout } = await host.exec(['ssh-keygen', '-y', '-f', join(values, 'ssh-host')]);
    expect(stdout.trim()).toBe(identity.secrets.value('ssh-host.pub'));
    const print = await host.exec(['ssh-keygen', '-l', '-f', join(values, 'ssh-host.pub')]);
    expect(print.stdout).toMatch(/^256 SHA256:.* clinic-ssh-host \(ED25519\)/);
  });

  it('is enough to read the identity later', async () => {
    const read = await readIdentity(host, request.profilePath);
    expect(read.caPem).toBe(identity.caPem);
    expect(read.secrets.value('ssh-host.pub')).toMatch(/^ssh-ed25519 /);
    await expect(readIdentity(host, join(folder, 'nobody.yaml'))).rejects.toThrow(/is not there/);
  });

  it('is made whole by two runs at the same time', async () => {
    const both = { ...request, profilePath: join(folder, 'both.yaml') };
    const other = createHost();
    try {
      const [one, two] = await Promise.all([ensureIdentity(host, both), ensureIdentity(other, both)]);
      expect(two.caPem).toBe(one.caPem);
      expect(two.leaves).toEqual(one.leaves);
      expect(two.secrets.value('ssh-host')).toBe(one.secrets.value('ssh-host'));
    } finally {
      await other.close();
    }
  });

  it('strikes private keys out of logs', () => {
    const web = identity.leaves.get('web');
    expect(identity.redact(`x ${web?.keyPem ?? ''} y`)).not.toContain(web?.keyPem.split('\n')[3] ?? '-');
    expect(identity.redact(web?.chainPem ?? '')).toBe(web?.chainPem);
  });

  it('issues anew what no longer fits, keeping key and CA', async () => {
    const grown = await ensureIdentity(host, {
      ...request,
      certificates: [CERTIFICATES[0]!, { ...CERTIFICATES[1]!, labels: ['', 'groups', 'share', 'turn'] }],
    });
    expect(grown.leaves.get('web')).toEqual(identity.leaves.get('web'));
    expect(grown.leaves.get('chat')?.keyPem).toBe(identity.leaves.get('chat')?.keyPem);
    expect(new X509Certificate(grown.leaves.get('chat')?.chainPem ?? '').subjectAltName).toContain(
      'turn.clinic',
    );
    const aged = await ensureIdentity(host, { ...request, renewBelowDays: 800 });
    expect(aged.leaves.get('web')?.chainPem).not.toBe(identity.leaves.get('web')?.chainPem);
    const renewed = await renewIdentity(host, request);
    expect(renewed.leaves.get('web')?.chainPem).not.toBe(aged.leaves.get('web')?.chainPem);
    expect(renewed.leaves.get('web')?.keyPem).toBe(identity.leaves.get('web')?.keyPem);
    expect(renewed.caPem).toBe(identity.caPem);
    await writeFile(join(folder, 'web.crt'), renewed.leaves.get('web')?.chainPem ?? '');
    expect(await opensslVerify('web', '-verify_hostname', 'clinic.home.arpa')).toBe('web.crt: OK\n');
  });

  it('is refused when domain or network changed, with the way out, which works', async () => {
    const moved = { ...request, profilePath: join(folder, 'moved.yaml'), certificates: [] };
    await ensureIdentity(host, moved);
    const changes: [IdentitySite, RegExp][] = [
      [{ ...SITE, domain: 'camp.home.arpa' }, /now says the domain camp\.home\.arpa/],
      [
        { ...SITE, network: { address: '10.1.0.1', network: '10.1.0.0', netmask: '255.255.0.0' } },
        /only for the domain clinic\.home\.arpa and the network 127\.0\.0\.0 .* network 10\.1\.0\.0/,
      ],
    ];
    let hint = '';
    for (const [site, words] of changes) {
      const error = await ensureIdentity(host, { ...moved, site }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ message: expect.stringMatching(words), exitCode: 1 });
      hint = (error as { hint: string }).hint;
    }
    await host.exec(['sh', '-c', hint.slice(hint.indexOf('mkdir'))]);
    const fresh = await ensureIdentity(host, { ...moved, site: changes[1]![0] });
    expect(fresh.secrets.value('ssh-host')).toMatch(/OPENSSH/);
  });

  it('says so when a file was damaged, lost or swapped', async () => {
    const bad = { ...request, profilePath: join(folder, 'bad.yaml') };
    await ensureIdentity(host, bad);
    const store = secretsFolder(bad.profilePath);
    const key = await readFile(join(store, 'ca.key'), 'utf8');
    await rm(join(store, 'ca.key'));
    await expect(renewIdentity(host, bad)).rejects.toThrow(/ca\.key is not there/);
    await writeFile(join(store, 'ca.key'), await makeRsaKey(host, 3072), { mode: 0o600 });
    await expect(renewIdentity(host, bad)).rejects.toThrow(/is not the key of ca\.crt/);
    await writeFile(join(store, 'ca.key'), key.slice(0, 500));
    await expect(renewIdentity(host, bad)).rejects.toThrow(/is damaged/);
    await writeFile(join(store, 'ca.key'), key);
    // A half-written leaf is made again.
    await writeFile(join(store, 'tls', 'web.crt'), 'nonsense');
    const mended = await ensureIdentity(host, bad);
    expect(new X509Certificate(mended.leaves.get('web')?.chainPem ?? '').subject).toContain(
      'clinic.home.arpa',
    );
    await writeFile(join(store, 'ca.crt'), 'nonsense');
    await expect(ensureIdentity(host, bad)).rejects.toThrow(/ca\.crt is damaged/);
    // A run that was killed after the key is finished with the same key.
    await rm(join(store, 'ca.crt'));
    const finished = await ensureIdentity(host, bad);
    expect(await readFile(join(store, 'ca.key'), 'utf8')).toBe(key);
    expect(
      new X509Certificate(finished.leaves.get('web')?.chainPem ?? '').verify(
        new X509Certificate(finished.caPem).publicKey,
      ),
    ).toBe(true);
  });

  it('refuses to date certificates by a clock that cannot be right', async () => {
    const lost = { ...host, now: () => Date.parse('1970-01-02T00:00:00Z') };
    await expect(
      ensureIdentity(lost, { ...request, profilePath: join(folder, 'clock.yaml') }),
    ).rejects.toMatchObject({ message: expect.stringContaining('clock says 1970-01-02') });
  });
});

describe('a passphrase on the CA', () => {
  const passphrase = 'correct hørse battery';
  it('protects the key, is asked for only when something is signed, and is told when wrong', async () => {
    const guarded = { ...request, profilePath: join(folder, 'guarded.yaml') };
    const asked: string[] = [];
    const ask = (answer: string | null) => (purpose: 'new' | 'open') => {
      asked.push(purpose);
      return Promise.resolve(answer);
    };
    const first = await ensureIdentity(host, { ...guarded, passphrase: ask(passphrase) });
    expect(asked).toEqual(['new', 'open']);
    const file = join(secretsFolder(guarded.profilePath), 'ca.key');
    expect(await readFile(file, 'utf8')).toContain('BEGIN ENCRYPTED PRIVATE KEY');
    // OpenSSL opens it with the same passphrase.
    await host.exec(['openssl', 'pkey', '-in', file, '-noout', '-passin', `pass:${passphrase}`]);
    const second = await ensureIdentity(host, { ...guarded, passphrase: ask('never asked') });
    expect(second.leaves).toEqual(first.leaves);
    expect(asked).toHaveLength(2);
    await expect(renewIdentity(host, { ...guarded, passphrase: ask('wrong') })).rejects.toThrow(
      /does not open/,
    );
    await expect(renewIdentity(host, guarded)).rejects.toMatchObject({
      hint: expect.stringContaining('COMMESHCTL_CA_PASSPHRASE'),
    });
    const env = { ...host, env: { COMMESHCTL_CA_PASSPHRASE: passphrase } };
    const renewed = await renewIdentity(env, guarded);
    expect(renewed.leaves.get('web')?.chainPem).not.toBe(first.leaves.get('web')?.chainPem);
  });
});

it('makes a configuration profile that a plist reader takes', async () => {
  const text = mobileconfig(SITE, identity);
  const { stdout } = await host.exec(
    [
      'python3',
      '-c',
      'import plistlib,sys,json\np=plistlib.loads(sys.stdin.buffer.read())\n' +
        'c=p["PayloadContent"][0]\nc["PayloadContent"]=c["PayloadContent"].hex()\nprint(json.dumps(p))',
    ],
    { input: text },
  );
  const plist = JSON.parse(stdout) as {
    PayloadDisplayName: string;
    PayloadContent: Record<string, unknown>[];
  };
  expect(plist.PayloadDisplayName).toBe(SITE.title);
  expect(plist.PayloadContent).toHaveLength(1);
  expect(plist.PayloadContent[0]).toMatchObject({
    PayloadType: 'com.apple.security.root',
    PayloadContent: identity.caDer.toString('hex'),
  });
});

describe('Chromium with the CA installed', () => {
  const servers: Server[] = [];
  afterAll(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });
  async function serve(files: { cert: string; key: string }): Promise<number> {
    const server = createServer(files, (_request, response) => response.end('<h1>hello from the kit</h1>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push(server);
    return (server.address() as AddressInfo).port;
  }

  it('opens the site by name and by address, and refuses the foreign name', async () => {
    const home = join(folder, 'home');
    const nss = join(home, '.pki', 'nssdb');
    await mkdir(nss, { recursive: true });
    const web = identity.leaves.get('web');
    const own = await serve({ cert: web?.chainPem ?? '', key: web?.keyPem ?? '' });
    const bank = await serve(foreign.get('name')!);
    /** What a freshly started browser shows for each address: the heading, or its error. */
    const open = async (...urls: string[]): Promise<string[]> => {
      const browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        env: { ...(process.env as Record<string, string>), HOME: home },
        args: [
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-background-networking',
          '--disable-component-update',
          '--disable-sync',
          '--host-resolver-rules=MAP * 127.0.0.1',
        ],
      });
      try {
        const shown: string[] = [];
        for (const url of urls) {
          const page = await browser.newPage();
          shown.push(
            await page
              .goto(url, { timeout: 60_000 })
              .then(async () => (await page.textContent('h1')) ?? '')
              .catch((error: unknown) => /ERR_\w+/.exec(String(error))?.[0] ?? String(error)),
          );
          await page.close();
        }
        return shown;
      } finally {
        await browser.close();
      }
    };
    await host.exec(['certutil', '-d', `sql:${nss}`, '-N', '--empty-password']);
    expect(await open(`https://clinic.home.arpa:${own}/`)).toEqual(['ERR_CERT_AUTHORITY_INVALID']);
    await host.exec([
      'certutil',
      '-d',
      `sql:${nss}`,
      '-A',
      '-t',
      'C,,',
      '-n',
      'site',
      '-i',
      join(folder, 'ca.pem'),
    ]);
    const hosts = ['clinic.home.arpa', 'share.clinic.home.arpa', '127.0.0.1', 'other.clinic.home.arpa'];
    expect(
      await open(...hosts.map((name) => `https://${name}:${own}/`), `https://bank.example:${bank}/`),
    ).toEqual([
      'hello from the kit',
      'hello from the kit',
      'hello from the kit',
      'ERR_CERT_COMMON_NAME_INVALID',
      'ERR_CERT_INVALID',
    ]);
  });
});
