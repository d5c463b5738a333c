import { readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { readFileSync } from 'node:fs';
import { WorkError } from '../diagnostics/errors.js';
import type { TarEntry } from '../host/tarball.js';
import type { SiteIdentity } from '../pki/types.js';
import type { Plan, Planned } from '../plan/types.js';
import { CA_FILE, DATA_ROOT, TLS_ROOT, type FileWish } from '../services/contract.js';
import { renderFile, type TemplateFolders } from '../templates/load.js';
import type { IndexEntry } from './tar-index.js';
import type { BaseLayer } from './types.js';

/** What a site adds to a base layer, parents first. */
export interface SiteLayer {
  /** Laid over the root file system. */
  readonly root: readonly TarEntry[];
  /** First content of the data partition. */
  readonly data: readonly TarEntry[];
  /** Every file of the layer on the device, for the report. */
  readonly paths: readonly string[];
}

export interface SiteInputs {
  readonly plan: Plan;
  readonly identity: SiteIdentity;
  /** Apple configuration profile with the site CA. */
  readonly mobileconfig: string;
  readonly folders: TemplateFolders;
  readonly base: Pick<BaseLayer, 'passwd' | 'group'>;
  readonly index: readonly IndexEntry[];
  /** Time stamp of every file, seconds since 1970. */
  readonly epoch: number;
}

interface Node {
  readonly type: 'file' | 'directory' | 'symlink';
  readonly mode: number;
  readonly owner: string;
  readonly group: string;
  readonly content?: Buffer;
  readonly target?: string;
  readonly mtime?: number;
}

/** Renders everything a site adds. Deterministic: the same inputs always give the same bytes. */
export async function renderSiteLayer(inputs: SiteInputs): Promise<SiteLayer> {
  const { plan, identity, epoch } = inputs;
  const nodes = new Map<string, Node>();
  for (const file of plan.files) nodes.set(file.path, nodeOf(file, inputs));
  addCertificates(nodes, plan, identity);
  addUnitLinks(nodes, plan, inputs.index);

  const accounts = await readAccounts(inputs.base);
  const folders = new Set(
    inputs.index.filter((entry) => entry.type === 'd').map((entry) => `/${entry.path}`),
  );
  // The data partition begins empty; its root belongs to the base layer.
  const root = layer(nodes, (path) => !below(path, DATA_ROOT), '', folders);
  const data = layer(nodes, (path) => below(path, DATA_ROOT), DATA_ROOT, new Set([DATA_ROOT]));
  const entries = (list: readonly [string, Node][], prefix: string): TarEntry[] =>
    list.map(([path, node]) => ({
      path: path.slice(prefix.length + 1),
      type: node.type,
      mode: node.mode,
      uid: accounts.uid(node.owner, path),
      gid: accounts.gid(node.group, path),
      mtime: node.mtime ?? epoch,
      ...(node.content === undefined ? {} : { content: node.content }),
      ...(node.target === undefined ? {} : { target: node.target }),
    }));
  return { root: entries(root, ''), data: entries(data, DATA_ROOT), paths: [...nodes.keys()].sort() };
}

function below(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}

/** Nodes of one archive in path order, with the folders they need that exist nowhere yet. */
function layer(
  nodes: ReadonlyMap<string, Node>,
  wanted: (path: string) => boolean,
  root: string,
  existing: ReadonlySet<string>,
): readonly [string, Node][] {
  const result = new Map([...nodes].filter(([path]) => wanted(path) && path !== root));
  for (const path of [...result.keys()]) {
    for (
      let parent = posix.dirname(path);
      parent.length > root.length && parent !== '/';
      parent = posix.dirname(parent)
    ) {
      if (!existing.has(parent) && !result.has(parent)) {
        result.set(parent, { type: 'directory', mode: 0o755, owner: 'root', group: 'root' });
      }
    }
  }
  return [...result].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function nodeOf(file: Planned<FileWish>, inputs: SiteInputs): Node {
  const mode = Number.parseInt(file.mode, 8);
  const owned = { mode, owner: file.owner, group: file.group };
  const secret = (id: string): string => pseudoSecret(id, inputs) ?? inputs.identity.secrets.value(id);
  switch (file.kind) {
    case 'directory':
      return { type: 'directory', ...owned };
    case 'symlink':
      return { type: 'symlink', ...owned, mode: 0o777, target: file.target ?? '' };
    case 'ca-der':
      return { type: 'file', ...owned, content: inputs.identity.caDer };
    case 'secret': {
      const value = file.data?.['value'];
      if (
        value === null ||
        typeof value !== 'object' ||
        !('secret' in value) ||
        typeof value.secret !== 'string'
      ) {
        throw new Error(`${file.path}: a file of kind secret names no secret`);
      }
      return { type: 'file', ...owned, content: Buffer.from(`${secret(value.secret).trimEnd()}\n`) };
    }
    case 'template':
    case 'copy':
      return {
        type: 'file',
        ...owned,
        content: Buffer.from(renderFile(file, inputs.folders, readOrNull, secret)),
        // systemd takes the time of this file as the earliest the clock may show (systemd(1), "Clock epoch").
        ...(file.path === '/usr/lib/clock-epoch' ? { mtime: clockFloor(inputs) } : {}),
      };
  }
}

/** The earliest time the kit's clock may show: neither its packages nor its certificates are newer. Seconds since 1970. */
export function clockFloor(inputs: Pick<SiteInputs, 'epoch' | 'identity'>): number {
  return Math.max(inputs.epoch, Math.floor(inputs.identity.issuedAt));
}

function readOrNull(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Public facts of the identity that templates name like secrets, because only the site layer knows them. */
function pseudoSecret(id: string, inputs: SiteInputs): string | undefined {
  if (id === 'ca-fingerprint') return inputs.identity.caFingerprintSha256;
  if (id === 'ca-pem') return inputs.identity.caPem;
  if (id === 'ca-mobileconfig') return inputs.mobileconfig;
  if (id === 'clock-floor') return String(clockFloor(inputs));
  return undefined;
}

function addCertificates(nodes: Map<string, Node>, plan: Plan, identity: SiteIdentity): void {
  const root = { owner: 'root', group: 'root' };
  if (!nodes.has(TLS_ROOT)) nodes.set(TLS_ROOT, { type: 'directory', mode: 0o755, ...root });
  nodes.set(CA_FILE, { type: 'file', mode: 0o644, ...root, content: Buffer.from(identity.caPem) });
  for (const wish of plan.certificates) {
    const leaf = identity.leaves.get(wish.id);
    if (leaf === undefined) throw new Error(`no certificate was made for ${wish.id}`);
    nodes.set(`${wish.directory}/${wish.id}.crt`, {
      type: 'file',
      mode: 0o644,
      ...root,
      content: Buffer.from(leaf.chainPem),
    });
    nodes.set(`${wish.directory}/${wish.id}.key`, {
      type: 'file',
      mode: 0o640,
      owner: wish.owner,
      group: wish.group,
      content: Buffer.from(leaf.keyPem),
    });
  }
}

/** The links `systemctl enable` would make (systemctl(1)); packages' own choices were removed from the base layer. */
function addUnitLinks(nodes: Map<string, Node>, plan: Plan, index: readonly IndexEntry[]): void {
  const shipped = new Set(index.map((entry) => `/${entry.path}`));
  for (const unit of plan.units) {
    if (!unit.enabled) continue;
    const file = unit.name.replace(/@[^.]+\./, '@.');
    const place = [`/etc/systemd/system/${file}`, `/usr/lib/systemd/system/${file}`].find(
      (path) => nodes.has(path) || shipped.has(path),
    );
    if (place === undefined) {
      throw new WorkError(`the unit ${unit.name} is in no package of the image and in no file of the plan`, {
        because: unit.because,
        hint: 'this is a fault in commeshctl; please report it',
      });
    }
    nodes.set(`/etc/systemd/system/${unit.target}.wants/${unit.name}`, {
      type: 'symlink',
      mode: 0o777,
      owner: 'root',
      group: 'root',
      target: place,
    });
  }
}

async function readAccounts(
  base: SiteInputs['base'],
): Promise<{ uid(name: string, path: string): number; gid(name: string, path: string): number }> {
  const table = async (file: string): Promise<Map<string, number>> =>
    new Map(
      (await readFile(file, 'utf8'))
        .split('\n')
        .filter(Boolean)
        .map((line) => line.split(':'))
        .map((fields) => [fields[0] ?? '', Number(fields[2])]),
    );
  const [users, groups] = await Promise.all([table(base.passwd), table(base.group)]);
  const lookUp =
    (map: Map<string, number>, what: string) =>
    (name: string, path: string): number => {
      const id = map.get(name);
      if (id === undefined)
        throw new WorkError(`${path} shall belong to the ${what} ${name}, which the image does not have`);
      return id;
    };
  return { uid: lookUp(users, 'user'), gid: lookUp(groups, 'group') };
}
