import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadProject } from '../../src/cli/commands/project.js';
import { readForwards, runVerify, type VerifyOptions } from '../../src/cli/commands/verify.js';
import type { Cli } from '../../src/cli/context.js';
import { createTheme } from '../../src/cli/output/theme.js';
import { createHost } from '../../src/host/host.js';
import { ensureIdentity, readIdentity } from '../../src/pki/identity.js';
import type { SecretStore } from '../../src/pki/secrets.js';
import type { Report } from '../../src/verify/types.js';
import { startSshd, type TestSshd } from '../helpers/sshd.js';

const host = createHost();
const quickstart = fileURLToPath(new URL('../../profiles/quickstart.yaml', import.meta.url));
let home: string;
let profile: string;
let secrets: SecretStore;
let sshd: TestSshd;

// A machine of its own as far as files go: the operator's account, the kit's note about itself, the data partition.
const KIT = `
mount -t tmpfs tmpfs /srv
mkdir -p /srv/commesh /srv/etc /srv/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/srv/etc,workdir=/srv/work /etc
echo 'kit:x:0:0::/:/bin/sh' >>/etc/passwd
echo 'kit:*:20000:0:99999:7:::' >>/etc/shadow
mkdir /etc/commesh
`;

beforeAll(async () => {
  home = await host.temporary('verify-command');
  profile = join(home, 'quickstart.yaml');
  await copyFile(quickstart, profile);
  const { plan, profile: loaded } = await loadProject(profile);
  await ensureIdentity(host, {
    profilePath: profile,
    site: plan.site,
    certificates: plan.certificates,
    secrets: plan.secrets,
    given: loaded.given,
  });
  ({ secrets } = await readIdentity(host, profile));
  const note = JSON.stringify({ site: secrets.value('turn-secret') });
  sshd = await startSshd(host, [], `${KIT}\necho '${note}' >/etc/commesh/kit.json`, {
    hostKey: secrets.value('ssh-host'),
    authorized: secrets.value('ssh-operator.pub'),
  });
});
afterAll(() => host.close());

async function run(
  options: Partial<VerifyOptions>,
  json = false,
): Promise<{ code: number; out: string; said: string }> {
  let out = '';
  let said = '';
  const cli: Cli = {
    host,
    flags: { json, plain: true, quiet: false, verbose: false, cache: 'offline-cache' },
    theme: createTheme(false),
    out: (text) => {
      out += text;
    },
    say: (text) => {
      said += text;
    },
    concerns: () => {},
    interactive: false,
  };
  const forwards = join(home, 'forwards.json');
  await writeFile(forwards, JSON.stringify({ address: '127.0.0.1', tcp: { 22: sshd.target.port }, udp: {} }));
  const code = await runVerify(cli, { profile, forwards, ...options });
  return { code, out, said };
}

test('a machine that is not the kit: told in words, with places in the profile, and no secret anywhere', async () => {
  const { code, out, said } = await run({ report: join(home, 'report.json'), vantage: 'inside' });
  expect(code).toBe(1);
  expect(said).toContain(join(home, 'report.txt'));
  expect(out).toMatch(/^Kit "quickstart" \(quickstart\.home\.arpa, 10\.77\.0\.1\), checked /);
  expect(out).toContain('ok   the kit answers over SSH: it has the host key of this profile');
  expect(out).toMatch(/FAIL planned files are there.*: \/etc\/prosody\/prosody\.cfg\.lua is missing/);
  expect(out).toMatch(/asked for at \S+quickstart\.yaml:\d+:\d+ \(/);
  expect(out).toMatch(/Do not hand the kit over yet: \d+ checks have failed\.\n$/);
  // The kit claims a secret as its name; the report must not repeat it.
  expect(out).toContain('the kit belongs to the site "[secret: turn-secret]"');

  const texts = [
    out,
    said,
    await readFile(join(home, 'report.json'), 'utf8'),
    await readFile(join(home, 'report.txt'), 'utf8'),
  ];
  const values = secrets
    .ids()
    .filter((id) => !id.endsWith('.pub'))
    .map((id) => secrets.value(id));
  expect(values.length).toBeGreaterThan(2);
  for (const value of values)
    for (const line of value.split('\n').filter((part) => part.length > 8))
      for (const text of texts) expect(text).not.toContain(line);
  const report = JSON.parse(texts[2] ?? '') as Report & { verdict: string };
  expect(report.counts.fail).toBeGreaterThan(5);
  expect(report.verdict).toContain('Do not hand the kit over');
});

test('as data, and only what was asked for', async () => {
  const { code, out } = await run({ only: ['clock', 'memory'] }, true);
  const report = JSON.parse(out) as Report;
  expect(report.results.map(({ id }) => id)).toEqual(['ssh', 'clock', 'memory']);
  expect(code).toBe(report.counts.fail > 0 ? 1 : 0);
  expect(report.results.find(({ id }) => id === 'clock')?.state).toBe('pass');
});

test('a file of forwarded ports that is none is a mistake of usage', async () => {
  const path = join(home, 'bad.json');
  for (const text of ['', '{"address": "127.0.0.1"}', '{"address": "a", "tcp": {"x": 1}, "udp": {}}']) {
    await writeFile(path, text);
    await expect(readForwards(path)).rejects.toMatchObject({ exitCode: 2 });
  }
  await expect(readForwards(join(home, 'gone.json'))).rejects.toMatchObject({ exitCode: 2 });
});
