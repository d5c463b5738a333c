import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';

/** A signing key of its own, in its own GnuPG home. */
export interface ArchiveKey {
  readonly home: string;
  readonly fingerprint: string;
  /** Public key, as apt's Signed-By wants it. */
  readonly keyring: string;
  /** Options that turn gpg's clock back to when the key was made. */
  readonly clock: readonly string[];
}

/**
 * Makes an Ed25519 key without a passphrase. `folder` must have a short path (sockets of gpg-agent lie in it).
 * @param made when, if not now; it is good for a year then.
 */
export async function makeKey(folder: string, name: string, made?: Date): Promise<ArchiveKey> {
  const home = join(folder, `gpg-${name}`);
  await mkdir(home, { recursive: true, mode: 0o700 });
  const at = made?.toISOString().replace(/[-:]|\.\d+Z/g, '');
  const clock = at === undefined ? [] : ['--faked-system-time', `${at}!`];
  const gpg = ['--batch', '--homedir', home, '--quiet', ...clock];
  await execa('gpg', [
    ...gpg,
    '--passphrase',
    '',
    '--quick-gen-key',
    `${name} <${name}@home.arpa>`,
    'ed25519',
    'sign',
    made === undefined ? 'never' : '1y',
  ]);
  const { stdout } = await execa('gpg', [...gpg, '--with-colons', '--list-keys']);
  const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(stdout)?.[1] ?? '';
  const keyring = join(folder, `${name}.gpg`);
  await execa('gpg', [...gpg, '--output', keyring, '--export', fingerprint]);
  return { home, fingerprint, keyring, clock };
}

/** Ends the agent that gpg left running for this key. */
export async function forgetKey(key: ArchiveKey): Promise<void> {
  await execa('gpgconf', ['--homedir', key.home, '--kill', 'gpg-agent'], { reject: false });
}

export interface TinyPackage {
  readonly name: string;
  readonly version: string;
  readonly arch: 'all' | 'amd64' | 'arm64';
  /** Further control fields: `Depends`, `Essential`, `Priority`, `Source` … */
  readonly fields?: Readonly<Record<string, string>>;
  /** Bytes of random content. */
  readonly bytes?: number;
  /** Further files: path without a leading slash → content. */
  readonly files?: Readonly<Record<string, string>>;
  readonly postinst?: string;
  /** What the list says of where it lies, instead of the truth. */
  readonly filename?: string;
}

interface Built {
  readonly control: string;
  readonly path: string;
  readonly bytes: Buffer;
}

export interface SuiteOptions {
  /** With a slash at its end: a flat repository, its packages beside its index. */
  readonly suite: string;
  readonly packages: readonly TinyPackage[];
  /** null: InRelease carries no signature. */
  readonly key: ArchiveKey | null;
  readonly date?: Date;
  readonly validUntil?: Date;
  readonly architectures?: readonly string[];
  /** `Release` and `Release.gpg` instead of `InRelease`. */
  readonly detached?: boolean;
  /** What the release calls itself; a flat one says nothing. */
  readonly names?: Readonly<Record<string, string>>;
}

/** A small Debian archive in a folder: packages, Packages.xz, Packages.gz, signed release. */
export class TinyArchive {
  readonly #built = new Map<string, Promise<Built>>();

  constructor(readonly folder: string) {}

  async #build(wanted: TinyPackage, suite: string): Promise<Built> {
    const flat = suite.endsWith('/');
    const id = `${wanted.name}_${wanted.version}_${wanted.arch}${flat ? `_${suite.replaceAll('/', '_')}` : ''}`;
    const known = this.#built.get(id);
    if (known) return known;
    const work = async (): Promise<Built> => {
      const tree = join(this.folder, `.build-${id}`);
      await mkdir(join(tree, 'DEBIAN'), { recursive: true });
      await mkdir(join(tree, 'usr/share', wanted.name), { recursive: true });
      await writeFile(join(tree, 'usr/share', wanted.name, 'content'), randomBytes(wanted.bytes ?? 64));
      for (const [path, content] of Object.entries(wanted.files ?? {})) {
        await mkdir(dirname(join(tree, path)), { recursive: true });
        await writeFile(join(tree, path), content);
      }
      if (wanted.postinst !== undefined)
        await writeFile(join(tree, 'DEBIAN/postinst'), wanted.postinst, { mode: 0o755 });
      const fields = {
        Package: wanted.name,
        Version: wanted.version,
        Architecture: wanted.arch,
        Maintainer: 'Test <test@home.arpa>',
        'Installed-Size': String(Math.ceil((wanted.bytes ?? 64) / 1024)),
        Priority: 'optional',
        Section: 'misc',
        ...wanted.fields,
        Description: 'made for a test',
      };
      const control = Object.entries(fields)
        .map(([key, value]) => `${key}: ${value}\n`)
        .join('');
      await writeFile(join(tree, 'DEBIAN/control'), control);
      const path = `${flat ? suite : `pool/main/${wanted.name[0]}/${wanted.name}/`}${wanted.name}_${wanted.version.replace(/^\d+:/, '')}_${wanted.arch}.deb`;
      await mkdir(dirname(join(this.folder, path)), { recursive: true });
      await execa('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, join(this.folder, path)]);
      await rm(tree, { recursive: true });
      return { control, path, bytes: await readFile(join(this.folder, path)) };
    };
    const building = work();
    this.#built.set(id, building);
    return building;
  }

  /** Writes (or replaces) a suite. */
  async publish(options: SuiteOptions): Promise<void> {
    const flat = options.suite.endsWith('/');
    const root = flat ? join(this.folder, options.suite) : join(this.folder, 'dists', options.suite);
    const sums: string[] = [];
    const architectures = options.architectures ?? ['amd64', 'arm64'];
    for (const arch of flat ? ['any'] : architectures) {
      const stanzas: string[] = [];
      for (const wanted of options.packages) {
        if (!flat && wanted.arch !== 'all' && wanted.arch !== arch) continue;
        const { control, path, bytes } = await this.#build(wanted, options.suite);
        stanzas.push(
          `${control}Filename: ${wanted.filename ?? path}\nSize: ${bytes.length}\nSHA256: ${createHash('sha256').update(bytes).digest('hex')}\n`,
        );
      }
      const text = Buffer.from(stanzas.join('\n'));
      const plain = flat ? 'Packages' : `main/binary-${arch}/Packages`;
      await mkdir(dirname(join(root, plain)), { recursive: true });
      const { stdout: xz } = await execa('xz', ['-c', '-T1'], { input: text, encoding: 'buffer' });
      // Like the real archive: the uncompressed list is named, but only compressed ones are there.
      for (const [name, bytes] of [
        [plain, text],
        [`${plain}.gz`, gzipSync(text)],
        [`${plain}.xz`, Buffer.from(xz)],
      ] as const) {
        sums.push(` ${createHash('sha256').update(bytes).digest('hex')} ${bytes.length} ${name}`);
        if (name !== plain) await writeFile(join(root, name), bytes);
      }
    }
    const release = [
      ...Object.entries(
        options.names ??
          (flat ? {} : { Origin: 'Tiny', Label: 'Tiny', Suite: options.suite, Codename: options.suite }),
      ).map(([key, value]) => `${key}: ${value}`),
      `Date: ${(options.date ?? new Date(Date.now() - 60_000)).toUTCString()}`,
      ...(options.validUntil === undefined ? [] : [`Valid-Until: ${options.validUntil.toUTCString()}`]),
      `Architectures: ${architectures.join(' ')}`,
      ...(flat ? [] : ['Components: main']),
      'No-Support-for-Architecture-all: Packages',
      'Description: made for a test',
      'SHA256:',
      ...sums,
      '',
    ].join('\n');
    const target = join(root, options.detached === true ? 'Release' : 'InRelease');
    if (options.key === null || options.detached === true) await writeFile(target, release);
    else await clearSign(options.key, release, target);
    if (options.key !== null && options.detached === true) await detachSign(options.key, target);
  }
}

/** Writes `text` with a clear signature of `key`. */
export async function clearSign(key: ArchiveKey, text: string, target: string): Promise<void> {
  await rm(target, { force: true });
  await execa(
    'gpg',
    ['--batch', '--homedir', key.home, '--quiet', ...key.clock, '--clearsign', '--output', target],
    { input: text },
  );
}

/** Writes a signature of a file beside it, as `<file>.gpg`. */
async function detachSign(key: ArchiveKey, file: string): Promise<void> {
  await rm(`${file}.gpg`, { force: true });
  await execa('gpg', [
    '--batch',
    '--homedir',
    key.home,
    '--quiet',
    ...key.clock,
    '--armor',
    '--detach-sign',
    '--output',
    `${file}.gpg`,
    file,
  ]);
}

/** How the server misbehaves for paths that match, `times` times (always, when absent). */
export interface Trouble {
  readonly match: RegExp;
  readonly kind: 'drop' | 'wrong' | 'missing' | 'slow' | 'busy' | 'shorter' | 'no-range';
  /** drop, slow: bytes sent before. */
  readonly after?: number;
  times?: number;
}

/** Serves a folder on loopback, with ranges and If-Modified-Since; also as a proxy (absolute request targets). */
export class TinyMirror {
  readonly troubles: Trouble[] = [];
  /** `GET /path` or `GET /path bytes=…-`, in order; a proxied one shows the whole target. */
  readonly requests: string[] = [];
  readonly #server: http.Server;
  #port = 0;

  constructor(readonly folder: string) {
    this.#server = http.createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.#port = address.port;
  }

  /** Address of the server, no slash at the end. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #trouble(path: string): Trouble | undefined {
    const found = this.troubles.find((trouble) => trouble.match.test(path) && (trouble.times ?? 1) > 0);
    if (found?.times !== undefined) found.times -= 1;
    return found;
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const target = request.url ?? '/';
    const range = request.headers.range;
    this.requests.push(`GET ${target}${range === undefined ? '' : ` ${range}`}`);
    const path = decodeURIComponent(new URL(target, this.url).pathname);
    const trouble = this.#trouble(path);
    const file = join(this.folder, path);
    const found = await stat(file).catch(() => null);
    if (!found?.isFile() || trouble?.kind === 'missing') {
      response.writeHead(404).end();
      return;
    }
    if (trouble?.kind === 'busy') {
      response.writeHead(503).end();
      return;
    }
    const since = Date.parse(request.headers['if-modified-since'] ?? '');
    if (Math.floor(found.mtimeMs / 1000) * 1000 <= since) {
      response.writeHead(304).end();
      return;
    }
    let bytes = await readFile(file);
    if (trouble?.kind === 'wrong') bytes = Buffer.from(bytes.map((byte) => byte ^ 1));
    if (trouble?.kind === 'shorter') bytes = bytes.subarray(0, bytes.length - 10);
    const from = trouble?.kind === 'no-range' ? 0 : Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
    const body = bytes.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': body.length,
      'last-modified': found.mtime.toUTCString(),
      ...(from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    if (trouble?.kind === 'drop') {
      response.write(body.subarray(0, trouble.after ?? 0), () => setTimeout(() => response.destroy(), 20));
    } else if (trouble?.kind === 'slow') {
      // Sends the beginning, then nothing more until the other side gives up.
      response.write(body.subarray(0, trouble.after ?? 0));
    } else {
      response.end(body);
    }
  }
}
