/**
 * What a service may see and say. A service declares; it never acts. Everything here is plain data:
 * no functions in a declaration, no secret value, no clock, no host path.
 */
import type { Diagnostic, ProfilePath } from '../diagnostics/diagnostic.js';

// ---------------------------------------------------------------- the site

export type Board = 'zero2w' | 'pi3' | 'pi4' | 'pi5' | 'pc';
export type Arch = 'arm64' | 'amd64';
export type Base = 'debian' | 'raspberry-pi-os';

/** A reference to a secret of the site; its value is known only to the site layer. */
export interface SecretRef {
  readonly secret: string;
}

export interface WifiSettings {
  readonly ssid: string;
  /** ISO 3166-1 alpha-2, upper case. */
  readonly country: string;
  readonly channel: number;
  readonly passphrase: SecretRef;
}

export interface DhcpSettings {
  readonly enabled: boolean;
  /** First and last address handed out. */
  readonly from: string;
  readonly to: string;
  readonly leaseHours: number;
}

export interface NetworkSettings {
  /** access-point: the kit is the network (its Wi-Fi and its cables). lan: the kit joins a wired network. */
  readonly mode: 'access-point' | 'lan';
  /** The kit's own IPv4 address. */
  readonly address: string;
  /** Prefix length, 8..30. */
  readonly prefix: number;
  /** Network address, e.g. 10.77.0.0. */
  readonly network: string;
  readonly netmask: string;
  readonly broadcast: string;
  readonly dhcp: DhcpSettings;
  /** Only in access-point mode. */
  readonly wifi: WifiSettings | null;
}

export interface BackupSettings {
  readonly enabled: boolean;
  /** Local time of the daily run, HH:MM. */
  readonly at: string;
  readonly keep: { readonly daily: number; readonly weekly: number; readonly monthly: number };
}

/** Another kit whose people may write to the people of this one. */
export interface Sister {
  readonly domain: string;
  /** Its IPv4 address, reachable from this kit. */
  readonly address: string;
  /** Its CA's certificate, PEM. */
  readonly ca: string;
}

/** Every setting with its value; nothing optional, nothing undefined. Frozen. */
export interface Site {
  readonly name: string;
  readonly title: string;
  readonly domain: string;
  /** BCP 47 language tags, the first is the main one. */
  readonly languages: readonly string[];
  readonly timezone: string;
  readonly board: Board;
  readonly arch: Arch;
  readonly base: Base;
  /** Memory of the board, MiB. */
  readonly memoryMiB: number;
  /** Size of the card or disk the kit will run from, GB (10^9 bytes). */
  readonly storageGB: number;
  readonly mirror: string;
  readonly people: number;
  readonly network: NetworkSettings;
  readonly admin: { readonly keys: readonly string[] };
  readonly backup: BackupSettings;
  /** The only other servers this kit speaks to; empty: none. */
  readonly federation: readonly Sister[];
  /** Enabled services only; each value is the complete settings of that service. */
  readonly services: Readonly<Record<string, unknown>>;
}

// ---------------------------------------------------------------- what a service declares

/** Every entry may say which setting asked for it; the assembler fills in the service's own path. */
interface Because {
  readonly because?: ProfilePath;
}

export interface PackageWish extends Because {
  readonly name: string;
  /** Take it from this suite instead of the base's own, e.g. `forky`. */
  readonly suite?: string;
  /** Take it from this archive of another publisher (`ArchiveWish.archive`). */
  readonly archive?: string;
}

/**
 * A Python program from its publisher's wheels, in a virtual environment of its own at `/usr/lib/commesh/<id>`, made in the base
 * layer. It runs on Debian's own Python.
 */
export interface WheelsWish extends Because {
  /** Name of the folder, and of the set `wheels-<id>` in the lock. */
  readonly id: string;
  /** What is wanted, PEP 508: `matrix-synapse==1.163.2`. What it needs is resolved. */
  readonly requirements: readonly string[];
  /** Projects that Debian packages of the image provide; no wheel of theirs is taken. */
  readonly provided: readonly string[];
}

/** Files of a package of the npm registry that is ready to be served or run; nothing it needs is resolved. */
export interface TarballWish extends Because {
  readonly name: string;
  /** Exact. */
  readonly version: string;
  /** Files and folders below the package's own top folder (a folder ends in `/`), and where they go on the device. */
  readonly files: readonly { readonly from: string; readonly to: string }[];
}

/** An apt archive of another publisher; nothing comes from it but packages whose wish names its `archive`. */
export interface ArchiveWish extends Because {
  /** Short name, also of its key file `keys/<archive>.asc` and its folder in the cache. */
  readonly archive: string;
  /** Address of the archive, without a final slash. */
  readonly uri: string;
  /** Suite; a folder with a slash at its end (`stable/`, `./`) is a flat repository. */
  readonly suite: string;
  /** None in a flat repository. */
  readonly components: readonly string[];
  /** Fingerprints (40 hex digits) one of which must have signed it. */
  readonly fingerprints: readonly string[];
}

/** JSON-like data for a template; `SecretRef`s are replaced by their values in the site layer. */
export type TemplateData =
  | string
  | number
  | boolean
  | null
  | SecretRef
  | readonly TemplateData[]
  | { readonly [key: string]: TemplateData };

export interface FileWish extends Because {
  /** Absolute path on the device. */
  readonly path: string;
  /**
   * template: rendered from `templates/<service>/<path>.hbs` with `data` (`template` names another one).
   * copy: the bytes of `templates/<service>/<path>` as they are (`template` names another one).
   * directory, symlink (`target`).
   * ca-der: the site CA's certificate as DER. secret: the value of the secret `data.value`, followed by a newline.
   */
  readonly kind: 'template' | 'copy' | 'directory' | 'symlink' | 'secret' | 'ca-der';
  readonly template?: string;
  readonly data?: { readonly [key: string]: TemplateData };
  readonly target?: string;
  /** Octal, quoted: '0644'. Ignored for symlinks. */
  readonly mode: string;
  readonly owner: string;
  readonly group: string;
  /** Holds a secret once rendered: never shown, must not be readable by others. */
  readonly sensitive?: boolean;
}

/** A system user made in the base layer (locked password, no login shell unless given). */
export interface UserWish extends Because {
  readonly name: string;
  readonly home: string;
  readonly shell: string;
  /** Further groups. */
  readonly groups: readonly string[];
}

export interface UnitWish extends Because {
  readonly name: string;
  /** Start at boot; `target` holds the link. */
  readonly enabled: boolean;
  /** The unit that wants it, e.g. `multi-user.target`. */
  readonly target: string;
  /** verify: must be active on a running kit. Oneshots and timers set what fits them. */
  readonly active: boolean;
}

export interface PortWish extends Because {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  /** Last port of a range (inclusive); equal to `port` for one port. */
  readonly to?: number;
  /** kit: reachable from the kit's network. loopback: only on the device itself. sisters: only from the addresses of sister sites. */
  readonly scope: 'kit' | 'loopback' | 'sisters';
  /** What a person would call it: "chat apps (direct TLS)". */
  readonly purpose: string;
  /** Always listening when the kit is idle (false: relay ranges and the like). */
  readonly listening: boolean;
  /** Process name shown by ss, e.g. `lua5.4`. */
  readonly process: string;
}

/** A host name below the site's domain ('' is the domain itself), answered with the kit's address. */
export interface NameWish extends Because {
  readonly label: string;
}

/** A DNS SRV record (RFC 2782), `_xmpp-client._tcp` on `label` below the domain. */
export interface SrvWish extends Because {
  /** Symbolic name of the service without its underscore, e.g. `xmpp-client`. */
  readonly symbol: string;
  readonly protocol: 'tcp' | 'udp';
  readonly label: string;
  readonly targetLabel: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

export interface CertificateWish extends Because {
  /** Files are `<directory>/<id>.crt` (chain: leaf then CA) and `<directory>/<id>.key`. */
  readonly id: string;
  readonly directory: string;
  /** Labels below the domain; '' is the domain. The kit's address is added when `address` is true. */
  readonly labels: readonly string[];
  readonly address: boolean;
  /** Set when the program also acts as a TLS client to its peers (XMPP s2s). */
  readonly client: boolean;
  readonly owner: string;
  readonly group: string;
}

export interface SecretWish extends Because {
  readonly id: string;
  /**
   * token: `length` characters of [A-Za-z0-9]. hex: `length` hex digits. words: a passphrase a person can
   * type, `length` words. ssh-ed25519: an OpenSSH key pair. matrix-ed25519: a Matrix server's signing key, one line as its server
   * reads it (`length` is the number of characters of its name). given: must come from the profile or a file.
   */
  readonly kind: 'token' | 'hex' | 'words' | 'ssh-ed25519' | 'matrix-ed25519';
  readonly length: number;
}

/** A virtual host of the kit's web server. */
export interface WebSiteWish extends Because {
  readonly label: string;
  /** Locations, in the order written. */
  readonly locations: readonly WebLocation[];
}

export interface WebLocation {
  /** nginx prefix, e.g. `/http-bind` or `/`. */
  readonly path: string;
  /** Pass to a local server, e.g. `http://127.0.0.1:5280`. Empty when `root` is used. */
  readonly proxy: string;
  /** Host header towards the local server; empty keeps the visitor's. */
  readonly proxyHost: string;
  readonly websocket: boolean;
  /** Largest request body, MiB; 0 keeps the default of 1. */
  readonly bodyMiB: number;
  /** Folder with static files. Empty when `proxy` is used. */
  readonly root: string;
  /** The pages there carry scripts and styles inside the HTML (their package's doing, not ours). */
  readonly inlineScripts?: boolean;
  /** Content-Security-Policy instead of the strict one; nothing in it may name another host. */
  readonly policy?: string;
  /** Instead of `proxy` and `root`: this JSON text is the answer, readable by every origin (well-known documents). */
  readonly json?: string;
}

/** Something the join page shows. */
export interface JoinCard extends Because {
  readonly id: string;
  readonly title: string;
  /** Plain sentences; `{domain}` and `{address}` are filled in. The web server's catalogues may translate the card. */
  readonly lines: readonly string[];
  /** Address of a page of the kit, shown as a button. */
  readonly link?: string;
}

export interface BackupWish extends Because {
  /** Files and folders as they are. */
  readonly paths: readonly string[];
  /** SQLite databases; copied through SQLite's backup API. */
  readonly sqlite: readonly string[];
  /** Databases of the kit's PostgreSQL, by name; dumped with pg_dump and put back with pg_restore. */
  readonly postgres?: readonly string[];
  /** Units stopped while a backup is put back. */
  readonly units: readonly string[];
}

export interface CheckWish extends Because {
  /** The check that runs it: a file name below src/verify/checks without its ending. */
  readonly kind: string;
  /** What it looks at, in words: "two people exchange a message". */
  readonly title: string;
  readonly options: { readonly [key: string]: TemplateData };
}

export interface Declaration {
  readonly packages?: readonly PackageWish[];
  readonly wheels?: readonly WheelsWish[];
  readonly tarballs?: readonly TarballWish[];
  readonly archives?: readonly ArchiveWish[];
  readonly files?: readonly FileWish[];
  readonly users?: readonly UserWish[];
  readonly units?: readonly UnitWish[];
  readonly ports?: readonly PortWish[];
  readonly names?: readonly NameWish[];
  readonly srv?: readonly SrvWish[];
  readonly certificates?: readonly CertificateWish[];
  readonly secrets?: readonly SecretWish[];
  readonly web?: readonly WebSiteWish[];
  readonly join?: readonly JoinCard[];
  /** Backup declared, or the reason why nothing needs it. */
  readonly backup?: BackupWish | { readonly none: string };
  readonly memory?: { readonly idleMiB: number; readonly perPersonKiB: number };
  /** Space on the data partition, MB (10^6 bytes). */
  readonly disk?: { readonly fixedMB: number; readonly perPersonMB: number };
  readonly checks?: readonly CheckWish[];
  /** What a person should know before they choose this; nothing is wrong. */
  readonly notes?: readonly Diagnostic[];
}

// ---------------------------------------------------------------- capabilities

/** What services offer one another; a consumer never names the service behind it. */
export interface Capabilities {
  /** A TURN server with time-limited shared-secret credentials (draft-uberti-behave-turn-rest). */
  readonly turn: {
    readonly host: string;
    readonly port: number;
    readonly tlsPort: number;
    readonly secret: SecretRef;
  };
  /** A web server with TLS for the site's names. */
  readonly web: { readonly webRoot: string; readonly user: string };
  /** A Matrix homeserver. */
  readonly matrix: {
    /** server_name: what stands behind the colon of an address. */
    readonly server: string;
    /** Base address of the client API, without a final slash. */
    readonly baseUrl: string;
  };
  /** A page where a person makes an account of the Matrix server with a token, which stands behind `#` in its address. */
  readonly register: { readonly page: string };
  /** A chat service people can be invited to. */
  readonly chat: { readonly domain: string; readonly invitePath: string };
}
export type CapabilityName = keyof Capabilities;

// ---------------------------------------------------------------- the service itself

/** JSON schema (draft 2020-12 subset that ajv strict mode accepts). */
export type JsonSchema = { readonly [keyword: string]: unknown };

export interface ServiceContext<S> {
  readonly site: Site;
  readonly settings: S;
  /** The capability, or undefined when no enabled service offers it. */
  use<K extends CapabilityName>(name: K): Capabilities[K] | undefined;
}

/** What all services declared together, for those that build on the sum (firewall, DNS, web server, backup). */
export interface Gathered {
  readonly packages: readonly PackageWish[];
  readonly files: readonly FileWish[];
  readonly units: readonly UnitWish[];
  readonly ports: readonly PortWish[];
  readonly names: readonly NameWish[];
  readonly srv: readonly SrvWish[];
  readonly web: readonly WebSiteWish[];
  readonly join: readonly JoinCard[];
  readonly certificates: readonly CertificateWish[];
  readonly backups: readonly BackupWish[];
}

export interface Service<S = unknown> {
  /** Folder name, and key below `services:` in the profile unless `always`. */
  readonly id: string;
  readonly title: string;
  readonly summary: string;
  /** Part of every kit; has no key below `services:`. */
  readonly always: boolean;
  /** Schema of `services.<id>` as a person may write it (everything optional). `true` enables with defaults. */
  readonly schema: JsonSchema;
  /** Complete settings from the site and what the person wrote. Pure. */
  settings(site: Site, written: Readonly<Record<string, unknown>>): S;
  /** Rules a schema cannot say. Paths start at the profile's root. */
  rules?(site: Site, settings: S): readonly Diagnostic[];
  /** Capabilities without which it makes no sense; when one is missing the plan says so, and which service has it. */
  needs?(site: Site, settings: S): readonly CapabilityName[];
  /** Capabilities offered under these settings. */
  provides?(site: Site, settings: S): Partial<Capabilities>;
  declare(context: ServiceContext<S>): Declaration;
  /** Second round, once every service has declared. */
  collect?(context: ServiceContext<S>, gathered: Gathered): Declaration;
}

/** Keeps the settings' type while the registry holds services of all kinds. */
export function defineService<S>(service: Service<S>): Service<S> {
  return service;
}

/** Mount point of the data partition; all state of all services lies below it. */
export const DATA_ROOT = '/srv/commesh';
/** Bridge that joins the kit's cables and its Wi-Fi. */
export const KIT_INTERFACE = 'kit0';
/** Folder of certificates and keys on the device. */
export const TLS_ROOT = '/etc/commesh/tls';
/** The site CA's certificate on the device, PEM. */
export const CA_FILE = '/etc/commesh/tls/site-ca.crt';
/** CA certificates of sister sites on the device, PEM: `<domain>.crt` each, and all of them in SISTERS_FILE. */
export const SISTERS_ROOT = '/etc/commesh/federation';
/** No domain is one word, so no sister's own file has this name. */
export const SISTERS_FILE = `${SISTERS_ROOT}/sisters.crt`;
/** Account for the administrator: SSH keys only, sudo without a password. */
export const ADMIN_USER = 'kit';

/** Set of all npm packages in the lock. */
export const NPM_SET = 'npm';

/** Set of a program made of wheels in the lock. */
export function wheelsSet(id: string): string {
  return `wheels-${id}`;
}
