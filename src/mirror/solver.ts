import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ToolError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import type { PackageSet, PlanSource } from '../plan/types.js';
import type { Arch } from '../services/contract.js';
import type { CheckedSource } from './indexes.js';
import { PackagesIndex, reachable, toRecord } from './packages.js';
import { comesFrom, isFlat, isForeign } from './suites.js';

/** What is asked of apt. */
export interface Question {
  /** `install`: these packages and all they need. `download`: only these. */
  readonly verb: 'install' | 'download';
  readonly arch: Arch;
  readonly names: readonly string[];
  /** The set the names belong to: its wishes say what comes from which suite or archive. */
  readonly set: PackageSet;
}

/** Archive, path and name of each .deb apt would fetch, or apt's complaint. */
export type Answer =
  | { readonly found: readonly { readonly archive: string; readonly path: string; readonly name: string }[] }
  | { readonly complaint: string };

/** Where the questions lie inside the tools tree. */
const INSIDE = '/mnt/apt';
/** Root of the archives in what apt is told; nothing is there, and nothing is fetched. */
const ARCHIVES = '/mnt/archives';

/** Asks apt every question below $1, $2 at a time. */
const ASK = `
cd "$1"
count=0
for question in */; do
  ( cd "$question"
    code=0
    APT_CONFIG="$PWD/apt.conf" apt-get "$(cat verb)" -q -q -y --print-uris -- $(cat names) >out 2>err || code=$?
    echo $code >code ) &
  count=$((count + 1))
  [ $((count % $2)) != 0 ] || wait
done
wait
`;

/**
 * Asks the apt of a tools tree, where no network is, what it would install from lists that are checked already. It gets only
 * the packages that can be reached from what is asked, which leaves its answer as it is: the rest could never be chosen.
 * @returns an answer for each question.
 * @throws ToolError when apt cannot be run at all.
 */
export async function askApt(
  host: Host,
  tools: Tools,
  sources: readonly CheckedSource[],
  questions: readonly Question[],
): Promise<Answer[]> {
  const folder = await host.temporary('commesh-apt');
  const folderOf = (at: number): string => String(at).padStart(4, '0');
  await Promise.all(
    questions.map((question, at) =>
      writeQuestion(join(folder, folderOf(at)), folderOf(at), sources, question),
    ),
  );
  await tools.run(['sh', '-euc', ASK, 'sh', INSIDE, String(availableParallelism())], {
    binds: [{ from: folder, to: INSIDE }],
    title: 'apt',
  });
  return await Promise.all(
    questions.map(async (_question, at): Promise<Answer> => {
      const read = (name: string): Promise<string> => readFile(join(folder, folderOf(at), name), 'utf8');
      const [code, out, err] = await Promise.all([read('code'), read('out'), read('err')]);
      if (code.trim() === '0') return { found: parseUris(out) };
      // apt-get's own word for "no"; anything else is no answer (apt-get(8), diagnostics).
      if (code.trim() !== '100') throw new ToolError(['apt-get'], Number(code), err);
      return { complaint: `${out}\n${err}`.trim() };
    }),
  );
}

/** Lines of `apt-get --print-uris`: `'uri' name_version_arch.deb size digest`. */
function parseUris(out: string): { archive: string; path: string; name: string }[] {
  return out.split('\n').flatMap((line) => {
    const [, archive, path, name] =
      new RegExp(`^'copy:${ARCHIVES}/([^/']+)/([^']+)' ([^_ ]+)_`).exec(line) ?? [];
    return archive && path && name
      ? [{ archive, path: decodeURIComponent(path).replace(/^(?:\.\/)+/, ''), name }]
      : [];
  });
}

async function writeQuestion(
  folder: string,
  name: string,
  sources: readonly CheckedSource[],
  question: Question,
): Promise<void> {
  for (const one of ['lists/partial', 'cache/archives/partial', 'state']) {
    await mkdir(join(folder, one), { recursive: true });
  }
  const inside = `${INSIDE}/${name}`;
  const { arch } = question;
  const views = sources.map((checked) => viewOf(checked, question));
  const names = [...reachable(question.names, views)].sort();
  await Promise.all(
    sources.map(async (checked, at) => {
      const { source } = checked;
      // The name apt gives a list (URItoFileName in its strutl.cc); archives and suites hold no character it quotes.
      const stem = join(
        folder,
        'lists',
        `${ARCHIVES}/${source.archive}/dists/${aptSuite(source)}`.replaceAll('/', '_'),
      );
      const fields = Object.entries(aptRelease(checked));
      const text = fields.flatMap(([key, value]) => (value === '' ? [] : [`${key}: ${value}\n`])).join('');
      await writeFile(`${stem}_Release`, text);
      const stanzas = names.flatMap((one) => views[at]?.stanzas(one) ?? []);
      await writeFile(`${stem}_main_binary-${arch}_Packages`, stanzas.join('\n'), 'latin1');
    }),
  );
  const sourceLines = sources.map(
    ({ source }) => `deb [trusted=yes] copy:${ARCHIVES}/${source.archive} ${aptSuite(source)} main\n`,
  );
  const settings = {
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::parts': '/dev/null',
    'Dir::Etc::sourcelist': `${inside}/sources.list`,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': `${inside}/preferences`,
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State': `${inside}/state`,
    'Dir::State::lists': `${inside}/lists`,
    'Dir::State::status': `${inside}/status`,
    'Dir::Cache': `${inside}/cache`,
    'APT::Architecture': arch,
    'APT::Install-Recommends': 'false',
    'APT::Install-Suggests': 'false',
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  };
  const conf = Object.entries(settings).map(([key, value]) => `${key} "${value}";\n`);
  await Promise.all([
    writeFile(join(folder, 'sources.list'), sourceLines.join('')),
    writeFile(join(folder, 'preferences'), pinText(question.set, sources)),
    writeFile(join(folder, 'status'), ''),
    writeFile(join(folder, 'apt.conf'), `${conf.join('')}APT::Architectures { "${arch}"; };\n`),
    writeFile(join(folder, 'verb'), question.verb),
    writeFile(join(folder, 'names'), question.names.join('\n')),
  ]);
}

/** The suite apt is told. It gets the lists of a flat repository as those of a component; paths of packages stay as they are. */
function aptSuite(source: PlanSource): string {
  return isFlat(source.suite) ? 'flat' : source.suite;
}

/**
 * What apt is told of a source, to tell it from the others by: what its signed release says, since host names differ from mirror
 * to mirror. Another publisher's release may say nothing, or call itself Debian: it gets a name of its own.
 */
function aptRelease({ source, release }: CheckedSource): Readonly<Record<string, string>> {
  if (isForeign(source)) return { Origin: `archive-${source.archive}` };
  const { origin, label, suite, codename, version } = release;
  return { Origin: origin, Label: label, Suite: suite, Codename: codename, Version: version };
}

/** What of a source apt may look at: all of it, or only the packages that name its suite. */
function viewOf(
  checked: CheckedSource,
  { arch, set }: Question,
): Pick<PackagesIndex, 'stanzas' | 'providers'> {
  const index = checked.packages.get(arch) ?? new PackagesIndex();
  if (checked.source.use === 'all') return index;
  const named = new Set(namedIn(set, checked.source));
  return {
    stanzas: (name) => (named.has(name) ? index.stanzas(name) : []),
    providers: (name) =>
      [...named].filter((one) => index.stanzas(one).some((text) => toRecord(text).provides.includes(name))),
  };
}

/** Packages of a set that shall come from a source. */
function namedIn(set: PackageSet, source: PlanSource): string[] {
  return set.packages.filter((wish) => comesFrom(wish, source)).map((wish) => wish.name);
}

/**
 * apt_preferences(5): nothing comes from an `only` source but the packages that name it.
 */
function pinText(set: PackageSet, checked: readonly CheckedSource[]): string {
  const blocks: string[] = [];
  for (const one of checked) {
    const { source } = one;
    const { Origin, Label, Codename, Suite } = aptRelease(one);
    const pin = [
      ['o', Origin],
      ['l', Label],
      ['n', Codename],
      ['a', Suite],
    ]
      .filter(([, value]) => value)
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    if (source.use === 'only') blocks.push(`Package: *\nPin: release ${pin}\nPin-Priority: -10\n`);
    for (const name of [...new Set(namedIn(set, source))].sort()) {
      blocks.push(`Package: ${name}\nPin: release ${pin}\nPin-Priority: 990\n`);
    }
  }
  return blocks.join('\n');
}
