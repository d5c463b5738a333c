import { fault } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import type { Rule } from './rule.js';

/** The time is a time of day, and at least one backup is kept. */
export const backup: Rule = (written, site) => {
  if (typeof written.backup !== 'object') return [];
  const out = [];
  const { at } = written.backup;
  if (at !== undefined && !/^([01]\d|2[0-3]):[0-5]\d$/.test(at)) {
    const short = /^(\d):([0-5]\d)$/.exec(at);
    const hint = short ? `did you mean "0${at}"?` : 'hours and minutes, two digits each: at: "02:30"';
    out.push(fault('profile/time', `${quoted(at)} is not a time of day`, ['backup', 'at'], hint));
  }
  const { daily, weekly, monthly } = site.backup.keep;
  if (site.backup.enabled && daily + weekly + monthly === 0) {
    out.push(
      fault(
        'profile/backup',
        'no backup would be kept',
        ['backup', 'keep'],
        'keep at least one, or write "backup: false"',
      ),
    );
  }
  return out;
};
