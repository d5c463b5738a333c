import { DATA_ROOT, type FileWish, type Site, type TemplateData } from '../contract.js';
import { clamp } from '../quantities.js';
import type { SynapseSettings } from './settings.js';

/** Role and system user are the same, so that the socket itself tells who is there (PostgreSQL, "Peer Authentication"). */
export const ACCOUNT = 'matrix-synapse';
export const DATABASE = 'synapse';
/** Debian 13's version; the cluster's folder is named after it. */
const VERSION = 17;
export const PROGRAMS = `/usr/lib/postgresql/${VERSION}/bin`;
export const CLUSTERS = `${DATA_ROOT}/postgresql`;
export const CLUSTER = `${CLUSTERS}/${VERSION}`;
export const CONFIG_ROOT = '/etc/commesh/postgresql';
export const SERVER_UNIT = 'postgresql.service';
export const CLUSTER_UNIT = 'commesh-postgresql-cluster.service';
/** Connections Synapse keeps open when idle, and at most. */
export const POOL = { least: 2, most: 8 };
/** For a backup, a restore and somebody looking in by hand. */
const SPARE_CONNECTIONS = 8;

type Data = { readonly [key: string]: TemplateData };

/**
 * PostgreSQL's sizes for a board with this much memory, MiB. The share of the server's own cache is small, for Synapse needs the
 * rest and the kernel caches the same pages once more.
 */
export function tuning(memoryMiB: number): Data {
  return {
    connections: POOL.most + SPARE_CONNECTIONS,
    sharedBuffers: clamp(Math.floor(memoryMiB / 32), 32, 512),
    effectiveCache: Math.floor(memoryMiB / 4),
    workMemory: clamp(Math.floor(memoryMiB / 512), 2, 16),
    maintenanceMemory: clamp(Math.floor(memoryMiB / 32), 32, 256),
  };
}

/** Files that make and run the cluster. */
export function databaseFiles(
  site: Site,
  limits: { highMiB: number; maximumMiB: number },
): readonly FileWish[] {
  const readable = { mode: '0644', owner: 'root', group: 'root' };
  return [
    {
      path: `${CONFIG_ROOT}/postgresql.conf`,
      kind: 'template',
      ...readable,
      data: { ...tuning(site.memoryMiB), cluster: CLUSTER, config: CONFIG_ROOT },
    },
    { path: `${CONFIG_ROOT}/pg_hba.conf`, kind: 'copy', ...readable },
    { path: `${CONFIG_ROOT}/pg_ident.conf`, kind: 'copy', ...readable },
    {
      path: '/usr/libexec/commesh/postgresql-cluster',
      kind: 'template',
      ...readable,
      mode: '0755',
      data: { programs: PROGRAMS, cluster: CLUSTER, role: ACCOUNT, database: DATABASE },
    },
    {
      path: `/etc/systemd/system/${CLUSTER_UNIT}`,
      kind: 'template',
      ...readable,
      data: { clusters: CLUSTERS, dataRoot: DATA_ROOT, server: SERVER_UNIT },
    },
    {
      path: `/etc/systemd/system/${SERVER_UNIT}`,
      kind: 'template',
      ...readable,
      data: {
        programs: PROGRAMS,
        cluster: CLUSTER,
        clusters: CLUSTERS,
        config: CONFIG_ROOT,
        dataRoot: DATA_ROOT,
        made: CLUSTER_UNIT,
        ...limits,
      },
    },
    { path: CLUSTERS, kind: 'directory', mode: '0700', owner: 'postgres', group: 'postgres' },
  ];
}

/** Synapse's `database` section (Synapse, "Configuration Manual"; psycopg2 takes `args` as they are). */
export function databaseSection(settings: SynapseSettings, folder: string): Data {
  return settings.database === 'sqlite'
    ? { name: 'sqlite3', args: { database: `${folder}/homeserver.db` } }
    : {
        name: 'psycopg2',
        args: {
          user: ACCOUNT,
          dbname: DATABASE,
          host: '/run/postgresql',
          cp_min: POOL.least,
          cp_max: POOL.most,
        },
      };
}
