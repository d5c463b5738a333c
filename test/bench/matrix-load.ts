/**
 * What a Matrix kit needs with people in it: clients that sync, write, read and now and then send a picture, as apps do.
 *
 *     node dist/test/bench/matrix-load.js profiles/matrix-pc.yaml          boots the kit of the profile's image
 *     node dist/test/bench/matrix-load.js --url http://127.0.0.1:8008 --accounts FILE --processes synapse=PID,postgresql=PID
 *
 * Options: --clients 25, --minutes 10, --idle 60 (seconds before the first one logs in), --json FILE, --image FILE (of the kit).
 * Prints delays and memory; the same goes to the JSON file. `--accounts`: `[{"user": "anna", "password": "..."}]`, one per client.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { createHost } from '../../src/host/host.js';
import { readIdentity } from '../../src/pki/identity.js';
import { bootProfile } from '../helpers/kit.js';
import { quantile, runLoad, type Account, type Memory, type Sample, type Send } from './matrix-clients.js';

const argument = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise);
};
const wholeNumber = (name: string, otherwise: string): number => {
  const value = Number(argument(name, otherwise));
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} wants a whole number from 1 on`);
  return value;
};
const clients = wholeNumber('--clients', '25');
const minutes = wholeNumber('--minutes', '10');
const idle = wholeNumber('--idle', '60');

/** A process and all below it: PSS and RSS, bytes (proc_pid_smaps(5)). */
function processMemory(pid: number): Memory {
  const children = (one: number): number[] =>
    readdirSync(`/proc/${one}/task`).flatMap((task) =>
      readFileSync(`/proc/${one}/task/${task}/children`, 'utf8')
        .trim()
        .split(' ')
        .filter(Boolean)
        .map(Number),
    );
  const sum = { cgroup: null, pss: 0, rss: 0 };
  const add = (one: number): void => {
    let text: string;
    let below: number[];
    try {
      text = readFileSync(`/proc/${one}/smaps_rollup`, 'utf8');
      below = children(one);
    } catch {
      // A worker of the database that ended meanwhile.
      return;
    }
    const read = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * 1024;
    sum.pss += read('Pss');
    sum.rss += read('Rss');
    below.forEach(add);
  };
  add(pid);
  return sum;
}

/**
 * Prints, for each unit: name, cgroup memory without file cache, PSS, RSS; bytes. Shared memory of a database is no file cache
 * that could be dropped, so it is put back.
 */
const UNITS = `
for unit in synapse postgresql nginx coturn; do
  group=$(systemctl show --property=ControlGroup --value $unit.service)
  folder=/sys/fs/cgroup$group
  [ -n "$group" ] && [ -r "$folder/memory.current" ] || continue
  current=$(cat "$folder/memory.current")
  dropped=$(awk '$1 == "file" { file = $2 } $1 == "shmem" { shmem = $2 } END { printf "%d", file - shmem }' "$folder/memory.stat")
  pss=0 rss=0
  for pid in $(cat "$folder/cgroup.procs"); do
    set -- $(awk '$1 == "Pss:" { p = $2 } $1 == "Rss:" { r = $2 } END { printf "%d %d", p, r }' "/proc/$pid/smaps_rollup" 2>/dev/null)
    pss=$((pss + \${1:-0})) rss=$((rss + \${2:-0}))
  done
  echo "$unit $((current - dropped)) $((pss * 1024)) $((rss * 1024))"
done
`;

/** Reads what UNITS has printed. */
function unitMemory(text: string): Record<string, Memory> {
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const [unit = '', cgroup, pss, rss] = line.split(' ');
        return [unit, { cgroup: Number(cgroup), pss: Number(pss), rss: Number(rss) }];
      }),
  );
}

interface Target {
  readonly send: Send;
  readonly accounts: readonly Account[];
  memory(): Promise<Record<string, Memory>>;
  tidy(rooms: readonly string[], media: readonly string[]): Promise<void>;
}

/** A server at a plain address on this machine. */
function here(url: string): Target {
  const accounts = JSON.parse(readFileSync(argument('--accounts', ''), 'utf8')) as Account[];
  const processes = argument('--processes', '').split(',').filter(Boolean);
  const pids = processes.map((one) => one.split('=') as [string, string]);
  return {
    accounts,
    send: async ({ method, path, headers, body, timeoutMs }) => {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers,
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body }),
      });
      return { status: answer.status, text: await answer.text() };
    },
    memory: () =>
      Promise.resolve(Object.fromEntries(pids.map(([name, pid]) => [name, processMemory(Number(pid))]))),
    tidy: () => Promise.resolve(),
  };
}

const host = createHost();

/** The kit of a profile, booted; accounts are made and erased over SSH. */
async function kitOf(profile: string): Promise<Target> {
  const image = argument('--image', '');
  const running = await bootProfile(host, profile, image === '' ? {} : { image });
  const { caPem } = await readIdentity(host, profile);
  const name = `matrix.${running.project.plan.site.domain}`;
  const way = running.dialer.tcp(443);
  const ssh = await running.connect();
  const people = async (verb: string, input: unknown): Promise<string> => {
    const done = await ssh.exec(`sudo -n /usr/libexec/commesh/people.d/synapse ${verb}`, {
      stdin: JSON.stringify(input),
      timeoutMs: 600_000,
    });
    if (done.code !== 0) throw new Error(`the kit's people program ended with ${done.code}: ${done.stderr}`);
    return done.stdout;
  };
  // The first start makes the database.
  await ssh.exec('timeout 900 systemctl is-system-running --wait', { timeoutMs: 910_000 });
  const made = JSON.parse(await people('temporary', { count: clients })) as {
    name: string;
    password: string;
  }[];
  return {
    accounts: made.map((one) => ({ user: one.name, password: one.password })),
    send: ({ method, path, headers, body, timeoutMs }) =>
      new Promise((resolve, reject) => {
        const asked = request(
          {
            ...way,
            servername: name,
            ca: caPem,
            method,
            path,
            headers: { ...headers, host: name },
            signal: AbortSignal.timeout(timeoutMs),
          },
          (answer) => {
            const chunks: Buffer[] = [];
            answer.on('data', (chunk: Buffer) => chunks.push(chunk));
            answer.once('error', reject);
            answer.once('end', () =>
              resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
            );
          },
        );
        asked.once('error', reject);
        asked.end(body);
      }),
    memory: async () => {
      const done = await ssh.exec('sudo -n sh -s', { stdin: UNITS, timeoutMs: 60_000 });
      if (done.code !== 0) throw new Error(`the kit does not tell its memory: ${done.stderr}`);
      return unitMemory(done.stdout);
    },
    tidy: async (rooms, media) => {
      await people('tidy', { names: made.map((one) => one.name), rooms, media });
      ssh.close();
    },
  };
}

/** One line for each unit and their sum: median while idle, median and most under load; MB. */
function memoryTable(samples: readonly Sample[]): string[] {
  const units = [...new Set(samples.flatMap((one) => Object.keys(one.units)))];
  const figure = (some: readonly Sample[], names: readonly string[], kind: keyof Memory, share: number) => {
    const sums = some.map(({ units: all }) =>
      names.reduce((sum, unit) => sum + (all[unit]?.[kind] ?? Number.NaN), 0),
    );
    const value = quantile(sums, share);
    return (Number.isNaN(value) ? '-' : (value / 1e6).toFixed(0)).padStart(8);
  };
  const before = samples.filter(({ at }) => at < 0);
  const during = samples.filter(({ at }) => at >= 0);
  const row = (label: string, names: readonly string[]): string =>
    label.padEnd(24) +
    (['cgroup', 'pss', 'rss'] as const)
      .map((kind) =>
        [
          figure(before, names, kind, 0.5),
          figure(during, names, kind, 0.5),
          figure(during, names, kind, 1),
        ].join(''),
      )
      .join('  |');
  const core = units.filter((unit) => ['synapse', 'postgresql'].includes(unit));
  const head = ['idle', 'load', 'most'].map((one) => one.padStart(8)).join('');
  return [
    `${'MB'.padEnd(24)}${['cgroup', 'PSS', 'RSS'].map((one) => one.padStart(24)).join('  |')}`,
    ''.padEnd(24) + [head, head, head].join('  |'),
    ...units.map((unit) => row(unit, [unit])),
    row(core.join(' + '), core),
  ];
}

try {
  const url = argument('--url', '');
  const [profile] = process.argv.slice(2);
  if (url === '' && (profile === undefined || profile.startsWith('--')))
    throw new Error('name a profile, whose kit is booted, or give --url and --accounts');
  const target = url === '' ? await kitOf(profile ?? '') : here(url);
  const accounts = target.accounts.slice(0, clients);
  if (accounts.length < clients)
    throw new Error(`${clients} clients want as many accounts, not ${accounts.length}`);
  const samples: Sample[] = [];
  let begun: number | null = null;
  let over = false;
  const start = performance.now() / 1000;
  const watch = (async () => {
    while (!over) {
      const units = await target.memory();
      const now = performance.now() / 1000;
      samples.push({ at: begun === null ? now - start - idle : now - begun, units });
      await sleep(5000);
    }
  })();
  await sleep(idle * 1000);
  begun = performance.now() / 1000;
  const load = await runLoad(target.send, accounts, minutes * 60);
  over = true;
  await watch;
  await target.tidy(load.rooms, load.media);
  const { delays, errors, ...rest } = load;
  const figures = {
    clients,
    minutes,
    messages: rest.messages,
    pictures: rest.pictures,
    requests: rest.requests,
    seen: delays.length,
    delayMs: { median: quantile(delays, 0.5), most95: quantile(delays, 0.95), most: quantile(delays, 1) },
    errors,
    samples,
  };
  const to = argument('--json', '');
  if (to !== '') writeFileSync(to, `${JSON.stringify(figures)}\n`);
  process.stdout.write(
    [
      `${clients} clients, ${minutes} min: ${rest.messages} messages, ${rest.pictures} pictures, ${rest.requests} requests`,
      `seen by others after ${figures.delayMs.median.toFixed(0)} ms (median), ${figures.delayMs.most95.toFixed(0)} ms (95th of 100); ${delays.length} times`,
      `errors: ${
        Object.entries(errors)
          .map(([what, times]) => `${times} × ${what}`)
          .join('; ') || 'none'
      }`,
      ...memoryTable(samples),
      '',
    ].join('\n'),
  );
  if (Object.keys(errors).length > 0) process.exitCode = 1;
} finally {
  await host.close();
}
