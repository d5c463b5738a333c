/**
 * Packages of the npm registry that are ready to be served. What is trusted when a lock is made: the TLS certificate of the
 * registry, and its SHA-512 of the file (`dist.integrity`).
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ToolError, WorkError } from '../../diagnostics/errors.js';
import { sha256 } from '../../host/files.js';
import type { Host } from '../../host/host.js';
import type { Planned } from '../../plan/types.js';
import type { TarballWish } from '../../services/contract.js';
import { downloadSmall } from '../download.js';
import { GoneError, type HttpClient } from '../http.js';
import type { LockArtifact } from '../types.js';
import { folderOf, type MirrorSettings } from './apt.js';
import { folderOfMirror } from './folder.js';

/** Largest description of a package, and largest package that is taken, bytes. */
const LIMIT = 256 << 20;

/** Where packages come from: a registry, or a folder of an offline cache. */
export type NpmPlace = { readonly registry: string } | { readonly folder: string };

/**
 * The place of npm packages: `--archive npm=…`, else a folder that is the profile's `mirror`, else the registry of this
 * computer's npm.
 */
export async function locateNpm(host: Host, settings: MirrorSettings): Promise<NpmPlace> {
  const given = settings.uris?.['npm'];
  if (given !== undefined)
    return given.startsWith('file:') ? { folder: folderOf(given) } : { registry: given.replace(/\/+$/, '') };
  const folder = folderOfMirror(settings.mirror, 'npm');
  if (folder !== null) return { folder };
  const { stdout } = await host
    .exec(['npm', 'config', 'get', 'registry'], { title: "reading npm's settings" })
    .catch((error: unknown) => {
      if (error instanceof ToolError && error.status === 'not found')
        throw new WorkError('npm is not installed here, so nothing says where its packages come from', {
          hint: 'install npm, or give the address of a registry with --archive npm=URL',
        });
      throw error;
    });
  return { registry: stdout.trim().replace(/\/+$/, '') };
}

/** Name of the file of a package. */
export function tarballFile({ name, version }: Pick<TarballWish, 'name' | 'version'>): string {
  return `${name.split('/').at(-1)}-${version}.tgz`;
}

export interface NpmConnection {
  readonly client: HttpClient;
  readonly backoffMs: number;
}

interface Described {
  readonly dist?: { readonly tarball?: string; readonly integrity?: string };
}

async function get(
  host: Host,
  url: URL,
  { client, backoffMs }: NpmConnection,
  accept: string,
): Promise<Buffer> {
  return await downloadSmall(url, {
    client,
    signal: host.signal,
    backoffMs,
    onRetry: (reason) => host.emit({ type: 'log', level: 'debug', text: `${url.pathname}: ${reason}` }),
    accept,
    limit: LIMIT,
  });
}

async function describe(
  host: Host,
  registry: string,
  one: Pick<TarballWish, 'name' | 'version'>,
  connection: NpmConnection,
): Promise<{ readonly url: URL; readonly integrity: string }> {
  const page = new URL(`${registry}/${one.name.replace('/', '%2f')}/${encodeURIComponent(one.version)}`);
  const what = `the npm package ${one.name} ${one.version}`;
  const bytes = await get(host, page, connection, 'application/json').catch((error: unknown) => {
    throw new WorkError(`${what} could not be looked up at ${page.host}: ${(error as Error).message}`, {
      hint:
        error instanceof GoneError
          ? "the registry does not have it; its address comes from npm's settings, or from --archive npm=URL"
          : 'run the command again when the network is better',
      cause: error,
    });
  });
  let dist: Described['dist'];
  try {
    dist = (JSON.parse(bytes.toString('utf8')) as Described).dist;
  } catch {
    dist = undefined;
  }
  const integrity = dist?.integrity?.split(' ').find((one) => one.startsWith('sha512-'));
  if (dist?.tarball === undefined || integrity === undefined)
    throw new WorkError(`${page.host} gives no SHA-512 for ${what}`, {
      hint: 'only registries that do can be used; give another one with --archive npm=URL',
    });
  return { url: new URL(dist.tarball, page), integrity };
}

/** Where a locked package is to be had. @throws WorkError when the registry does not have it. */
export async function findTarball(
  host: Host,
  one: LockArtifact,
  place: NpmPlace,
  connection: NpmConnection,
): Promise<readonly URL[]> {
  if ('folder' in place) return [pathToFileURL(join(place.folder, one.name, one.file))];
  return [(await describe(host, place.registry, one, connection)).url];
}

/**
 * The lock's entry of a package: fetched once, to learn its SHA-256.
 * @throws WorkError with the profile path that asked for it when it cannot be had, or is not what the registry says it is.
 */
export async function resolveTarball(
  host: Host,
  wish: Planned<TarballWish>,
  place: NpmPlace,
  connection: NpmConnection,
): Promise<{ readonly locked: LockArtifact; readonly bytes: Buffer }> {
  const { name, version, because } = wish;
  const file = tarballFile(wish);
  let bytes: Buffer;
  if ('folder' in place) {
    const path = join(place.folder, name, file);
    bytes = await readFile(path).catch((error: unknown) => {
      throw new WorkError(`the npm package ${name} ${version} is not in ${place.folder}`, {
        hint: 'run "commeshctl fetch" where there is a network, and copy its offline cache',
        because,
        cause: error,
      });
    });
  } else {
    const { url, integrity } = await describe(host, place.registry, wish, connection);
    bytes = await get(host, url, connection, '*/*').catch((error: unknown) => {
      throw new WorkError(
        `the npm package ${name} ${version} could not be fetched from ${url.host}: ${(error as Error).message}`,
        { hint: 'run the command again when the network is better', because, cause: error },
      );
    });
    if (`sha512-${createHash('sha512').update(bytes).digest('base64')}` !== integrity)
      throw new WorkError(`the npm package ${name} ${version} is not the file its registry says it is`, {
        hint: 'nothing wrong was kept; run the command again, or use another registry with --archive npm=URL',
        because,
      });
  }
  return { locked: { name, version, file, size: bytes.length, sha256: sha256(bytes) }, bytes };
}
