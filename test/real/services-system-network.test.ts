import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost, type Host } from '../../src/host/host.js';
import { kitTree, systemPlan, systemSecrets, SYSTEM_SERVICES, type KitTree } from '../helpers/kit-tree.js';

const LAN = `
site: { name: quickstart, title: Quickstart }
board: pc
network: { mode: lan, address: 10.77.0.1/24 }
`;
const ACCESS_POINT = `
site: { name: zero, title: Zero }
board: zero2w
people: 4
network: { mode: access-point, address: 192.168.50.1/24, wifi: { country: KE, ssid: "café 🌍" } }
`;

const host: Host = createHost();
let secrets: (id: string) => string;
let lan: KitTree;
let accessPoint: KitTree;

beforeAll(async () => {
  secrets = await systemSecrets(host);
  lan = await kitTree(host, await systemPlan(LAN), secrets, SYSTEM_SERVICES);
  accessPoint = await kitTree(host, await systemPlan(ACCESS_POINT), secrets, SYSTEM_SERVICES);
});
afterAll(() => host.close());

/**
 * Interfaces as on a kit, all in a network namespace of the test's own; a second one stands for a phone, and
 * `phone COMMAND` runs there. $1: the kit's address and prefix length.
 */
const NETWORK = `
ip link set lo up
# The kit's own settings, as far as they belong to a network namespace: without IPv6 no neighbour is asked for.
grep '^net\\.ipv6\\.' /etc/sysctl.d/90-commesh.conf | sysctl --quiet --load=-
ip link add kit0 type bridge
ip address add "$1" dev kit0
ip link set kit0 up
unshare --net sleep 1000 & phone=$!
while [ "$(readlink /proc/$phone/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add cable type veth peer name eth0 netns $phone
ip link set cable master kit0 up
phone() { nsenter --net=/proc/$phone/ns/net "$@"; }
phone ip link set lo up
phone ip link set eth0 up
nft -f /etc/nftables.conf
`;

/** Prints, for each argument `name/type number`, the code and the answers in hex. */
const ASK = String.raw`
use IO::Socket::INET;
my $server = shift @ARGV;
for my $question (@ARGV) {
  my ($name, $type) = split m{/}, $question;
  my $query = pack('n6', 7, 0x100, 1, 0, 0, 0) . join('', map { chr(length $_) . $_ } split /\./, $name) . pack('Cnn', 0, $type, 1);
  my $socket = IO::Socket::INET->new(PeerAddr => $server, PeerPort => 53, Proto => 'udp') or die;
  $socket->send($query);
  my $answer = '';
  eval { local $SIG{ALRM} = sub { die }; alarm 5; $socket->recv($answer, 4096); alarm 0; };
  if ($answer eq '') { print "$question nothing\n"; next }
  my (undef, $flags, undef, $count) = unpack('n4', $answer);
  print "$question code=", $flags & 15, " answers=$count ", unpack('H*', substr($answer, length $query)), "\n";
}`;

/** Asks for an address as a phone does that has none (RFC 2131), and prints the offer: address, then options in hex. */
const DISCOVER = String.raw`
use Socket;
socket(my $s, PF_INET, SOCK_DGRAM, 17);
setsockopt($s, SOL_SOCKET, SO_BROADCAST, 1);
setsockopt($s, SOL_SOCKET, 25, "eth0\0");
bind($s, sockaddr_in(68, INADDR_ANY)) or die "bind: $!";
my $mac = "\x02\x11\x22\x33\x44\x55";
my $packet = pack('C4Nnn', 1, 1, 6, 0, 42, 0, 0x8000) . "\0" x 16 . $mac . "\0" x 202
  . "\x63\x82\x53\x63" . "\x35\x01\x01" . "\x37\x05\x01\x03\x06\x0f\x2a" . "\xff";
for (1 .. 5) {
  send($s, $packet, 0, sockaddr_in(67, INADDR_BROADCAST)) or die "send: $!";
  my $reply = '';
  eval { local $SIG{ALRM} = sub { die }; alarm 5; recv($s, $reply, 1500, 0); alarm 0; };
  next if $reply eq '';
  print inet_ntoa(substr($reply, 16, 4)), "\n";
  my $at = 240;
  while ($at < length $reply and (my $code = ord substr($reply, $at, 1)) != 255) {
    my $length = ord substr($reply, $at + 1, 1);
    print "option $code ", unpack('H*', substr($reply, $at + 2, $length)), "\n";
    $at += 2 + $length;
  }
  last;
}`;

describe('names and addresses, as a phone gets them', () => {
  const DNSMASQ =
    'mkdir -p /srv/commesh/dns; chown dnsmasq /srv/commesh/dns; dnsmasq --conf-file=/etc/commesh/dnsmasq.conf --pid-file=/run/d.pid; ';

  it("answers the kit's names, nothing else, and always at once", async () => {
    const zone = 'quickstart.home.arpa';
    const foreign = [
      `nobody.${zone}/1`,
      `_nothing._tcp.${zone}/33`,
      '8.8.8.8.in-addr.arpa/12',
      'connectivitycheck.gstatic.com/1',
      'connectivitycheck.gstatic.com/28',
      'captive.apple.com/65',
      'example.org/33',
      'use-application-dns.net/1',
    ];
    const own = [1, 28, 16, 65].map((type) => `${zone}/${type}`);
    const { stdout } = await lan.sh(
      `${NETWORK}${DNSMASQ}
       phone ip address add 10.77.0.9/24 dev eth0
       phone perl -e "$2" 10.77.0.1 ${[...own, `_xmpp-client._tcp.${zone}/33`, '1.0.77.10.in-addr.arpa/12', ...foreign].join(' ')}
       perl -e "$2" 127.0.0.1 example.net/1`,
      ['10.77.0.1/24', ASK],
    );
    const of = (question: string): string =>
      stdout.split('\n').find((line) => line.startsWith(`${question} `)) ?? 'not asked';
    expect(of(`${zone}/1`)).toMatch(/code=0 answers=1 .*0a4d0001$/);
    for (const type of [28, 16, 65]) expect(of(`${zone}/${type}`)).toContain('code=0 answers=0');
    // Port 5222 in the record.
    expect(of(`_xmpp-client._tcp.${zone}/33`)).toMatch(/code=0 answers=1 .*1466/);
    expect(of('1.0.77.10.in-addr.arpa/12')).toContain(Buffer.from('quickstart').toString('hex'));
    for (const name of [...foreign, 'example.net/1']) expect(of(name)).toContain('code=3 answers=0');
  });

  it('hands out addresses through the firewall, with itself as router, name server and clock', async () => {
    const { stdout } = await lan.sh(`${NETWORK}${DNSMASQ} phone perl -e "$2"`, ['10.77.0.1/24', DISCOVER]);
    expect(stdout).toMatch(/^10\.77\.0\.\d+$/m);
    for (const option of [3, 6, 42]) expect(stdout).toContain(`option ${option} 0a4d0001\n`);
    expect(stdout).toContain(`option 15 ${Buffer.from('quickstart.home.arpa').toString('hex')}`);
  });
});

/** `try ADDRESS PORT`: open, refused, or silent when no answer came. */
const TRY = `
for target in "$@"; do
  code=0
  timeout 5 bash -c 'exec 3<>/dev/tcp/$0/$1' "\${target%:*}" "\${target#*:}" 2> /dev/null || code=$?
  case $code in 0) echo "$target open" ;; 124) echo "$target silent" ;; *) echo "$target refused" ;; esac
done`;
const listen = (port: number): string =>
  `perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalPort => ${port}, Listen => 5, ReuseAddr => 1) or die; print STDERR "up\\n"; $s->accept while 1' & `;

describe('the firewall, between a kit and a phone', () => {
  it('lets in what is declared, and says no to the rest', async () => {
    const { stdout } = await lan.sh(
      `${NETWORK}${listen(22)}${listen(9999)}
       phone ip address add 10.77.0.9/24 dev eth0
       phone ip route add default via 10.77.0.1
       while [ "$(ss -Hltn '( sport = :22 or sport = :9999 )' | wc -l)" -lt 2 ]; do sleep 0.05; done
       phone bash -c "$2" try 10.77.0.1:22 10.77.0.1:9999 10.77.0.1:853 198.51.100.8:443
       bash -c "$2" try 127.0.0.1:9999 198.51.100.9:443
       nft list counters table inet commesh`,
      ['10.77.0.1/24', TRY],
    );
    expect(stdout).toContain('10.77.0.1:22 open');
    expect(stdout).toContain('10.77.0.1:9999 refused');
    expect(stdout).toContain('10.77.0.1:853 refused');
    expect(stdout).toContain('127.0.0.1:9999 open');
    // From the phone and from the kit itself: no waiting for a way out that is not there.
    expect(stdout).toContain('198.51.100.8:443 refused');
    expect(stdout).toContain('198.51.100.9:443 refused');
    const packets = (name: string): number =>
      Number(new RegExp(`counter ${name} \\{\\s+packets (\\d+)`).exec(stdout)?.[1]);
    expect(packets('forward_denied')).toBeGreaterThan(0);
    expect(packets('in_denied')).toBeGreaterThan(0);
  });

  it('does not answer one who is not of its network', async () => {
    const { stdout } = await lan.sh(
      `${NETWORK}${listen(22)}
       ip route add 10.99.0.0/24 dev kit0
       phone ip address add 10.99.0.9/24 dev eth0; phone ip route add 10.77.0.1 dev eth0
       while [ "$(ss -Hltn '( sport = :22 )' | wc -l)" -lt 1 ]; do sleep 0.05; done
       phone bash -c "$2" try 10.77.0.1:22`,
      ['10.77.0.1/24', TRY],
    );
    expect(stdout).toBe('10.77.0.1:22 silent\n');
  });

  it('counts nothing while the kit minds its own business, and one packet that wants out', async () => {
    const { stdout } = await lan.sh(
      `${NETWORK}
       count() { nft list counter inet commesh out_denied | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'; }
       phone ip address add 10.77.0.9/24 dev eth0
       bash -c 'exec 3<>/dev/tcp/10.77.0.9/80' 2> /dev/null || true
       count
       ip route add default via 10.77.0.9
       perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(PeerAddr => "198.51.100.1", PeerPort => 123, Proto => "udp") or die; $s->send("x")'
       count`,
      ['10.77.0.1/24'],
    );
    expect(stdout).toBe('0\n1\n');
  });
});

describe('hostapd', () => {
  const start = (security: string, more = ''): string =>
    `cat /etc/commesh/access-point/hostapd.conf /etc/commesh/access-point/${security}.conf > /tmp/h.conf; ${more}
     timeout 5 hostapd -dd /tmp/h.conf 2>&1 || true`;
  const WRONG = /Line \d+: |errors found in configuration/;

  it.each(['wpa2', 'wpa3'])('reads every line of the configuration (%s)', async (security) => {
    const { stdout } = await accessPoint.sh(start(security));
    // There is no radio here: what fails first is the driver, after the configuration has been read.
    expect(stdout).toContain('nl80211');
    expect(stdout).not.toMatch(WRONG);
  });
  it('complains about a wrong line, so the test above can fail', async () => {
    const { stdout } = await accessPoint.sh(start('wpa2', 'echo nonsense=1 >> /tmp/h.conf;'));
    expect(stdout).toMatch(WRONG);
  });
  it('is prepared for what the radio can do', async () => {
    const prepare = async (abilities: string): Promise<string> => {
      const { stdout } = await accessPoint.sh(
        `mkdir -p /tmp/bin /tmp/run
         printf '#!/bin/sh\\necho "%s"\\n' "$1" > /tmp/bin/iw
         chmod +x /tmp/bin/iw
         PATH=/tmp/bin:$PATH /usr/libexec/commesh/access-point /tmp/run > /dev/null
         stat -c %a /tmp/run/hostapd.conf
         cat /tmp/run/hostapd.conf`,
        [abilities],
      );
      return stdout;
    };
    const sae = 'Device supports SAE with AUTHENTICATE command';
    expect(await prepare(`${sae} * CMAC (00-0f-ac:6)`)).toMatch(/^600$[^]*^wpa_key_mgmt=WPA-PSK SAE$/m);
    expect(await prepare(sae)).toMatch(/^600$[^]*^wpa_key_mgmt=WPA-PSK$[^]*^ieee80211w=0$/m);
  });
});

describe('SSH', () => {
  it('lets the operator in with the key, and nobody with a password, as root, or through', async () => {
    const { stdout } = await lan.sh(
      `ip link set lo up
       printf '%s\\n' "$1" > /tmp/operator; chmod 600 /tmp/operator
       printf 'x %s\\n' "$2" > /tmp/known
       /usr/sbin/sshd
       go() { ssh -F none -i /tmp/operator -o IdentitiesOnly=yes -o BatchMode=yes -o HostKeyAlias=x -o UserKnownHostsFile=/tmp/known "$@"; }
       go kit@127.0.0.1 'id -un; sudo -n id -un' || echo 'kit: no'
       go root@127.0.0.1 id 2>&1 || echo 'root: no'
       go -o PubkeyAuthentication=no kit@127.0.0.1 id 2>&1 || echo 'password: no'
       go -W 127.0.0.1:22 kit@127.0.0.1 2>&1 < /dev/null || echo 'tunnel: no'`,
      [secrets('ssh-operator'), secrets('ssh-host.pub')],
    );
    expect(stdout).toMatch(/^kit\nroot\n/);
    for (const refused of ['root', 'password', 'tunnel']) expect(stdout).toContain(`${refused}: no`);
    expect(stdout).toContain('Permission denied (publickey)');
  });
});

describe('the clock', () => {
  it('is set forward to when it was last seen, never back', async () => {
    // The real clocks are not for a test to move: stand-ins write down what would be set.
    const { stdout } = await lan.sh(
      `mkdir -p /tmp/bin
       cat > /tmp/bin/date <<'DATE'
#!/bin/sh
case "$*" in *--set*) echo "$*" >> /tmp/set ;; *) exec /usr/bin/date "$@" ;; esac
DATE
       printf '#!/bin/sh\\nexit 1\\n' > /tmp/bin/hwclock
       chmod +x /tmp/bin/*
       PATH=/tmp/bin:$PATH; : > /tmp/set
       clock() { /usr/libexec/commesh/clock "$1" /tmp/stamp > /dev/null; }
       clock restore; echo "no mark: $(wc -l < /tmp/set)"
       clock save; clock restore; echo "now: $(wc -l < /tmp/set)"
       touch -d 2001-02-03 /tmp/stamp; clock restore; echo "past: $(wc -l < /tmp/set)"
       touch -d 2099-01-01T00:00:00Z /tmp/stamp; clock restore; echo "future: $(cat /tmp/set)"
       clock save; clock restore; echo "set right by hand: $(wc -l < /tmp/set)"`,
    );
    expect(stdout).toBe(
      `no mark: 0\nnow: 0\npast: 0\nfuture: --utc --set @${Date.UTC(2099, 0, 1) / 1000}\nset right by hand: 1\n`,
    );
  });

  it('is served to phones, though nobody tells the kit the time', async () => {
    // -x and -Q: neither of the two touches the machine's clock.
    const { stdout } = await lan.sh(
      `${NETWORK}
       phone ip address add 10.77.0.9/24 dev eth0
       mkdir -p /srv/commesh/time /run/chrony; chown _chrony: /srv/commesh/time /run/chrony; chmod 750 /run/chrony
       chronyd -x -4 -F 1 -u _chrony -f /etc/chrony/chrony.conf
       rm -f /run/chrony/chronyd.pid
       phone chronyd -Q -t 20 'server 10.77.0.1 iburst maxsamples 1' 'pidfile /run/phone.pid' 2>&1`,
      ['10.77.0.1/24'],
    );
    expect(stdout).toMatch(/System clock wrong by -?0\.0\d+ seconds/);
  });
});
