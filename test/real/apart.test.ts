import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { afterAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { baseTree } from '../helpers/base-tree.js';
import { fromTree, treeTemporary } from '../helpers/tree.js';

const host = createHost();
afterAll(() => host.close());

// An ordinary user can do none of this to begin with.
describe.runIf(host.uid === 0)('tests that run as root cannot touch this machine', () => {
  it('its network', async () => {
    expect(Object.keys(networkInterfaces())).toEqual(['lo']);
    const code = await new Promise((resolve) => {
      const socket = connect({ host: '192.0.2.1', port: 80 });
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      socket.once('connect', () => resolve('connected'));
    });
    expect(code).toBe('ENETUNREACH');
  });

  it('its clock', async () => {
    const { stderr, exitCode } = await host.exec(['date', '--set', '@1000000000'], { allowFailure: true });
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('Operation not permitted');
  });

  it('its accounts, settings and programs', async () => {
    for (const path of ['/etc/commesh-test', '/usr/bin/commesh-test', '/boot/commesh-test'])
      expect(() => writeFileSync(path, '')).toThrow(/EROFS/);
    const { exitCode } = await host.exec(['useradd', 'commesh-test'], { allowFailure: true });
    expect(exitCode).not.toBe(0);
  });

  it('its processes and mounts', async () => {
    const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    expect(processes.length).toBeLessThan(20);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('shared:');
  });
});

describe('programs of the tree', () => {
  it('cannot change it, see nothing of this machine, and have the folder they are given', async () => {
    const folder = await treeTemporary(host, 'apart');
    expect(folder.startsWith(tmpdir())).toBe(true);
    const { stdout } = await host.exec(
      await fromTree(host, folder, [
        'sh',
        '-c',
        `. /etc/os-release; echo "$VERSION_CODENAME"
         touch /etc/x 2>&1; ls /dev; echo $$; echo seen > ${folder}/file`,
      ]),
    );
    expect(stdout.split('\n')).toEqual([
      'trixie',
      "touch: cannot touch '/etc/x': Read-only file system",
      ...['fd', 'full', 'null', 'random', 'urandom', 'zero'],
      '1',
      '',
    ]);
    expect(readFileSync(`${folder}/file`, 'utf8')).toBe('seen\n');
    expect(readdirSync(`${await baseTree(host)}/tmp`)).toEqual([]);
  });
});
