import type { Site } from '../services/contract.js';
import type { PackageSet, Planned, PlanSource } from './types.js';
import type { ArchiveWish, PackageWish } from '../services/contract.js';

/** The Debian release every kit is made from. */
export const RELEASE = 'trixie';

/** Fingerprint of the Raspberry Pi archive's signing key (facts: image.md 4b). */
const RASPBERRY_PI_KEY = 'CF8A1AF502A2AA2D763BAE7E82B129927FA3303E';

/** Package sources of a site; suites that only single packages name come after the usual ones, then other publishers' archives. */
export function planSources(
  site: Site,
  packages: readonly Planned<PackageWish>[],
  archives: readonly Planned<ArchiveWish>[],
): readonly PlanSource[] {
  const components = ['main', 'non-free-firmware'];
  const sources: PlanSource[] = [
    { archive: 'debian', suite: RELEASE, components, fingerprints: [], use: 'all' },
    { archive: 'debian', suite: `${RELEASE}-updates`, components, fingerprints: [], use: 'all' },
    { archive: 'debian-security', suite: `${RELEASE}-security`, components, fingerprints: [], use: 'all' },
  ];
  if (site.base === 'raspberry-pi-os') {
    sources.push({
      archive: 'raspberrypi',
      suite: RELEASE,
      components: ['main'],
      fingerprints: [RASPBERRY_PI_KEY],
      use: 'all',
    });
  }
  const extra = new Set(
    packages.flatMap(({ suite, archive }) => (suite === undefined || archive !== undefined ? [] : [suite])),
  );
  for (const suite of [...extra].sort()) {
    sources.push({ archive: 'debian', suite, components: ['main'], fingerprints: [], use: 'only' });
  }
  for (const { archive, suite, components, fingerprints, uri, because } of archives) {
    sources.push({ archive, suite, components, fingerprints, use: 'only', uri, because });
  }
  return sources;
}

/** Packages that are only unpacked, for the files a boot loader needs. */
export function bootSet(site: Site): PackageSet {
  const names =
    site.board === 'pc' ? ['grub-efi-amd64-signed', 'grub-pc-bin', 'shim-signed'] : ['raspi-firmware'];
  return {
    id: 'boot',
    arch: site.arch,
    packages: names.map((name) => ({ name, service: 'system', because: ['board'] })),
  };
}
