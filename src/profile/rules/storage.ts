import { fault } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import { parseStorage } from '../units.js';
import type { Rule } from './rule.js';

/** Smallest card or disk, GB: the system takes about 2, the rest is for messages, files and backups. */
const LEAST = 8;

/** The card's size can be read and is large enough. */
export const storage: Rule = (written) => {
  if (written.storage === undefined) return [];
  const path = ['storage'];
  const size = parseStorage(written.storage);
  if (size === null) {
    return [
      fault(
        'profile/size',
        `${quoted(written.storage)} is not the size of a card or disk`,
        path,
        'a number and its unit, as printed on the card: storage: 32 GB',
      ),
    ];
  }
  return size < LEAST
    ? [
        fault(
          'profile/storage',
          `a kit needs a card or disk of at least ${LEAST} GB`,
          path,
          'take a larger card; 32 GB is a good size',
        ),
      ]
    : [];
};
