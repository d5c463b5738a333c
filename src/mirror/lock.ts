import { Ajv } from 'ajv';
import { WorkError } from '../diagnostics/errors.js';
import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { readTextIfThere, writeAtomic } from '../host/files.js';
import { besideProfile } from '../host/paths.js';
import { isExtractOnly, type Request } from './request.js';
import type { Lock, LockPackage } from './types.js';

/** The lock of a profile lies beside it: `clinic.yaml` → `clinic.lock.json`. */
export function lockPath(profilePath: string): string {
  return besideProfile(profilePath, '.lock.json');
}

const DIGEST = { type: 'string', pattern: '^[0-9a-f]{64}$' };
const NAME = { type: 'string', pattern: '^[a-z0-9][a-z0-9+.-]*$' };
const SUITE = {
  type: 'string',
  pattern: '^(?:\\./|[a-z0-9][a-z0-9+./-]*)$',
  not: { type: 'string', pattern: '\\.\\.' },
};
// A lock may come from somebody else: its paths must not lead out of the cache.
const PATH = {
  type: 'string',
  pattern: '^[A-Za-z0-9][A-Za-z0-9+._~%:/-]*$',
  not: { type: 'string', pattern: '\\.\\./|/\\.\\.$|//' },
};
const FILE = { size: { type: 'integer', minimum: 0 }, sha256: DIGEST };
const TEXT = { type: 'string', minLength: 1 };
/** One name of a path, or an npm package's two. */
const PART = '[A-Za-z0-9_][A-Za-z0-9+._~!-]*';

const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['format', 'request', 'epoch', 'indexes', 'sets'],
  properties: {
    format: { const: 1 },
    request: DIGEST,
    epoch: { type: 'integer', minimum: 1 },
    indexes: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['archive', 'suite', 'components', 'signedBy', 'date', 'files'],
        properties: {
          archive: NAME,
          suite: SUITE,
          components: { type: 'array', items: TEXT },
          signedBy: { type: 'array', items: { type: 'string', pattern: '^[0-9A-F]{40}$' } },
          date: { type: 'integer' },
          files: {
            type: 'array',
            items: {
              type: 'object',
              additionalProperties: false,
              required: ['path', 'size', 'sha256'],
              properties: { path: PATH, ...FILE },
            },
          },
        },
      },
    },
    sets: {
      type: 'object',
      additionalProperties: {
        type: 'array',
        items: {
          type: 'object',
          additionalProperties: false,
          required: [
            'name',
            'version',
            'arch',
            'path',
            'size',
            'sha256',
            'source',
            'sourceVersion',
            'archive',
            'suite',
            'installedKiB',
          ],
          properties: {
            name: NAME,
            version: TEXT,
            arch: NAME,
            path: PATH,
            ...FILE,
            source: TEXT,
            sourceVersion: TEXT,
            archive: NAME,
            suite: SUITE,
            installedKiB: { type: 'integer', minimum: 0 },
            for: NAME,
          },
        },
      },
    },
    artifacts: {
      type: 'object',
      additionalProperties: {
        type: 'array',
        items: {
          type: 'object',
          additionalProperties: false,
          required: ['name', 'version', 'file', 'size', 'sha256'],
          properties: {
            name: { type: 'string', pattern: `^(?:@${PART}/)?${PART}$` },
            version: TEXT,
            file: { type: 'string', pattern: `^${PART}$` },
            ...FILE,
          },
        },
      },
    },
  },
};

const validate = new Ajv({ strict: true }).compile<Lock>(SCHEMA);

/** A path below an archive's root that a lock may name. */
export function isLockPath(path: string): boolean {
  return new RegExp(PATH.pattern).test(path) && !new RegExp(PATH.not.pattern).test(path);
}

/**
 * The lock at `file`, or null when there is none.
 * @throws WorkError when it is damaged.
 */
export async function readLock(file: string): Promise<Lock | null> {
  const text = await readTextIfThere(file);
  if (text === null) return null;
  const hint = 'remove it and run "commeshctl fetch" again, or put back the copy you have';
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new WorkError(`the lock ${file} is damaged: it is not JSON`, { hint });
  }
  if (!validate(data)) {
    const first = validate.errors?.[0];
    throw new WorkError(
      `the lock ${file} is damaged: ${first?.instancePath || 'its top level'} ${first?.message ?? 'is wrong'}`,
      { hint },
    );
  }
  return data;
}

/** Writes a lock: sorted, two spaces, the same bytes for the same lock. */
export async function writeLock(file: string, lock: Lock): Promise<void> {
  await writeAtomic(file, formatLock(lock));
}

/** The text of a lock file. Keys of a set are sorted; the order of indexes is the plan's and says which source comes first. */
export function formatLock(lock: Lock): string {
  const sets = Object.fromEntries(Object.entries(lock.sets).sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${JSON.stringify({ ...lock, sets }, null, 2)}\n`;
}

/** The profile path that asked for a package of the lock; what every Debian system holds comes from `base`. */
export function becauseOf(request: Request, setId: string, found: LockPackage): ProfilePath {
  const set = request.sets.find((candidate) => candidate.id === setId);
  const wanted = found.for ?? found.name;
  return (
    set?.packages.find((wish) => wish.name === wanted)?.because ??
    (isExtractOnly(setId) ? ['board'] : ['base'])
  );
}

/** Architectures whose package lists these sets need; null when that cannot be told (only `all` packages): every one. */
export function archsOf(lock: Lock, setIds: readonly string[]): ReadonlySet<string> | null {
  const archs = new Set(['all']);
  for (const id of setIds) {
    const own = (lock.sets[id] ?? []).find((found) => found.arch !== 'all');
    if (own === undefined) return null;
    archs.add(own.arch);
  }
  return archs;
}
