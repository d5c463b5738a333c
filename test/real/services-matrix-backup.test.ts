import { readFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { createHost, type Host } from '../../src/host/host.js';
import { kitTree, systemPlan, type KitTree } from '../helpers/kit-tree.js';

const PROFILE = `
site: { name: quickstart, title: Quickstart }
board: pc
memory: 4 GiB
network: { mode: lan }
services: { synapse: true, prosody: false }
`;
const host: Host = createHost();
afterAll(() => host.close());

/** A kit with Synapse's data and its PostgreSQL, without Synapse. */
async function freshKit(): Promise<KitTree> {
  const secret = (id: string): string => (id === 'backup-key' ? 'k'.repeat(40) : `value-of-${id}`);
  const kit = await kitTree(host, await systemPlan(PROFILE), secret, ['backup', 'synapse']);
  // systemctl says what it would do: nothing is started by it here.
  await kit.sh(
    `printf '#!/bin/sh\\necho "$*" >> /srv/commesh/systemctl\\n' > /usr/local/bin/systemctl
     chmod +x /usr/local/bin/systemctl`,
  );
  return kit;
}

/** What the units of the service do. */
const IN = `PATH=/usr/local/bin:$PATH; b=/usr/libexec/commesh; cd /
  line() { sed -n "s/^ExecStart=//p" "/etc/systemd/system/$1.service"; }
  as() { setpriv --reuid "$1" --regid "$1" --clear-groups $2; }
  server() {
    mkdir -p -m 1777 /dev/shm; mkdir -p /run/postgresql; chown postgres:postgres /run/postgresql
    as postgres "$(line commesh-postgresql-cluster)" > /dev/null
    setpriv --reuid postgres --regid postgres --clear-groups $(line postgresql) 2> /tmp/postgres.log & server=$!
    until runuser -u postgres -- pg_isready --quiet; do kill -0 $server; sleep 0.2; done
  }
  halt() { kill -INT $server; wait $server || true; }
  sql() { runuser -u matrix-synapse -- psql -X -q -A -t -v ON_ERROR_STOP=1 -d synapse -c "$1"; }
  databases() { runuser -u postgres -- psql -X -A -t -d postgres -c "SELECT datname, pg_get_userbyid(datdba), datcollate FROM pg_database WHERE NOT datistemplate ORDER BY 1"; }
  media=/srv/commesh/synapse/media
`;
const FILL = `${IN} server
  sql "CREATE TABLE event (id bigserial PRIMARY KEY, body text UNIQUE); INSERT INTO event (body) SELECT 'ñ' || n FROM generate_series(1, 20000) AS n"
  sql 'CREATE TABLE pair (a int, b int)'
  mkdir $media/local_content; head -c 3000000 /dev/urandom > $media/local_content/photo; chown -R matrix-synapse: $media/local_content
`;
/** Names, owners, modes, content; of the database every row, and that its sequence and its index are there. */
const LOOK = `(cd /srv/commesh/synapse; find media signing.key -printf '%p %u %g %m\\n' | sort; sha256sum media/local_content/photo signing.key)
  sql "SELECT count(*), md5(string_agg(body, ',' ORDER BY id)), pg_get_userbyid(relowner) FROM event, pg_class WHERE relname = 'event' GROUP BY 3"
  sql "SELECT nextval('event_id_seq') > 20000, count(*) FROM pg_indexes WHERE tablename = 'event'"
  databases
`;

describe('backup and restore of PostgreSQL', () => {
  it('while the server writes; onto a fresh kit', async () => {
    const kit = await freshKit();
    // A writer that keeps two columns equal within each transaction: half a transaction in the backup would show.
    const { stdout } = await kit.sh(
      `${FILL}
       ( i=0; while [ ! -e /tmp/stop ]; do i=$((i + 1)); echo "BEGIN; INSERT INTO pair VALUES ($i, 0); UPDATE pair SET b = a; INSERT INTO pair VALUES ($i, $i); COMMIT;"; done | runuser -u matrix-synapse -- psql -X -q -d synapse ) &
       writer=$!
       until [ "$(sql 'SELECT count(*) FROM pair')" -gt 20 ]; do sleep 0.1; done
       $b/backup 2>&1
       touch /tmp/stop; wait $writer
       echo "written $(sql 'SELECT count(*) FROM pair')"
       ${LOOK}
       ls -A /srv/commesh/backup; halt`,
    );
    const [said = '', before = ''] = stdout.split(/^(?=media )/m);
    const written = Number(/^written (\d+)$/m.exec(said)?.[1]);
    expect(JSON.parse(await readFile(kit.path('/srv/commesh/backup/status.json'), 'utf8'))).toMatchObject({
      ok: true,
      place: 'data',
      note: '',
    });
    expect(before).not.toContain('staging');

    const fresh = await freshKit();
    await host.exec(['cp', '-a', kit.path('/srv/commesh/backup'), fresh.path('/srv/commesh/')]);
    const { stdout: after } = await fresh.sh(
      `${IN} server
       sql 'CREATE TABLE other (x int)'
       $b/restore 2>&1
       sql 'SELECT count(*) % 2, sum((a <> b)::int), count(*) FROM pair'; cat /srv/commesh/systemctl
       ${LOOK}
       ls -A /srv/commesh/backup; sql 'SELECT * FROM other' 2>&1 || true; halt`,
    );
    const [restored = '', found = ''] = after.split(/^(?=media )/m);
    expect(found.startsWith(before)).toBe(true);
    expect(found.slice(before.length)).toContain('"other" does not exist');
    expect(before).toContain('matrix-synapse\n');
    expect(before).toMatch(/^synapse\|matrix-synapse\|C$/m);
    expect(before).not.toMatch(/coming|gone/);
    const [, halves, kept] = /^0\|(\d+)\|(\d+)$/m.exec(restored) ?? [];
    expect(halves).toBe('0');
    expect(Number(kept)).toBeGreaterThan(20);
    expect(Number(kept)).toBeLessThan(written);
    expect(restored).toContain('stop synapse.service\nstart synapse.service\n');
  });

  it('a damaged dump, or no server, changes nothing, and is said', async () => {
    const kit = await freshKit();
    const { stdout } = await kit.sh(
      `${FILL} $b/backup 2> /dev/null; sql "UPDATE event SET body = 'new' WHERE id = 1"
       # restic refuses what is damaged; here its own answer is.
       printf '#!/bin/sh\\n/usr/bin/restic "$@"; code=$?; case " $* " in *" restore "*) for f in /srv/commesh/backup/unpacked/srv/commesh/backup/staging/postgres/*; do truncate -s 30000 "$f"; done;; esac; exit $code\\n' > /usr/local/bin/restic
       chmod +x /usr/local/bin/restic
       $b/restore 2>&1 && exit 9
       rm /usr/local/bin/restic
       sql 'SELECT body FROM event WHERE id = 1'; databases; halt
       $b/restore 2>&1 && exit 9
       $b/backup 2>&1 && exit 9
       test ! -e /srv/commesh/systemctl; ls -A /srv/commesh/backup`,
    );
    expect(stdout).toMatch(
      /the database synapse (in this backup is damaged|could not be read back); nothing has been changed/,
    );
    expect(stdout).toContain('\nnew\n');
    expect(stdout).toContain('postgres|postgres|C\nsynapse|matrix-synapse|C\n');
    expect(stdout.match(/the database server does not answer/g)?.length).toBe(2);
    expect(stdout).not.toMatch(/^(unpacked|moved|aside)$|could not be removed/m);
  });

  it.each([
    ['before the names are exchanged', 'BEGIN'],
    ['after it', 'AFTER'],
  ])('a plug pulled %s: the next start goes back to what was, without a server', async (_when, moment) => {
    const kit = await freshKit();
    const { stdout } = await kit.sh(
      `${FILL} $b/backup 2> /dev/null
       sql "UPDATE event SET body = 'new' WHERE id = 1"; echo later > $media/later; chown matrix-synapse: $media/later
       # The exchange is the only time psql is asked for BEGIN; the script that asked is gone with it.
       mkdir /tmp/bin
       cat > /tmp/bin/runuser <<'END'
#!/bin/sh
case "$*" in
  *BEGIN\\;*)
    [ "${moment}" = BEGIN ] || /usr/sbin/runuser "$@"
    kill -9 $(cat /tmp/restore.pid); exit 1 ;;
esac
exec /usr/sbin/runuser "$@"
END
       chmod +x /tmp/bin/runuser
       sh -c 'echo $$ > /tmp/restore.pid; PATH=/tmp/bin:$PATH; exec /usr/libexec/commesh/restore' 2>&1 || echo cut off
       cat /srv/commesh/backup/moved
       # And the power of the database server, too.
       kill -KILL $server; wait $server || true
       ps -eo pid,user,comm | awk '$2 == "postgres" { print $1 }' | xargs -r kill -KILL || true; sleep 0.5
       rm -rf /run/postgresql
       $b/restore --undo 2>&1
       test ! -e /srv/commesh/backup/moved
       server
       sql 'SELECT body FROM event WHERE id = 1'; cat $media/later; databases
       $b/backup 2>&1; databases | grep -c . ; halt`,
    );
    expect(stdout).toContain('cut off\n');
    expect(stdout).toMatch(/^database synapse$/m);
    expect(stdout).toContain('new\nlater\n');
    expect(stdout).toMatch(/^synapse\|matrix-synapse\|C$/m);
    // What came is still there after the undo, and goes with the next backup.
    expect(stdout).toMatch(/^synapse\.coming\|/m);
    expect(stdout).not.toMatch(/^synapse\.gone\|/m);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('2');
  });
});
