/**
 * Python wheels. pip itself, of the tools tree, works out which are needed; we fetch them and pin their SHA-256. What is trusted
 * when a lock is made: the TLS certificate of the index. An index signs nothing that pip could check.
 */
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { pathToFileURL } from 'node:url';
import { ToolError, WorkError } from '../../diagnostics/errors.js';
import { hashFile, readTextIfThere } from '../../host/files.js';
import type { Host } from '../../host/host.js';
import type { Tools } from '../../host/tools.js';
import type { Planned } from '../../plan/types.js';
import type { Arch, WheelsWish } from '../../services/contract.js';
import { normalised } from '../artifacts.js';
import { downloadSmall } from '../download.js';
import { GoneError, type HttpClient } from '../http.js';
import { each } from '../parallel.js';
import type { LockArtifact } from '../types.js';
import { folderOf, type MirrorSettings } from './apt.js';
import { folderOfMirror } from './folder.js';
import type { NetworkSettings } from './proxy.js';

/** The Python of the kit's Debian; the tools tree has the same. */
export const PYTHON = '3.13';
/** glibc of the kit's Debian, as in the names of platforms (PEP 600); the oldest any wheel of today is made for. */
const GLIBC = { newest: 41, oldest: 5 } as const;
const MACHINES: Readonly<Record<Arch, string>> = { amd64: 'x86_64', arm64: 'aarch64' };
/** Largest list of one project's files, bytes. */
const LIST_LIMIT = 64 << 20;

/** What this computer's pip is told (pip "Configuration"). */
export interface PipSettings {
  /** Address of the index (PEP 503), without a final slash; null: pip's own. */
  readonly index: string | null;
  /** PEM file with certificate authorities, or null. */
  readonly cert: string | null;
}

/** The settings of this computer's pip: environment, then the user's file, then the machine's. */
export async function readPipSettings(host: Host): Promise<PipSettings> {
  const home = host.env['HOME'] ?? homedir();
  const files =
    host.env['PIP_CONFIG_FILE'] !== undefined
      ? [host.env['PIP_CONFIG_FILE']]
      : [
          join(host.env['XDG_CONFIG_HOME'] ?? join(home, '.config'), 'pip/pip.conf'),
          join(home, '.pip/pip.conf'),
          '/etc/pip.conf',
        ];
  const texts: string[] = [];
  for (const file of files) texts.push((await readTextIfThere(file).catch(() => null)) ?? '');
  const find = (name: string): string | null => {
    const given = host.env[`PIP_${name.toUpperCase().replaceAll('-', '_')}`];
    if (given) return given;
    for (const text of texts) {
      const line = new RegExp(`^\\s*${name}\\s*[=:]\\s*(\\S+)\\s*$`, 'm').exec(text);
      if (line?.[1] !== undefined) return line[1];
    }
    return null;
  };
  return { index: find('index-url')?.replace(/\/+$/, '') ?? null, cert: find('cert') };
}

/** Where wheels come from: an index, or folders of an offline cache. */
export type WheelPlace = { readonly index: string } | { readonly folder: string };

/**
 * The place of wheels: `--archive pypi=…`, else a folder that is the profile's `mirror`, else this computer's pip settings, else
 * the index pip uses by itself.
 * @param usual asks pip for that.
 */
export async function locateWheels(
  settings: MirrorSettings,
  pip: PipSettings,
  usual: () => Promise<string>,
): Promise<WheelPlace> {
  const given = settings.uris?.['pypi'];
  if (given !== undefined)
    return given.startsWith('file:') ? { folder: folderOf(given) } : { index: given.replace(/\/+$/, '') };
  const folder = folderOfMirror(settings.mirror, 'pypi');
  if (folder !== null) return { folder };
  return { index: pip.index ?? (await usual()) };
}

/** The index pip uses when nobody told it another. */
export async function usualIndex(tools: Tools): Promise<string> {
  const { stdout } = await tools.run(
    ['python3', '-c', 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)'],
    { title: 'asking pip for its index' },
  );
  return stdout.trim().replace(/\/+$/, '');
}

/** What pip is to take the target for (PEP 425, PEP 600). */
export function platformFlags(arch: Arch): readonly string[] {
  const machine = MACHINES[arch];
  const platforms = [];
  for (let minor: number = GLIBC.newest; minor >= GLIBC.oldest; minor -= 1)
    platforms.push(`manylinux_2_${minor}_${machine}`);
  const old = arch === 'amd64' ? ['manylinux2014', 'manylinux2010', 'manylinux1'] : ['manylinux2014'];
  return [
    '--only-binary=:all:',
    `--python-version=${PYTHON}`,
    '--implementation=cp',
    ...[`cp${PYTHON.replace('.', '')}`, 'abi3', 'none'].map((abi) => `--abi=${abi}`),
    ...[...platforms, ...old.map((name) => `${name}_${machine}`)].map((one) => `--platform=${one}`),
  ];
}

/**
 * pip asks this function for the machine of a requirement's marker (PEP 508, platform_machine); everything else of the target is
 * as in the tools tree. What Debian provides is offered as an empty wheel newer than any, so that pip asks nobody for it.
 * argv: the machine, the provided projects with commas between them, and pip's own.
 */
const PIP = `import os, platform, runpy, sys, zipfile
machine, provided = sys.argv.pop(1), sys.argv.pop(1)
platform.machine = lambda: machine
os.makedirs("/mnt/work/provided", exist_ok=True)
for project in filter(None, provided.split(",")):
    name = project.replace("-", "_")
    with zipfile.ZipFile(f"/mnt/work/provided/{name}-9999-py3-none-any.whl", "w") as wheel:
        info = f"{name}-9999.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {project}\\nVersion: 9999\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
runpy.run_module("pip", run_name="__main__", alter_sys=True)
`;

/** One file of an index (PEP 691, PEP 700). */
interface IndexFile {
  readonly filename: string;
  readonly url: string;
  readonly size?: number;
  readonly hashes: Readonly<Record<string, string>>;
}

/** How the index is reached. */
export interface PipConnection {
  readonly client: HttpClient;
  readonly network: NetworkSettings;
  readonly pip: PipSettings;
  readonly backoffMs: number;
}

interface Wanted {
  readonly name: string;
  readonly version: string;
  readonly file: string;
  readonly sha256: string;
}

/**
 * The wheels a wish needs on the target, by pip's own resolver.
 * @throws WorkError with the profile path that asked when something cannot be had as a wheel.
 */
export async function resolveWheels(
  host: Host,
  tools: Tools,
  wish: Planned<WheelsWish>,
  arch: Arch,
  place: WheelPlace,
  connection: PipConnection,
): Promise<readonly LockArtifact[]> {
  const work = await host.temporary('pip');
  await writeFile(join(work, 'resolve.py'), PIP);
  // Addresses may hold a password: never in argv.
  const settings = ['[global]', 'disable-pip-version-check = true', 'no-input = true'];
  const folders = ['/mnt/work/provided'];
  let network = false;
  if ('index' in place) {
    network = true;
    settings.push(`index-url = ${place.index}/`, 'cert = /mnt/work/authorities.pem');
    const proxy = await connection.network.proxyFor(new URL(place.index));
    if (proxy !== null) settings.push(`proxy = ${proxy.href}`);
    await writeFile(join(work, 'authorities.pem'), await authorities(connection));
  } else {
    settings.push('no-index = true');
    const projects = (await readdir(place.folder).catch(() => [])).sort();
    folders.push(...projects.map((project) => `/mnt/wheels/${project}`));
  }
  settings.push('find-links =', ...folders.map((folder) => `  ${folder}`));
  await writeFile(join(work, 'pip.conf'), `${settings.join('\n')}\n`);
  await tools
    .run(
      [
        'python3',
        '/mnt/work/resolve.py',
        MACHINES[arch],
        wish.provided.map(normalised).join(','),
        'install',
        '--dry-run',
        '--ignore-installed',
        '--quiet',
        '--no-cache-dir',
        '--target=/mnt/work/nowhere',
        ...platformFlags(arch),
        '--report=/mnt/work/report.json',
        ...wish.requirements,
      ],
      {
        binds: [
          { from: work, to: '/mnt/work' },
          ...('folder' in place ? [{ from: place.folder, to: '/mnt/wheels', readOnly: true }] : []),
        ],
        network,
        env: { PIP_CONFIG_FILE: '/mnt/work/pip.conf', PYTHONDONTWRITEBYTECODE: '1' },
        title: 'working out which Python wheels are needed',
      },
    )
    .catch((error: unknown) => {
      throw error instanceof ToolError ? refusal(error, wish, arch, place) : error;
    });
  const report = JSON.parse(await readFile(join(work, 'report.json'), 'utf8')) as {
    install: {
      metadata: { name: string; version: string };
      download_info: { url: string; archive_info?: { hashes?: Record<string, string> } };
    }[];
  };
  const provided = new Set(wish.provided.map(normalised));
  const wanted: Wanted[] = report.install
    .map(({ metadata, download_info: info }) => ({
      name: normalised(metadata.name),
      version: metadata.version,
      file: decodeURIComponent(new URL(info.url).pathname.split('/').at(-1) ?? ''),
      sha256: info.archive_info?.hashes?.['sha256'] ?? '',
    }))
    .filter(({ name }) => !provided.has(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return await Promise.all(
    (await findWheels(host, wanted, place, connection)).map(async ({ one, urls, size }) => ({
      ...one,
      size: size ?? (await sizeOf(urls[0], one, wish)),
    })),
  );
}

async function sizeOf(url: URL | undefined, one: Wanted, wish: Planned<WheelsWish>): Promise<number> {
  if (url?.protocol === 'file:') return (await stat(url)).size;
  throw new WorkError(`the index does not say how large ${one.file} is`, {
    hint: 'an index has to give sizes (PEP 700); use another one',
    because: wish.because,
  });
}

/** Certificate authorities for pip: those this computer trusts. */
async function authorities({ network, pip }: PipConnection): Promise<string> {
  const texts = [...tls.rootCertificates];
  for (const file of [network.caFile, pip.cert])
    if (file !== null) texts.push((await readTextIfThere(file)) ?? '');
  return texts.join('\n');
}

/**
 * Where wheels are to be had.
 * @throws WorkError when the index has no such file, or another one under its name.
 */
export async function findWheels<T extends Pick<Wanted, 'name' | 'file' | 'sha256'>>(
  host: Host,
  wanted: readonly T[],
  place: WheelPlace,
  { client, backoffMs }: PipConnection,
): Promise<readonly { readonly one: T; readonly urls: readonly URL[]; readonly size: number | null }[]> {
  const found: { one: T; urls: URL[]; size: number | null }[] = [];
  await each(wanted, 8, host.signal, async (one) => {
    if ('folder' in place) {
      const path = join(place.folder, one.name, one.file);
      found.push({ one, urls: [pathToFileURL(path)], size: null });
      // pip was given the digest only where there is an index.
      if (one.sha256 === '') Object.assign(one, { sha256: (await hashFile(path)).sha256 });
      return;
    }
    const page = new URL(`${place.index}/${one.name}/`);
    const files = await listed(host, client, page, backoffMs);
    const file = files.find(
      ({ filename, hashes }) => filename === one.file && hashes['sha256'] === one.sha256,
    );
    if (file === undefined)
      throw new WorkError(`the Python index has no ${one.file} with the SHA-256 of the lock`, {
        hint: 'run "commeshctl fetch --update" to take the versions it has now, or bring the offline cache that belongs to this lock',
      });
    found.push({ one, urls: [new URL(file.url, page)], size: file.size ?? null });
  });
  // In the order of the wishes, whichever answer came first.
  return wanted.map((one) => {
    const entry = found.find((candidate) => candidate.one === one);
    if (entry === undefined) throw new Error(`nothing found for ${one.file}`);
    return entry;
  });
}

async function listed(
  host: Host,
  client: HttpClient,
  page: URL,
  backoffMs: number,
): Promise<readonly IndexFile[]> {
  const bytes = await downloadSmall(page, {
    client,
    signal: host.signal,
    backoffMs,
    onRetry: (reason) => host.emit({ type: 'log', level: 'debug', text: `${page.pathname}: ${reason}` }),
    accept: 'application/vnd.pypi.simple.v1+json',
    limit: LIST_LIMIT,
  }).catch((error: unknown) => {
    throw new WorkError(`the Python index at ${page.host} could not be read: ${(error as Error).message}`, {
      hint:
        error instanceof GoneError
          ? "is it an index of Python packages (PEP 503)? It is taken from pip's settings, or from --archive pypi=URL"
          : 'run the command again when the network is better',
      cause: error,
    });
  });
  try {
    const { files } = JSON.parse(bytes.toString('utf8')) as { files: IndexFile[] };
    return files.filter(({ filename, url, hashes }) => filename && url && hashes);
  } catch (error) {
    throw new WorkError(`the Python index at ${page.host} does not answer with JSON`, {
      hint: 'it has to speak the JSON form of the simple API (PEP 691); give another one with --archive pypi=URL',
      cause: error,
    });
  }
}

/** pip's refusal in words. */
function refusal(error: ToolError, wish: Planned<WheelsWish>, arch: Arch, place: WheelPlace): WorkError {
  const text = error.stderrTail;
  const missing = /No matching distribution found for (\S+)/.exec(text)?.[1];
  const where = 'index' in place ? `the Python index at ${new URL(place.index).host}` : place.folder;
  // pip tells a project it could not ask for as one that is not there.
  const unreachable = /Retrying|Connection|timed out|SSLError|ProxyError/.test(text);
  if (missing !== undefined && !unreachable)
    return new WorkError(`${where} has no wheel of "${missing}" for Python ${PYTHON} on ${MACHINES[arch]}`, {
      hint:
        'index' in place
          ? 'only wheels are taken, nothing is compiled; another version may have one'
          : 'the folder is not complete: run "commeshctl fetch" where there is a network, and copy its offline cache',
      because: wish.because,
      cause: error,
    });
  if (unreachable && 'index' in place)
    return new WorkError(`${where} cannot be reached`, {
      hint: "run the command again when the network is better; its address comes from pip's settings, or from --archive pypi=URL",
      because: wish.because,
      cause: error,
    });
  const last = text.split('\n').findLast((line) => line.startsWith('ERROR')) ?? text.trim().slice(-300);
  return new WorkError(`pip cannot work out the wheels of "${wish.id}": ${last}`, {
    hint: 'run the command again with --verbose to see all that pip says',
    because: wish.because,
    cause: error,
  });
}
