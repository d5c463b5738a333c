import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { afterAll, describe, expect, it } from 'vitest';
import { pullBackup } from '../../src/cli/commands/backup.js';
import { findRepository, pushRestore } from '../../src/cli/commands/restore.js';
import { createHost, type Host } from '../../src/host/host.js';
import type { Ssh } from '../../src/host/ssh.js';
import { kitTree, systemPlan, systemSecrets, type KitTree } from '../helpers/kit-tree.js';

const PROFILE = `
site: { name: quickstart, title: Quickstart }
board: pc
network: { mode: lan }
`;
const host: Host = createHost();

interface Status {
  readonly ok: boolean;
  readonly finished: string;
  readonly lastGood: string;
  readonly place: string;
  readonly snapshot: string;
  readonly bytes: number;
  readonly message: string;
  readonly note: string;
}

async function statusOf(kit: KitTree): Promise<Status> {
  return JSON.parse(await readFile(kit.path('/srv/commesh/backup/status.json'), 'utf8')) as Status;
}

/** A kit whose only thing to keep is chat's: a database, and a folder with files of different owners. */
async function freshKit(secret?: (id: string) => string): Promise<KitTree> {
  const kit = await kitTree(host, await systemPlan(PROFILE), secret ?? (await systemSecrets(host)), [
    'backup',
  ]);
  // systemctl says what it would do: nothing runs here.
  await kit.sh(
    `printf '%s\\n' /srv/commesh/chat/files /srv/commesh/chat/none > /etc/commesh/backup/paths
     printf '%s\\n' /srv/commesh/chat/chat.sqlite > /etc/commesh/backup/databases
     printf '%s\\n' chat.service > /etc/commesh/backup/units
     printf '#!/bin/sh\\necho "$*" >> /srv/commesh/systemctl\\n' > /usr/local/bin/systemctl
     chmod +x /usr/local/bin/systemctl
     install -d -o _chrony -g _chrony -m 0750 /srv/commesh/chat`,
  );
  return kit;
}

const IN = 'PATH=/usr/local/bin:$PATH; b=/usr/libexec/commesh; db=/srv/commesh/chat/chat.sqlite; ';
const FILL = `${IN}
  mkdir -p /srv/commesh/chat/files/sub
  echo hello > /srv/commesh/chat/files/sub/hello; head -c 3000000 /dev/urandom > /srv/commesh/chat/files/photo
  ln -s sub/hello /srv/commesh/chat/files/link
  chown -R _chrony: /srv/commesh/chat/files; chmod 600 /srv/commesh/chat/files/photo
  sqlite3 $db 'PRAGMA journal_mode=WAL; CREATE TABLE pair (a INTEGER, b INTEGER); CREATE TABLE big (x); INSERT INTO big SELECT hex(randomblob(500)) FROM generate_series(1, 4000);' > /dev/null
  chown _chrony: $db*; chmod 640 $db
`;
/** What a person would call "everything is as it was": names, owners, modes, content. */
const LOOK = `(cd /srv/commesh/chat; find . ! -name '*-wal' ! -name '*-shm' ! -name chat.sqlite -printf '%p %u %g %m %l\\n' | sort; sha256sum files/photo files/sub/hello); stat -c '%U %G %a' $db; sqlite3 -readonly $db 'SELECT count(*), sum(length(x)) FROM big'`;

afterAll(() => host.close());

describe('backup and restore', () => {
  it('while the chat server writes; onto a wiped kit; with the repository found whole', async () => {
    const kit = await freshKit();
    const { stdout: before } = await kit.sh(`${FILL} ${LOOK}`);
    // A writer that keeps two columns equal within each transaction: half a transaction in the backup would show.
    await kit.sh(
      `${IN}
       ( i=0; while [ ! -e /tmp/stop ]; do i=$((i + 1)); echo "BEGIN; INSERT INTO pair VALUES ($i, 0); UPDATE pair SET b = a; INSERT INTO pair VALUES ($i, $i); COMMIT;"; done | sqlite3 -cmd '.timeout 20000' $db ) &
       writer=$!
       until [ "$(sqlite3 -readonly $db 'SELECT count(*) FROM pair')" -gt 20 ]; do sleep 0.1; done
       $b/backup
       touch /tmp/stop; wait $writer
       sqlite3 $db 'SELECT count(*) FROM pair' > /srv/commesh/written`,
    );
    const status = await statusOf(kit);
    expect(status).toMatchObject({ ok: true, place: 'data', message: 'done', note: '' });
    expect(status.snapshot).toMatch(/^[0-9a-f]{64}$/);
    expect(status.lastGood).toBe(status.finished);
    expect(Date.parse(status.finished)).toBeGreaterThan(0);
    expect(status.bytes).toBeGreaterThan(3_000_000);
    expect(JSON.stringify(status)).not.toContain('kkkk');

    const { stdout: after } = await kit.sh(
      `${IN}
       restic --no-cache -q -r /srv/commesh/backup/repository --password-file /etc/commesh/backup/key check --read-data > /dev/null
       rm -rf /srv/commesh/chat; install -d -o _chrony -g _chrony -m 0750 /srv/commesh/chat
       $b/restore
       ${LOOK}`,
    );
    expect(after).toBe(before);
    const { stdout: found } = await kit.sh(
      `${IN} sqlite3 -readonly $db "SELECT 'halves', count(*) % 2, sum(a != b) FROM pair; SELECT 'kept', count(*) FROM pair"
       echo "written|$(cat /srv/commesh/written)"; cat /srv/commesh/systemctl; ls -A /srv/commesh/backup`,
    );
    expect(found).toContain('halves|0|0\n');
    // It was indeed taken while the writer was at work: the writer went on after it.
    const number = (name: string): number => Number(new RegExp(`^${name}\\|(\\d+)$`, 'm').exec(found)?.[1]);
    expect(number('kept')).toBeGreaterThan(20);
    expect(number('kept')).toBeLessThan(number('written'));
    expect(found).toContain('stop chat.service\nstart chat.service\n');
    expect(found).not.toMatch(/staging|unpacked|aside|moved|incoming/);
  });

  it('does not copy twice what has not changed, and keeps to the rules', async () => {
    const kit = await freshKit();
    await kit.sh(`${FILL} $b/backup`);
    const first = await statusOf(kit);
    const { stdout } = await kit.sh(
      `${IN} for i in 1 2 3 4 5; do $b/backup; done
       restic --no-cache -q -r /srv/commesh/backup/repository --password-file /etc/commesh/backup/key snapshots --compact | grep -c quickstart`,
    );
    // Six were made within minutes. The last three stay, and the oldest until it is a day, a week, a month old.
    expect(Number(stdout)).toBe(4);
    expect((await statusOf(kit)).bytes).toBeLessThan(first.bytes + 100_000);
  });

  it('puts owners back by name where accounts have other numbers', async () => {
    const kit = await freshKit();
    const { stdout: before } = await kit.sh(`${FILL} ${LOOK}; $b/backup`);
    // Inside the overlay: the two accounts swap their numbers.
    const { stdout: after } = await kit.sh(
      `${IN}
       one=$(id -u _chrony) other=$(id -u systemd-network)
       sed -i -e "s/^\\(_chrony:[^:]*\\):$one:/\\1:$other:/" -e "s/^\\(systemd-network:[^:]*\\):$other:/\\1:$one:/" /etc/passwd
       [ "$(id -u _chrony)" = "$other" ]
       rm -rf /srv/commesh/chat; install -d -o _chrony -g _chrony -m 0750 /srv/commesh/chat
       $b/restore; ${LOOK}`,
    );
    expect(after).toBe(before);
  });
});

/** Commands run in the tree as they would over SSH; the connection itself has its own tests (src/host/ssh.ts). */
function sshInto(kit: KitTree): Ssh {
  return {
    async exec(command, { stdin, stdout } = {}) {
      const result = await kit.sh(`sh -c "$1"`, [command], {
        allowFailure: true,
        ...(stdin instanceof Readable ? { stdin } : { input: stdin ?? '' }),
        ...(stdout === undefined ? {} : { stdout }),
      });
      return { code: result.exitCode, stdout: result.stdout, stderr: result.stderr };
    },
    close: () => {},
  };
}

describe('commeshctl backup and restore', () => {
  it('pulls a copy, then only what is new, and puts it onto a fresh kit whose history goes on', async () => {
    const secret = await systemSecrets(host);
    const kit = await freshKit(secret);
    const to = await host.temporary('backups');
    await kit.sh(FILL);
    const first = await pullBackup(host, sshInto(kit), to);
    expect(first.copiedBytes).toBeGreaterThan(3_000_000);
    const { stdout: before } = await kit.sh(`${IN} echo more > /srv/commesh/chat/files/more; ${LOOK}`);
    const second = await pullBackup(host, sshInto(kit), to);
    expect(second.folder).toBe(first.folder);
    expect(second.copiedFiles).toBeGreaterThan(0);
    expect(second.copiedBytes).toBeLessThan(first.copiedBytes / 2);
    expect((await readdir(second.folder)).sort()).toEqual(['config', 'data', 'index', 'keys', 'snapshots']);

    const fresh = await freshKit(secret);
    const folder = await findRepository(to);
    expect(folder).toBe(second.folder);
    const restored = await pushRestore(host, sshInto(fresh), folder);
    expect(restored.sentBytes).toBeGreaterThan(first.copiedBytes);
    const { stdout: after } = await fresh.sh(`${IN} ${LOOK}; ls /srv/commesh/backup`);
    expect(after.startsWith(before)).toBe(true);
    expect(after.slice(before.length)).toBe('repository\n');
    // The fresh kit goes on with the same repository: its next backup is pulled into the same folder.
    const third = await pullBackup(host, sshInto(fresh), to);
    expect(third.folder).toBe(first.folder);
    expect(third.copiedBytes).toBeLessThan(first.copiedBytes / 2);
  });

  it('refuses a file that is not what its name says, and keeps what it had', async () => {
    const kit = await freshKit();
    const to = await host.temporary('backups');
    await kit.sh(`${FILL} $b/backup`);
    await kit.sh(
      `pack=$(find /srv/commesh/backup/repository/data -type f -size +100k | head -n 1); chmod u+w "$pack"; printf X | dd of="$pack" bs=1 seek=5000 conv=notrunc status=none`,
    );
    await expect(pullBackup(host, sshInto(kit), to)).rejects.toThrow(/arrived damaged: data\//);
    const [folder] = await readdir(to);
    expect(await readdir(`${to}/${folder}`)).not.toContain('snapshots');
  });

  it('says so when there is nothing to restore from', async () => {
    await expect(findRepository(await host.temporary('none'))).rejects.toThrow('there is no backup in');
    const kit = await freshKit();
    await expect(pushRestore(host, sshInto(kit), '/nowhere', 'x; reboot')).rejects.toThrow(
      'not the id of a snapshot',
    );
  });
});

describe('when something goes wrong', () => {
  const refused = async (kit: KitTree, script: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await kit.sh(`${IN} ${script}`, [], { allowFailure: true });
    expect(exitCode).not.toBe(0);
    return stdout + stderr;
  };

  it('a damaged database is not backed up in silence', async () => {
    const kit = await freshKit();
    await kit.sh(
      `${FILL} $b/backup; sqlite3 $db 'PRAGMA wal_checkpoint(TRUNCATE)' > /dev/null; printf '%4096s' x | dd of=$db bs=4096 seek=20 conv=notrunc status=none; rm -f $db-wal $db-shm`,
    );
    const good = (await statusOf(kit)).lastGood;
    expect(await refused(kit, '$b/backup')).toMatch(/chat\.sqlite (is damaged|could not be copied)/);
    const status = await statusOf(kit);
    expect(status).toMatchObject({ ok: false, lastGood: good });
    expect(status.message).toContain('chat.sqlite');
  });

  it('a broken repository changes nothing on the kit when it is restored', async () => {
    const kit = await freshKit();
    const { stdout: before } = await kit.sh(`${FILL} ${LOOK}; $b/backup`);
    await kit.sh(
      `find /srv/commesh/backup/repository/data -type f -size +100k | while read -r pack; do chmod u+w "$pack"; printf 'XXXXXXXX' | dd of="$pack" bs=1 seek=5000 conv=notrunc status=none; done; rm -f /srv/commesh/systemctl`,
    );
    expect(await refused(kit, '$b/restore')).toContain('nothing has been changed');
    const { stdout: after } = await kit.sh(`${IN} ${LOOK}; test ! -e /srv/commesh/systemctl`);
    expect(after).toBe(before);
  });

  it('another key, another snapshot, no repository: each in words', async () => {
    const kit = await freshKit();
    expect(await refused(kit, '$b/restore')).toContain(
      'there is no backup in /srv/commesh/backup/repository',
    );
    await kit.sh(`${FILL} $b/backup`);
    expect(await refused(kit, '$b/restore --snapshot 12345678')).toContain('there is no snapshot "12345678"');
    await kit.sh('echo another > /etc/commesh/backup/key');
    expect(await refused(kit, '$b/restore')).toContain('the key of another site');
  });

  it('a plug pulled in the middle of a restore: the next start goes back to what was', async () => {
    const kit = await freshKit();
    const { stdout: before } = await kit.sh(
      `${FILL} $b/backup; echo later > /srv/commesh/chat/files/later; ${LOOK}`,
    );
    // mv is where the data changes hands; the second one never happens.
    await refused(
      kit,
      `mkdir -p /tmp/bin; printf '#!/bin/sh\\necho x >> /tmp/moves; [ "$(wc -l < /tmp/moves)" -lt 3 ] || kill -9 "$PPID"\\nexec /usr/bin/mv "$@"\\n' > /tmp/bin/mv; chmod +x /tmp/bin/mv
       PATH=/tmp/bin:$PATH $b/restore`,
    );
    const { stdout: after } = await kit.sh(
      `${IN} test -s /srv/commesh/backup/moved; $b/restore --undo; ${LOOK}; ls -A /srv/commesh/backup`,
    );
    expect(after.startsWith(before)).toBe(true);
    expect(after.slice(before.length)).not.toMatch(/aside|moved|unpacked/);
  });

  it('only one at a time', async () => {
    const kit = await freshKit();
    await kit.sh('mkdir -p /srv/commesh/backup');
    expect(await refused(kit, 'exec 8> /srv/commesh/backup/.lock; flock 8; $b/backup')).toContain(
      'is running already',
    );
  });
});

describe('the USB disk', () => {
  /** A disk of the test's own: a file behind a loop device. */
  async function usbDisk(format: string): Promise<{ device: string; name: string }> {
    const folder = await host.temporary('usb');
    await writeFile(`${folder}/disk`, '');
    await host.exec(['truncate', '-s', '200M', `${folder}/disk`]);
    const { stdout } = await host.exec(['losetup', '--find', '--show', `${folder}/disk`]);
    const device = stdout.trim();
    host.onClose(async () => {
      await host.exec(['losetup', '--detach', device], { allowFailure: true });
    });
    // A second look: only ever a loop device whose file is ours is formatted.
    const backing = readFileSync(`/sys/block/${device.slice(5)}/loop/backing_file`, 'utf8').trim();
    if (backing !== `${folder}/disk`) throw new Error(`${device} is not this test's`);
    const kit = await freshKit();
    await kit.sh(`${format} ${device}`, [], { devices: [device.slice(5)] });
    return { device, name: device.slice(5) };
  }
  const plug = (device: string): string =>
    `mkdir -p /dev/disk/by-label; ln -sf ${device} /dev/disk/by-label/COMMESH-BACKUP; `;

  const exfat = /^\texfat$/m.test(readFileSync('/proc/filesystems', 'utf8'));
  it.each(['mkfs.ext4 -q -L COMMESH-BACKUP', ...(exfat ? ['mkfs.exfat -q -L COMMESH-BACKUP'] : [])])(
    'is used when it is there, and left unmounted (%s)',
    async (format) => {
      const kit = await freshKit();
      const { device, name } = await usbDisk(format);
      const options = { devices: [name] };
      const { stdout: before } = await kit.sh(
        `${plug(device)} ${FILL} ${LOOK}; $b/backup; ! grep commesh-backup-disk /proc/mounts`,
        [],
        options,
      );
      expect(await statusOf(kit)).toMatchObject({ ok: true, place: 'usb', note: '' });
      const { stdout: after } = await kit.sh(
        `${plug(device)} ${IN} test ! -e /srv/commesh/backup/repository; rm -rf /srv/commesh/chat; install -d -o _chrony -g _chrony -m 0750 /srv/commesh/chat; $b/restore; ${LOOK}`,
        [],
        options,
      );
      expect(after).toBe(before);
    },
  );

  it("takes the kit's own disk when the USB disk is of another site, full of nonsense or gone", async () => {
    const kit = await freshKit();
    const { device, name } = await usbDisk('mkfs.ext4 -q -L COMMESH-BACKUP');
    await kit.sh(`${plug(device)} ${FILL} $b/backup; echo another > /etc/commesh/backup/key; $b/backup`, [], {
      devices: [name],
    });
    expect(await statusOf(kit)).toMatchObject({ ok: true, place: 'data' });
    expect((await statusOf(kit)).note).toContain('another site');
    await kit.sh(
      `${plug(device)} ${IN} dd if=/dev/zero of=${device} bs=1M count=2 status=none; $b/backup`,
      [],
      { devices: [name] },
    );
    expect((await statusOf(kit)).note).toContain('file system the kit cannot use');
    await kit.sh(`${IN} $b/backup`);
    expect(await statusOf(kit)).toMatchObject({ ok: true, place: 'data', note: '' });
  });
});
