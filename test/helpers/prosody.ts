import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import { freePort, untilOpen } from './ports.js';
import type { TestCa } from './site-ca.js';
import { fromTree, startFromTree, treeTemporary } from './tree.js';

export interface TestProsody {
  readonly ports: { readonly c2s: number; readonly direct: number; readonly https: number };
  /** A folder with a `prosodyctl` that speaks to this server. */
  readonly bin: string;
  prosodyctl(...argv: string[]): Promise<string>;
  output(): string;
  stop(): Promise<void>;
}

/** A word of a shell command. */
const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** Prosody on loopback for `domain` with groups and file share, small but like the kit's. */
export async function startProsody(
  host: Host,
  ca: TestCa,
  domain: string,
  settings: { readonly turnSecret: string; readonly turnPort?: number; readonly open?: boolean },
): Promise<TestProsody> {
  const folder = await treeTemporary(host, 'prosody');
  await mkdir(join(folder, 'data'));
  await ca.issue(folder, 'site', [domain, `groups.${domain}`, `share.${domain}`]);
  const ports = { c2s: await freePort(), direct: await freePort(), https: await freePort() };
  await writeFile(
    join(folder, 'prosody.cfg.lua'),
    `
run_as_root = true
daemonize = false
pidfile = "${folder}/prosody.pid"
data_path = "${folder}/data"
admin_socket = "${folder}/admin.sock"
log = { info = "*console" }
interfaces = { "127.0.0.1" }
c2s_ports = { ${ports.c2s} }
c2s_direct_tls_ports = { ${ports.direct} }
s2s_ports = { }
http_ports = { }
https_ports = { ${ports.https} }
https_interfaces = { "127.0.0.1" }
ssl = { certificate = "${folder}/site.crt", key = "${folder}/site.key" }
https_ssl = { certificate = "${folder}/site.crt", key = "${folder}/site.key" }
c2s_direct_tls_ssl = { certificate = "${folder}/site.crt", key = "${folder}/site.key" }
consider_websocket_secure = true
-- The tree has no resolv.conf: a layer that many sites share names no name server.
unbound = { resolvconf = false }
modules_enabled = { "disco", "roster", "saslauth", "tls", "blocklist", "bookmarks", "carbons", "limits", "pep",
  "smacks", "vcard4", "invites", "invites_register", "register_ibr", "ping", "mam", "turn_external", "admin_shell", "websocket", "http",
  "user_account_management" }
modules_disabled = { "s2s" }
authentication = "internal_hashed"
storage = "internal"
allow_registration = true
registration_invite_only = ${settings.open === true ? 'false' : 'true'}
turn_external_host = "turn.${domain}"
turn_external_secret = "${settings.turnSecret}"
turn_external_port = ${settings.turnPort ?? 3478}
http_external_url = "https://share.${domain}/"
VirtualHost "${domain}"
Component "groups.${domain}" "muc"
  modules_enabled = { "muc_mam" }
  muc_room_default_members_only = true
Component "share.${domain}" "http_file_share"
`,
  );
  const running = await startFromTree(host, folder, [
    'prosody',
    '-F',
    '--config',
    `${folder}/prosody.cfg.lua`,
  ]);
  try {
    for (const port of Object.values(ports)) await untilOpen(port);
  } catch (error) {
    throw new Error(`Prosody does not start:\n${running.output()}`, { cause: error });
  }
  const argv = await fromTree(host, folder, ['prosodyctl', '--config', `${folder}/prosody.cfg.lua`]);
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'prosodyctl'), `#!/bin/sh\nexec ${argv.map(quoted).join(' ')} "$@"\n`, {
    mode: 0o755,
  });
  return {
    ports,
    bin,
    prosodyctl: async (...more) => (await host.exec([...argv, ...more])).stdout,
    output: running.output,
    stop: () => running.stop(),
  };
}
