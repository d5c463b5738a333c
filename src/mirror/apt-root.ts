import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ToolError, WorkError } from '../diagnostics/errors.js';
import type { ExecResult, Host } from '../host/host.js';
import type { PlanSource } from '../plan/types.js';
import type { Arch } from '../services/contract.js';
import { unpackIndex } from './chain.js';
import type { ArchivePlace } from './sources/apt.js';
import type { NetworkSettings } from './sources/proxy.js';

/** One `Packages` file that apt fetched and checked. */
export interface FetchedIndex {
  readonly source: PlanSource;
  /** Architecture of the index: `arm64`, `amd64` or `all`. */
  readonly arch: string;
  /** Path below the archive's root, with its ending: `dists/trixie/main/binary-arm64/Packages.xz`. */
  readonly path: string;
  /** As upstream signed it. */
  readonly file: string;
  /** Uncompressed. */
  readonly plain: string;
}

export interface FetchedRelease {
  readonly source: PlanSource;
  readonly file: string;
}

/**
 * An apt of its own: no package installed, no setting of the host but its proxies, only the kit's sources.
 * The lists are fetched once for all architectures and kept as upstream compressed and signed them; resolving reads an
 * unpacked copy, because apt looks up single stanzas in them.
 */
export class AptRoot {
  private constructor(
    private readonly host: Host,
    private readonly folder: string,
    private readonly sources: readonly PlanSource[],
    private readonly places: readonly ArchivePlace[],
    private readonly network: NetworkSettings,
    private readonly archs: readonly Arch[],
  ) {}

  static async create(
    host: Host,
    sources: readonly PlanSource[],
    places: readonly ArchivePlace[],
    network: NetworkSettings,
    archs: readonly Arch[],
  ): Promise<AptRoot> {
    const folder = await host.temporary('commesh-apt');
    // apt's download methods drop root and run as _apt, who must be able to read here.
    await chmod(folder, 0o755);
    for (const name of ['lists/partial', 'plain/partial', 'cache/archives/partial', 'state', 'etc', 'keys']) {
      await mkdir(join(folder, name), { recursive: true });
    }
    await writeFile(join(folder, 'status'), '');
    const root = new AptRoot(host, folder, sources, places, network, archs);
    await writeFile(join(folder, 'etc/kit.sources'), await root.#sourcesText());
    return root;
  }

  place(archive: string): ArchivePlace {
    const place = this.places.find((candidate) => candidate.archive === archive);
    if (place === undefined) throw new Error(`no place for archive ${archive}`);
    return place;
  }

  /** The URI apt is told; `file:` becomes `copy:`, so that apt reads it once and never links to it. */
  aptUri(archive: string): string {
    const { uri } = this.place(archive);
    return uri.startsWith('file:') ? `copy:${encodeURI(uri.slice(5))}` : uri;
  }

  async #sourcesText(): Promise<string> {
    const blocks: string[] = [];
    for (const source of this.sources) {
      const { keyring } = this.place(source.archive);
      const copy = join(
        this.folder,
        'keys',
        `${source.archive}${keyring.endsWith('.asc') ? '.asc' : '.gpg'}`,
      );
      await copyFile(keyring, copy);
      await chmod(copy, 0o644);
      blocks.push(
        [
          'Types: deb',
          `URIs: ${this.aptUri(source.archive)}`,
          `Suites: ${source.suite}`,
          `Components: ${source.components.join(' ')}`,
          `Signed-By: ${copy}`,
          '',
        ].join('\n'),
      );
    }
    return blocks.join('\n');
  }

  /** Runs apt with a configuration of its own; settings of the host are not read at all. */
  async #apt(
    argv: readonly string[],
    conf: Readonly<Record<string, string>>,
    archs: readonly string[],
  ): Promise<ExecResult> {
    const settings: Record<string, string> = {
      'Dir::Etc::main': '/dev/null',
      'Dir::Etc::parts': '/dev/null',
      'Dir::Etc::sourcelist': join(this.folder, 'etc/kit.sources'),
      'Dir::Etc::sourceparts': '/dev/null',
      'Dir::Etc::preferences': '/dev/null',
      'Dir::Etc::preferencesparts': '/dev/null',
      'Dir::Etc::trusted': '/dev/null',
      'Dir::Etc::trustedparts': '/dev/null',
      'Dir::State': join(this.folder, 'state'),
      'Dir::State::status': join(this.folder, 'status'),
      'Dir::Cache': join(this.folder, 'cache'),
      'APT::Architecture': archs[0] ?? 'amd64',
      'APT::Install-Recommends': 'false',
      'APT::Install-Suggests': 'false',
      'APT::Update::Error-Mode': 'any',
      'Acquire::Languages': 'none',
      'Acquire::PDiffs': 'false',
      'Acquire::Retries': '3',
      // A replayed old index hides security fixes: dates count here (`settingsFor` says when they do not).
      'Acquire::Check-Date': 'true',
      'Acquire::Check-Valid-Until': 'true',
      'Acquire::AllowInsecureRepositories': 'false',
      'Acquire::AllowWeakRepositories': 'false',
      'Acquire::AllowDowngradeToInsecureRepositories': 'false',
      ...conf,
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key} "${value}";`);
    lines.push(
      `APT::Architectures { ${archs.map((arch) => `"${arch}";`).join(' ')} };`,
      this.network.aptConf,
      '',
    );
    const file = join(this.folder, `apt-${argv[1] ?? ''}.conf`);
    await writeFile(file, lines.join('\n'));
    return await this.host.exec(argv, {
      env: { ...this.network.env, APT_CONFIG: file },
      allowFailure: true,
      title: 'apt',
    });
  }

  /** Path of a list file below `lists/`, by apt's own rule (URItoFileName). */
  listFile(source: PlanSource, name: string): string {
    const uri = `${this.aptUri(source.archive)}/dists/${source.suite}/${name}`;
    const bare = uri.replace(/^[a-z+]+:(?:\/\/(?:[^/@]*@)?)?/, '');
    // The set of characters is the one in apt's strutl.cc.
    const quoted = bare.replace(/[\\|{}[\]<>"^~_=!@#$%&*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
    return join(this.folder, 'lists', quoted.replaceAll('/', '_'));
  }

  /**
   * Fetches the signed indexes; apt checks signatures, digests and dates.
   * @throws WorkError that says which archive cannot be used, and why.
   */
  async update(): Promise<void> {
    const result = await this.#apt(
      ['apt-get', 'update', '-q'],
      {
        'Dir::State::lists': join(this.folder, 'lists'),
        // Keep what was signed instead of unpacking it.
        'Acquire::GzipIndexes': 'true',
        'Acquire::IndexTargets::deb::Packages::KeepCompressedAs': 'xz gz bz2 lzma zst lz4',
        'pkgCacheFile::Generate': 'false',
        ...(this.places.some((place) => place.uri.startsWith('file:'))
          ? { 'APT::Sandbox::User': 'root' }
          : {}),
      },
      this.archs,
    );
    if (result.exitCode !== 0) throw this.#updateError(result);
  }

  #updateError(result: ExecResult): Error {
    const text = `${result.stderr}\n${result.stdout}`;
    const complaints = result.stderr.split('\n').filter((line) => /^[EW]: /.test(line));
    const line = complaints.find((one) => one.startsWith('E: ')) ?? complaints[0] ?? '';
    const source = this.sources.find((candidate) => {
      const uri = this.aptUri(candidate.archive);
      return complaints.some(
        (one) =>
          one.includes(`${uri}/dists/${candidate.suite}/`) || one.includes(`${uri} ${candidate.suite} `),
      );
    });
    const what =
      source === undefined
        ? 'the package index'
        : `the index "${source.suite}" of the archive "${source.archive}"`;
    const keyring = source === undefined ? '' : this.place(source.archive).keyring;
    const [message, hint] = explainUpdate(text, what, keyring);
    const detail = line.slice(3).trim();
    return new WorkError(detail === '' ? message : `${message}\n${detail}`, {
      hint,
      because: ['mirror'],
      cause: new ToolError(['apt-get', 'update'], result.exitCode, complaints.join('\n')),
    });
  }

  /** The signed release files and the package lists of all sources, unpacked beside. */
  async indexes(): Promise<{ releases: FetchedRelease[]; packages: FetchedIndex[] }> {
    const listing = await this.#apt(
      [
        'apt-get',
        'indextargets',
        '--format',
        '$(REPO_URI)|$(RELEASE)|$(METAKEY)|$(ARCHITECTURE)|$(FILENAME)',
        'Created-By: Packages',
      ],
      { 'Dir::State::lists': join(this.folder, 'lists') },
      this.archs,
    );
    if (listing.exitCode !== 0)
      throw new ToolError(['apt-get', 'indextargets'], listing.exitCode, listing.stderr);
    const releases = this.sources.map((source) => ({ source, file: this.listFile(source, 'InRelease') }));
    const packages: FetchedIndex[] = [];
    for (const line of listing.stdout.split('\n').filter(Boolean)) {
      const [repository = '', suite = '', key = '', arch = '', file = ''] = line.split('|');
      const source = this.sources.find(
        (candidate) => candidate.suite === suite && sameUri(this.aptUri(candidate.archive), repository),
      );
      if (source === undefined) continue;
      const plain = join(this.folder, 'plain', basename(this.listFile(source, key)));
      const ending = file.slice(file.lastIndexOf('_Packages') + '_Packages'.length);
      await unpackIndex(this.host, file, plain);
      packages.push({ source, arch, path: `dists/${suite}/${key}${ending}`, file, plain });
    }
    for (const release of releases)
      await copyFile(release.file, join(this.folder, 'plain', basename(release.file)));
    return { releases, packages };
  }

  /**
   * What apt would fetch to install (`install`) or only to unpack (`download`) these packages.
   * @returns archive and path of each .deb, or apt's complaint.
   */
  async ask(
    verb: 'install' | 'download',
    arch: Arch,
    names: readonly string[],
    preferences: string,
  ): Promise<{ found: { archive: string; path: string }[] } | { complaint: string }> {
    const file = join(this.folder, 'etc/preferences');
    await writeFile(file, preferences);
    const result = await this.#apt(
      ['apt-get', verb, '-q', '-q', '-y', '--print-uris', '--', ...names],
      { 'Dir::State::lists': join(this.folder, 'plain'), 'Dir::Etc::preferences': file },
      [arch],
    );
    if (result.exitCode !== 0) return { complaint: `${result.stdout}\n${result.stderr}`.trim() };
    const found: { archive: string; path: string }[] = [];
    for (const line of result.stdout.split('\n')) {
      const uri = /^'([^']+)' /.exec(line)?.[1];
      if (uri === undefined) continue;
      const place = this.places.find((candidate) => uri.startsWith(`${this.aptUri(candidate.archive)}/`));
      if (place === undefined) throw new Error(`apt named a file of no known archive: ${uri}`);
      found.push({
        archive: place.archive,
        path: decodeURIComponent(uri.slice(this.aptUri(place.archive).length + 1)),
      });
    }
    return { found };
  }
}

function sameUri(a: string, b: string): boolean {
  return a.replace(/\/+$/, '') === b.replace(/\/+$/, '');
}

/** apt's words (2.6 with gpgv, 3.x with sqv) told to a volunteer: message and hint. */
export function explainUpdate(text: string, what: string, keyring: string): [string, string] {
  if (/is expired \(invalid since|Release file .* is expired/.test(text)) {
    return [
      `${what} has expired: this mirror is no longer updated, or this computer's clock is wrong`,
      'compare the clock (date), then use another mirror ("mirror:" in the profile) or try again later',
    ];
  }
  if (/is not valid yet|not valid yet/.test(text)) {
    return [
      `${what} is dated in the future: this computer's clock is slow`,
      "set this computer's clock, then try again",
    ];
  }
  if (/NO_PUBKEY|public key is not available|Missing key|no keyring installed/i.test(text)) {
    return [
      `${what} is signed with a key that ${keyring || "this computer's keyring"} does not hold`,
      'get a newer package debian-archive-keyring (or the keyring of that archive); if it is new already, do not trust this mirror',
    ];
  }
  if (
    /BADSIG|EXPKEYSIG|REVKEYSIG|signatures were invalid|Bad signature|OpenPGP signature verification failed|verification failed/i.test(
      text,
    )
  ) {
    return [
      `${what} carries a wrong signature: it was changed after it was signed, or not signed by Debian`,
      'do not use this mirror; choose another one as "mirror:" in the profile',
    ];
  }
  if (/is not signed|NODATA|NOSPLIT|Clearsigned file isn't valid/.test(text)) {
    return [`${what} is not signed`, "use a mirror that carries upstream's own signed InRelease files"];
  }
  // apt 3 tries the other compressions after a wrong digest, and tells only that the last one is not there.
  const listMissing =
    /Failed to fetch \S*\/Packages/.test(text) && /404|No such file|File not found/.test(text);
  if (listMissing || /Hash Sum mismatch|File has unexpected size|Mirror sync in progress/.test(text)) {
    return [
      `${what} and its package lists do not fit together: the mirror is being updated, or a proxy gives old files`,
      'try again in some minutes, or use another mirror',
    ];
  }
  if (
    /Temporary failure resolving|Could not resolve|Could not connect|Connection (?:failed|timed out|refused)|Unable to connect|Network is unreachable/.test(
      text,
    )
  ) {
    return [
      `the mirror cannot be reached`,
      'is this computer online? "mirror:" in the profile names another mirror or a folder',
    ];
  }
  if (/404|does not have a Release file|File not found|No such file/.test(text)) {
    return [`${what} is not on this mirror`, 'is the address right? It must hold dists/ and pool/'];
  }
  return [`${what} could not be fetched`, "apt's own words are above; try again, or use another mirror"];
}
