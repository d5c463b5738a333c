import { fault } from '../../diagnostics/diagnostic.js';
import { BOARD_NAMES } from './board.js';
import type { Rule } from './rule.js';

/** Devices the Wi-Fi firmware of a Raspberry Pi keeps connected at a time; the ninth is refused. */
const PI_WIFI = 8;

/** A Raspberry Pi's own Wi-Fi is not asked for more people than it can hold. */
export const people: Rule = (written, site) => {
  if (site.network.mode !== 'access-point' || site.board === 'pc' || site.people <= PI_WIFI) return [];
  return [
    fault(
      'profile/too-many-for-wifi',
      `the Wi-Fi of a ${BOARD_NAMES[site.board]} holds ${PI_WIFI} devices, and ${site.people} people are expected`,
      written.people === undefined ? ['network', 'mode'] : ['people'],
      site.board === 'zero2w'
        ? 'take a board with a network socket, connect a Wi-Fi router by cable, and write "network: mode: lan"'
        : 'connect a Wi-Fi router or a wired network by cable, and write "mode: lan" below "network:"',
    ),
  ];
};
