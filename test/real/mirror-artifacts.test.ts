/** Wheels and npm packages: real pip against an index on loopback, whose files are made here. */
import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ArtifactWishes } from '../../src/mirror/artifacts.js';
import { verifyCache } from '../../src/mirror/cache.js';
import { fetchRequest, type FetchOptions, type FetchReport } from '../../src/mirror/fetch.js';
import { requestDigest, type Request } from '../../src/mirror/request.js';
import { createHost } from '../../src/host/host.js';
import { folderOfMirror } from '../../src/mirror/sources/folder.js';
import { TAR_END, tarOf } from '../../src/host/tarball.js';
import { extractTarball } from '../../src/host/tarball.js';
import { testBase } from '../helpers/base-tree.js';
import * as bench from '../helpers/mirror-bench.js';
import { failure as rejection } from '../helpers/mirror-bench.js';

bench.useArchives();

/** Everything the server has, by path; what was asked of it. */
const files = new Map<string, Buffer>();
const asked: string[] = [];
let server: Server;
let base: string;

/** A wheel is a zip with its own description (PEP 427); Python's zipfile makes it. */
const MAKE = `
import base64, hashlib, json, sys, zipfile
for name, version, tag, requires, path in json.load(sys.stdin):
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": f"version = {version!r}\\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n" + "".join(f"Requires-Dist: {one}\\n" for one in requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
    }
    record = "".join(f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text.encode())}\\n" for path, text in members.items())
    with zipfile.ZipFile(path, "w") as out:
        for member, text in {**members, f"{info}/RECORD": record + f"{info}/RECORD,,\\n"}.items():
            out.writestr(zipfile.ZipInfo(member), text)
`;
type Wheel = readonly [name: string, version: string, tag: string, requires: readonly string[]];
const ARM = 'cp313-cp313-manylinux_2_28_aarch64';
const PC = 'cp313-cp313-manylinux_2_28_x86_64';
const WHEELS: readonly Wheel[] = [
  [
    'server',
    '1.0',
    'py3-none-any',
    ['native-part>=2', 'only_arm; platform_machine == "aarch64"', 'given>=1', 'old; python_version < "3.13"'],
  ],
  ['server', '2.0', 'py3-none-any', ['native-part>=2']],
  ['native_part', '2.1', ARM, []],
  ['native_part', '2.1', PC, []],
  // Made for a newer system than the kit has.
  ['native_part', '2.2', 'cp313-cp313-manylinux_2_44_aarch64', []],
  ['only_arm', '1', ARM, []],
  ['given', '3', 'py3-none-any', []],
];
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const own = createHost();
beforeAll(async () => {
  const { tools } = await testBase(own);
  const folder = await own.temporary('wheels');
  const list = WHEELS.map((wheel) => [...wheel, `/mnt/out/${wheel[0]}-${wheel[1]}-${wheel[2]}.whl`]);
  await tools.run(['python3', '-c', MAKE], {
    binds: [{ from: folder, to: '/mnt/out' }],
    input: JSON.stringify(list),
  });
  for (const name of await readdir(folder)) {
    const project = (name.split('-')[0] ?? '').replaceAll('_', '-');
    files.set(`/simple/${project}/${name}`, await readFile(join(folder, name)));
  }
  files.set('/simple/source-only/source_only-1.0.tar.gz', gzipSync('no wheel'));
  const pack = (text: string): Buffer =>
    gzipSync(
      Buffer.concat([
        tarOf(
          Object.entries({
            'package/package.json': '{}',
            'package/dist/app.js': text,
            'package/dist/deep/a.css': 'p{}',
            'package/src/x.ts': '',
          }).map(([path, content]) => ({
            path,
            type: 'file' as const,
            mode: 0o666,
            uid: 7,
            gid: 7,
            mtime: 1,
            content: Buffer.from(content),
          })),
        ),
        TAR_END,
      ]),
    );
  files.set('/npm/@chat%2fpage/-/page-1.2.3.tgz', pack('good'));
  server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    const send = (status: number, body: Buffer | string, type = 'application/octet-stream'): void => {
      response.writeHead(status, { 'content-type': type });
      response.end(body);
    };
    const file = files.get(path);
    const project = /^\/simple\/([^/]+)\/$/.exec(path)?.[1];
    if (file !== undefined) send(200, file);
    else if (project !== undefined) {
      const own = [...files].filter(([name]) => name.startsWith(`/simple/${project}/`));
      if (own.length === 0) send(404, 'nothing');
      else
        send(
          200,
          JSON.stringify({
            meta: { 'api-version': '1.1' },
            name: project,
            files: own.map(([name, bytes]) => ({
              filename: name.split('/').at(-1),
              url: `../../${name.slice(1)}`,
              size: bytes.length,
              hashes: { sha256: digests.get(name) ?? sha256(bytes) },
            })),
          }),
          'application/vnd.pypi.simple.v1+json',
        );
    } else if (path === '/npm/@chat%2fpage/1.2.3') {
      const bytes = files.get('/npm/@chat%2fpage/-/page-1.2.3.tgz') ?? Buffer.alloc(0);
      const integrity = integrityOf ?? `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
      send(
        200,
        JSON.stringify({ dist: { tarball: `${base}/npm/@chat%2fpage/-/page-1.2.3.tgz`, integrity } }),
        'application/json',
      );
    } else send(404, 'nothing');
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const address = server.address();
  base = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
});
afterAll(async () => {
  await new Promise((done) => server.close(done));
  await own.close();
});
/** Digests the index tells, where they are not those of its files. */
const digests = new Map<string, string>();
let integrityOf: string | null;
beforeEach(() => {
  asked.length = 0;
  digests.clear();
  integrityOf = null;
});
const kept = new Map<string, Buffer>();
afterEach(() => {
  for (const [name, bytes] of kept) files.set(name, bytes);
  kept.clear();
});
function replace(name: string, bytes: Buffer): void {
  const old = files.get(name);
  if (old === undefined) throw new Error(`the index has no ${name}`);
  kept.set(name, old);
  files.set(name, bytes);
}

const because = ['services', 'server'];
function wanted(requirements: readonly string[], arch: 'arm64' | 'amd64' = 'arm64'): Request {
  const artifacts: ArtifactWishes = {
    arch,
    wheels: [{ id: 'server', requirements, provided: ['Given'], service: 'server', because }],
    tarballs: [],
  };
  return { ...bench.request(['turn']), artifacts };
}
function page(): Request {
  const artifacts: ArtifactWishes = {
    arch: 'arm64',
    wheels: [],
    tarballs: [
      { name: '@chat/page', version: '1.2.3', files: [], service: 'page', because: ['services', 'page'] },
    ],
  };
  return { ...bench.request(['turn']), artifacts };
}
async function fetch(request: Request, more: Partial<FetchOptions> = {}): Promise<FetchReport> {
  const usual = bench.options(request);
  return await fetchRequest(bench.host, {
    ...usual,
    settings: { ...usual.settings, uris: { pypi: `${base}/simple/`, npm: `${base}/npm/` } },
    tools: { ...usual.tools, whole: async () => (await testBase(bench.host)).tools },
    ...more,
  });
}
const verify = (report: FetchReport, request: Request): Promise<unknown> =>
  verifyCache(bench.host, report.lock, bench.options(request).cache, [], {
    full: true,
    keyrings: {
      debian: bench.options(request).settings.keyrings?.['debian'] ?? '',
      'debian-security': bench.options(request).settings.keyrings?.['debian'] ?? '',
    },
    request,
  });
const cached = (...path: string[]): string => join(bench.options(page()).cache, ...path);

describe('wheels', () => {
  it('are those the target needs, by its machine and its Python, and pinned', async () => {
    const { lock } = await fetch(wanted(['server==1.0']));
    expect(
      lock.artifacts?.['wheels-server']?.map(({ name, version, file }) => `${name} ${version} ${file}`),
    ).toEqual([
      `native-part 2.1 native_part-2.1-${ARM}.whl`,
      `only-arm 1 only_arm-1-${ARM}.whl`,
      'server 1.0 server-1.0-py3-none-any.whl',
    ]);
    for (const one of lock.artifacts?.['wheels-server'] ?? [])
      expect(sha256(await readFile(cached('wheels', one.name, one.file)))).toBe(one.sha256);
    const other = await fetch(wanted(['server==1.0'], 'amd64'), { mode: 'update' });
    expect(other.lock.artifacts?.['wheels-server']?.map(({ file }) => file)).toEqual([
      `native_part-2.1-${PC}.whl`,
      'server-1.0-py3-none-any.whl',
    ]);
  });

  it('change the digest of a request, and nothing is different without them', () => {
    const plain = bench.request(['turn']);
    expect(requestDigest({ ...plain, artifacts: { arch: 'arm64', wheels: [], tarballs: [] } })).toBe(
      requestDigest(plain),
    );
    expect(requestDigest(wanted(['server==1.0']))).not.toBe(requestDigest(plain));
    expect(requestDigest(wanted(['server==1.0']))).not.toBe(requestDigest(wanted(['server==2.0'])));
  });

  it('are not asked for again when all are there, and one by one when not', async () => {
    const request = wanted(['server==1.0']);
    await fetch(request);
    asked.length = 0;
    expect(await fetch(request, { mode: 'locked' })).toMatchObject({ fetchedFiles: 0, resolved: false });
    expect(asked).toEqual([]);
    await rm(cached('wheels/only-arm'), { recursive: true });
    expect(await fetch(request, { mode: 'locked' })).toMatchObject({ fetchedFiles: 1, resolved: false });
    expect(asked).toEqual(['/simple/only-arm/', `/simple/only-arm/only_arm-1-${ARM}.whl`]);
  });

  it('are looked at before they are used: a changed one and a missing one are told with who asked', async () => {
    const request = wanted(['server==1.0']);
    const report = await fetch(request);
    await verify(report, request);
    const path = cached('wheels/server/server-1.0-py3-none-any.whl');
    const bytes = await readFile(path);
    bytes[30] = (bytes[30] ?? 0) ^ 1;
    await rm(path);
    await writeFile(path, bytes);
    expect(await rejection(verify(report, request))).toMatchObject({
      message: expect.stringContaining('the Python wheel server 1.0 has been changed') as string,
      because,
    });
    await rm(path);
    expect(await rejection(verify(report, request))).toMatchObject({
      message: expect.stringContaining('is not in the offline cache') as string,
      because,
    });
  });

  it('come from an offline cache as from an index', async () => {
    await fetch(wanted(['server==1.0']));
    const stick = cached('..', 'stick');
    await cp(cached(), stick, { recursive: true });
    asked.length = 0;
    const usual = bench.options(wanted([]));
    const again = await fetch(wanted(['server']), {
      cache: cached('..', 'other'),
      lockFile: cached('..', 'other.lock.json'),
      settings: { ...usual.settings, uris: { pypi: `file:${join(stick, 'wheels')}` } },
    });
    expect(again.lock.artifacts?.['wheels-server']?.map(({ file }) => file)).toContain(
      'server-1.0-py3-none-any.whl',
    );
    expect(
      again.lock.artifacts?.['wheels-server']?.every(
        (one) => one.size > 0 && /^[0-9a-f]{64}$/.test(one.sha256),
      ),
    ).toBe(true);
    expect(asked).toEqual([]);
    expect(folderOfMirror(`file:${stick}`, 'pypi')).toBe(join(stick, 'wheels'));
    expect(folderOfMirror(`file:${join(stick, 'apt/debian')}`, 'pypi')).toBe(join(stick, 'wheels'));
    expect(() => folderOfMirror(`file:${stick}`, 'npm')).toThrow(/does not hold any npm packages/);
    const refused = await rejection(
      fetch(wanted(['server==2.0']), {
        settings: { ...usual.settings, uris: { pypi: `file:${join(stick, 'wheels')}` } },
      }),
    );
    expect(refused).toMatchObject({
      hint: expect.stringContaining('the folder is not complete') as string,
      because,
    });
  });

  it('are the only thing taken: a project with sources alone is refused in words', async () => {
    const refused = await rejection(fetch(wanted(['source-only'])));
    expect(refused).toMatchObject({
      message: expect.stringMatching(/has no wheel of "source-only" for Python 3\.13 on aarch64/) as string,
      hint: expect.stringContaining('nothing is compiled') as string,
      because,
    });
  });

  it('are not taken when they are others than the index says, and not kept', async () => {
    const name = '/simple/server/server-2.0-py3-none-any.whl';
    const request = wanted(['server==2.0']);
    await fetch(request);
    await rm(cached('wheels/server'), { recursive: true });
    replace(name, Buffer.from((files.get(name) ?? Buffer.alloc(0)).map((byte) => byte ^ 1)));
    digests.set(name, sha256(kept.get(name) ?? Buffer.alloc(0)));
    const refused = await rejection(fetch(request, { mode: 'locked' }));
    expect(refused).toMatchObject({
      message: expect.stringContaining('sends a wrong server 2.0') as string,
      because,
    });
    expect(await readdir(cached('wheels/server')).catch(() => [])).toEqual([]);
    // The index itself has another file now.
    digests.clear();
    expect(await rejection(fetch(request, { mode: 'locked' }))).toMatchObject({
      message: expect.stringContaining('with the SHA-256 of the lock') as string,
      because,
    });
  });

  it('tell where an index cannot be reached', async () => {
    const usual = bench.options(page());
    const refused = await rejection(
      fetch(wanted(['server']), {
        settings: { ...usual.settings, uris: { pypi: 'http://127.0.0.1:9/simple' } },
      }),
    );
    expect(refused).toMatchObject({ because });
    expect(refused.hint).toContain('--archive pypi=URL');
  });
});

describe('packages of npm', () => {
  it('are pinned, fetched again for a lock, and checked', async () => {
    const report = await fetch(page());
    expect(report.lock.artifacts?.['npm']).toMatchObject([
      { name: '@chat/page', version: '1.2.3', file: 'page-1.2.3.tgz' },
    ]);
    await verify(report, page());
    await rm(cached('npm'), { recursive: true });
    expect(await fetch(page(), { mode: 'locked' })).toMatchObject({ fetchedFiles: 1, resolved: false });
    await rm(cached('npm'), { recursive: true });
    expect(await rejection(verify(report, page()))).toMatchObject({
      message: expect.stringContaining(
        'the npm package @chat/page 1.2.3 is not in the offline cache',
      ) as string,
      because: ['services', 'page'],
    });
  });

  it('are refused when they are not what the registry says', async () => {
    integrityOf = `sha512-${createHash('sha512').update('another').digest('base64')}`;
    expect(await rejection(fetch(page()))).toMatchObject({
      message: 'the npm package @chat/page 1.2.3 is not the file its registry says it is',
      because: ['services', 'page'],
    });
    expect(await readdir(cached('npm')).catch(() => [])).toEqual([]);
  });

  it('give the files that are asked for, with plain modes, and nothing else', async () => {
    const folder = await bench.host.temporary('npm');
    const tgz = join(folder, 'page.tgz');
    await writeFile(tgz, files.get('/npm/@chat%2fpage/-/page-1.2.3.tgz') ?? '');
    const root = join(folder, 'in/overlay');
    await mkdir(root, { recursive: true });
    const taken = await extractTarball(tgz, root, [
      { from: 'dist/', to: '/usr/share/page/' },
      { from: 'package.json', to: '/usr/share/doc/page.json' },
      { from: 'LICENSE', to: '/usr/share/doc/LICENSE' },
    ]);
    expect([...taken].sort()).toEqual(['dist/', 'package.json']);
    const { stdout } = await bench.host.exec(['find', root, '-type', 'f', '-printf', '%P %m\n']);
    expect(stdout.trim().split('\n').sort()).toEqual([
      'usr/share/doc/page.json 644',
      'usr/share/page/app.js 644',
      'usr/share/page/deep/a.css 644',
    ]);
  });
});
