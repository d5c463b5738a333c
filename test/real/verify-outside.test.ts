import { X509Certificate } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHost, type Running } from '../../src/host/host.js';
import type { Plan } from '../../src/plan/types.js';
import { createDialer } from '../../src/verify/dialer.js';
import { verify } from '../../src/verify/run.js';
import { planWith, SITE } from '../fixtures/verify-plan.js';
import { freePort, untilOpen } from '../helpers/ports.js';
import { createTestCa, type TestCa } from '../helpers/site-ca.js';
import { startFromTree, treeTemporary } from '../helpers/tree.js';

const host = createHost();
const { domain, network } = SITE;
const because = ['services', 'test'];
let ca: TestCa;

beforeAll(async () => {
  ca = await createTestCa(host);
});
afterAll(() => host.close());

const named = { service: 'dns', because };
const wished = (kind: string, options: Plan['checks'][number]['options'] = {}): Plan['checks'][number] => ({
  kind,
  title: kind,
  options,
  service: 'test',
  because,
});

async function run(
  kind: string,
  ports: { tcp?: Record<number, number>; udp?: Record<number, number> },
  parts: Partial<Plan> = {},
): Promise<Record<string, string>> {
  const report = await verify(host, {
    plan: planWith({
      checks: [wished(kind, kind === 'https-site' ? { labels: ['', 'share'] } : {})],
      ...parts,
    }),
    secrets: { value: () => undefined },
    caPem: ca.caPem,
    ssh: () => Promise.reject(new Error('no SSH here')),
    dialer: createDialer(network.address, {
      address: '127.0.0.1',
      tcp: ports.tcp ?? {},
      udp: ports.udp ?? {},
    }),
    only: [kind],
  });
  return Object.fromEntries(report.results.map(({ id, state, reason }) => [id, `${state}: ${reason}`]));
}

describe('names, by dnsmasq', () => {
  const zone = {
    names: [
      { label: '', ...named },
      { label: 'share', ...named },
    ],
    srv: [
      {
        ...named,
        symbol: 'xmpp-client',
        protocol: 'tcp' as const,
        label: '',
        targetLabel: '',
        port: 5222,
        priority: 0,
        weight: 5,
      },
    ],
  };
  async function dnsmasq(...lines: string[]): Promise<{ port: number; running: Running }> {
    const port = await freePort();
    const folder = await treeTemporary(host, 'dnsmasq');
    await writeFile(
      join(folder, 'conf'),
      [
        `port=${port}`,
        'listen-address=127.0.0.1',
        'bind-interfaces',
        'no-resolv',
        'no-hosts',
        'user=root',
        'pid-file=',
        ...lines,
        '',
      ].join('\n'),
    );
    const running = await startFromTree(host, folder, [
      'dnsmasq',
      '-k',
      '-C',
      `${folder}/conf`,
      '--log-facility=-',
    ]);
    await untilOpen(port);
    return { port, running };
  }
  const full = [
    `local=/#/`,
    `address=/#/`,
    `host-record=${domain},${network.address}`,
    `host-record=share.${domain},${network.address}`,
    `srv-host=_xmpp-client._tcp.${domain},${domain},5222,0,5`,
  ];

  test('a zone as planned', async () => {
    const { port, running } = await dnsmasq(...full);
    expect(await run('dns-zone', { tcp: { 53: port }, udp: { 53: port } }, zone)).toEqual({
      'dns-zone/names': 'pass: 2 names and 1 service record, over UDP and TCP',
      'dns-zone/foreign': 'pass: "no such name", so apps do not wait',
    });
    await running.stop();
  });

  test('a missing name, a wrong address, a lost service record, and a server that refuses', async () => {
    const { port, running } = await dnsmasq(`local=/${domain}/`, `host-record=${domain},10.77.0.99`);
    const told = await run('dns-zone', { tcp: { 53: port }, udp: { 53: port } }, zone);
    expect(told['dns-zone/names']).toMatch(/^fail: .*10\.77\.0\.99/);
    expect(told['dns-zone/names']).toContain('share.kit.home.arpa');
    expect(told['dns-zone/foreign']).toMatch(/^fail: .*is answered with REFUSED/);
    await running.stop();
  });

  test('nobody there', async () => {
    const port = await freePort();
    const told = await run('dns-zone', { tcp: { 53: port }, udp: { 53: port } }, zone);
    expect(told['dns-zone/names']).toMatch(/^fail/);
    expect(told['dns-zone/foreign']).toMatch(/^fail/);
  });
});

describe('time, by chrony', () => {
  async function chrony(...lines: string[]): Promise<{ port: number; running: Running }> {
    const port = await freePort();
    const folder = await treeTemporary(host, 'chrony');
    await writeFile(
      join(folder, 'conf'),
      [
        `port ${port}`,
        'bindaddress 127.0.0.1',
        'allow 127.0.0.0/8',
        'cmdport 0',
        'bindcmdaddress /',
        `pidfile ${folder}/pid`,
        `driftfile ${folder}/drift`,
        'user root',
        ...lines,
        '',
      ].join('\n'),
    );
    // -x: never touches this machine's clock.
    const running = await startFromTree(host, folder, ['chronyd', '-x', '-d', '-f', `${folder}/conf`]);
    return { port, running };
  }

  test('a server that gives its own clock', async () => {
    const { port, running } = await chrony('local stratum 8');
    expect((await run('ntp', { udp: { 123: port } }))['ntp']).toMatch(/^pass: stratum 8, 0\.\d s from this/);
    await running.stop();
  });

  test('a server that does not trust its clock, and none', async () => {
    const { port, running } = await chrony();
    expect((await run('ntp', { udp: { 123: port } }))['ntp']).toBe(
      'fail: it answers that its own clock is not set, so devices do not believe it',
    );
    await running.stop();
    expect((await run('ntp', { udp: { 123: port } }))['ntp']).toMatch(/^fail/);
  });
});

describe('web pages, by nginx', () => {
  interface Site {
    readonly html?: string;
    readonly http?: string;
    readonly names?: readonly string[];
    readonly protocols?: string;
    readonly issuer?: TestCa;
  }
  const PAGE =
    '<!doctype html><html><link rel="stylesheet" href="/style.css"><a href="/site-ca.crt">CA</a><a href="/site-ca.mobileconfig">iPhone</a><a href="https://kit.home.arpa/">go</a></html>';

  async function nginx(site: Site = {}): Promise<{ ports: Record<number, number>; running: Running }> {
    const folder = await treeTemporary(host, 'nginx');
    await mkdir(join(folder, 'www'), { mode: 0o755 });
    const der = new X509Certificate(ca.caPem).raw;
    await writeFile(join(folder, 'www/index.html'), site.html ?? PAGE);
    await writeFile(join(folder, 'www/style.css'), 'body { color: #000 }');
    await writeFile(join(folder, 'www/site-ca.crt'), der);
    await writeFile(join(folder, 'www/site-ca.mobileconfig'), `<data>${der.toString('base64')}</data>`);
    await (site.issuer ?? ca).issue(
      folder,
      'web',
      site.names ?? [domain, `share.${domain}`, network.address],
    );
    const ports = { 80: await freePort(), 443: await freePort() };
    await writeFile(
      join(folder, 'conf'),
      `
daemon off; pid ${folder}/pid; error_log stderr crit;
events { }
http {
  access_log off; client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
  uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e; root ${folder}/www;
  types { text/html html; text/css css; application/x-x509-ca-cert crt; application/x-apple-aspen-config mobileconfig; }
  server { listen 127.0.0.1:${ports[80]}; ${site.http ?? 'location / { return 404; } location = / { try_files /index.html =404; } location = /style.css { } location = /site-ca.crt { } location = /site-ca.mobileconfig { }'} }
  server { listen 127.0.0.1:${ports[443]} ssl; ssl_certificate ${folder}/web.crt; ssl_certificate_key ${folder}/web.key;
    ssl_protocols ${site.protocols ?? 'TLSv1.2 TLSv1.3'}; location / { try_files $uri /index.html =404; } }
}`,
    );
    const running = await startFromTree(host, folder, ['nginx', '-e', 'stderr', '-c', `${folder}/conf`]);
    for (const port of Object.values(ports)) await untilOpen(port);
    return { ports, running };
  }
  const certificate: Plan['certificates'][number] = {
    id: 'web',
    directory: '/etc/commesh/tls',
    labels: ['', 'share'],
    address: true,
    client: false,
    owner: 'root',
    group: 'root',
    ...named,
  };

  test('a site as it should be', async () => {
    const { ports, running } = await nginx();
    const https = await run('https-site', { tcp: ports }, { certificates: [certificate] });
    expect(https).toEqual({
      [`https-site/${domain}`]: expect.stringMatching(
        /^pass: TLSv1\.3, trusted by the site's CA only/,
      ) as string,
      [`https-site/share.${domain}`]: expect.stringMatching(/^pass/) as string,
      [`https-site/${network.address}`]: expect.stringMatching(/^pass/) as string,
      'https-site/page': 'pass: the page and 1 part of it; no reference to anywhere else',
    });
    expect(await run('http-join', { tcp: ports })).toEqual({
      'http-join/page': 'pass: it loads, and refers to nothing but the kit',
      'http-join/ca': 'pass: /site-ca.crt, as phones install it',
      'http-join/mobileconfig': 'pass: /site-ca.mobileconfig',
      'http-join/closed': 'pass: chat, registration and files are refused',
    });
    await running.stop();
  });

  test('a name missing on the certificate, a foreign CA, a reference to the internet', async () => {
    const other = await createTestCa(host);
    const narrow = await nginx({
      names: [domain],
      html: '<html><script src="https://cdn.example.com/x.js"></script></html>',
    });
    const told = await run('https-site', { tcp: narrow.ports });
    expect(told[`https-site/${domain}`]).toMatch(/^pass/);
    expect(told[`https-site/share.${domain}`]).toMatch(/^fail: the certificate does not fit: .*altnames/);
    expect(told['https-site/page']).toBe(
      'fail: it refers to https://cdn.example.com/x.js, which nobody here can reach',
    );
    await narrow.running.stop();
    const foreign = await nginx({ issuer: other });
    expect((await run('https-site', { tcp: foreign.ports }))[`https-site/${domain}`]).toMatch(
      /^fail: the certificate does not fit: /,
    );
    await foreign.running.stop();
  });

  test('a plain site that gives too much, or another CA', async () => {
    const { ports, running } = await nginx({ http: 'location / { try_files $uri /index.html =404; }' });
    const told = await run('http-join', { tcp: ports });
    expect(told['http-join/closed']).toMatch(/^fail: \/xmpp-websocket \(HTTP 200\), .*more$/);
    const other = await createTestCa(host);
    const mine = ca;
    ca = other;
    const wrong = await run('http-join', { tcp: ports });
    ca = mine;
    expect(wrong['http-join/ca']).toBe("fail: it is not this site's certificate");
    expect(wrong['http-join/mobileconfig']).toBe("fail: it does not hold this site's certificate");
    await running.stop();
  });

  test('what phones see', async () => {
    const honest = await nginx();
    const captive = await nginx({
      http: 'location = /generate_204 { return 204; } location = /hotspot-detect.html { return 302 http://kit.home.arpa/; } location / { return 404; }',
    });
    const dns = await freePort();
    const folder = await treeTemporary(host, 'probe-dns');
    await writeFile(
      join(folder, 'conf'),
      `port=${dns}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\npid-file=\naddress=/#/\n`,
    );
    const names = await startFromTree(host, folder, ['dnsmasq', '-k', '-C', `${folder}/conf`]);
    await untilOpen(dns);
    const told = await run('probe-urls', { tcp: honest.ports, udp: { 53: dns } });
    for (const what of ['android', 'apple', 'windows', 'firefox'])
      expect(told[`probe-urls/${what}`]).toBe(
        'pass: connected, no internet; people choose to stay connected',
      );
    const lies = await run('probe-urls', { tcp: captive.ports, udp: { 53: dns } });
    expect(lies['probe-urls/android']).toMatch(/^fail: the kit pretends to be the internet/);
    expect(lies['probe-urls/apple']).toMatch(
      /^warn: a log-in page \(redirect to http:\/\/kit\.home\.arpa\/\)/,
    );
    expect(lies['probe-urls/windows']).toMatch(/^pass/);
    for (const running of [honest.running, captive.running, names]) await running.stop();
  });
});
