import { describe, expect, it } from 'vitest';
import { emulationText, namespaceFinding, rangeText, type NamespaceFacts } from './checks.js';

const facts: NamespaceFacts = {
  uid: 1000,
  maxUserNamespaces: '127000',
  unprivilegedUsernsClone: '',
  apparmorRestricts: '',
  refusal: 'unshare failed: Operation not permitted',
};

describe('what a machine forbids is told with the command that helps', () => {
  it.each<[Partial<NamespaceFacts>, string, string | undefined]>([
    [{ refusal: '' }, 'usable', undefined],
    // What works is not asked about.
    [{ refusal: '', apparmorRestricts: '1' }, 'usable', undefined],
    [{ maxUserNamespaces: '0' }, 'this machine allows none', 'user.max_user_namespaces=15000'],
    [{ uid: 0, maxUserNamespaces: '0' }, 'this machine allows none', 'user.max_user_namespaces=15000'],
    [{ unprivilegedUsernsClone: '0' }, 'only root may make them here', 'kernel.unprivileged_userns_clone=1'],
    [
      { apparmorRestricts: '1' },
      'AppArmor forbids this account to use them',
      'kernel.apparmor_restrict_unprivileged_userns=0',
    ],
    [{ apparmorRestricts: '1', refusal: null }, 'AppArmor forbids this account to use them', 'restrict'],
    [{ refusal: null }, 'the kernel allows them (not tried: no unshare here)', undefined],
    [{ uid: 0, apparmorRestricts: '1', refusal: null }, 'the kernel allows them', undefined],
    [{}, 'this account cannot make them (unshare failed: Operation not permitted)', 'container'],
  ])('%j: %s', (change, reason, hint) => {
    const finding = namespaceFinding({ ...facts, ...change });
    expect(finding.reason).toContain(reason);
    expect(finding.state).toBe(hint === undefined ? 'pass' : 'fail');
    if (hint === undefined) expect(finding.hint).toBeUndefined();
    else expect(finding.hint).toContain(hint);
    if (hint?.includes('=') === true)
      expect(finding.hint).toMatch(/^sudo sysctl -w \S+ \(until the next start\)$/);
  });

  it('missing ids', () => {
    const ranges = [{ owner: 'other', start: 100_000, count: 65_536 }];
    expect(rangeText(ranges, 'volunteer', 1000, '/etc/subuid', 'subuid')).toMatchObject({
      state: 'fail',
      reason: 'volunteer has no range of 65536 ids',
      hint: 'sudo touch /etc/subuid && sudo usermod --add-subuids 165536-231071 volunteer',
    });
    expect(rangeText(ranges, 'other', 1001, '/etc/subgid', 'subgid').state).toBe('pass');
  });

  it.each([
    ['6.1.0-37-amd64', ': Linux 6.1.0-37-amd64 is older than 6.7'],
    ['6.12.48', '(PC images can)'],
  ])('no way to run arm64 programs on Linux %s', (kernel, reason) => {
    const finding = emulationText('none', kernel);
    expect(finding).toMatchObject({ state: 'warn', hint: 'sudo apt-get install qemu-user-static' });
    expect(finding.reason.endsWith(reason)).toBe(true);
    expect(emulationText('private', kernel).state).toBe('pass');
  });
});
