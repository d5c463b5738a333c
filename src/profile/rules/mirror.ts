import { fault } from '../../diagnostics/diagnostic.js';
import type { Rule } from './rule.js';

/** The mirror is `auto`, a web address or a folder, and gives away no password. */
export const mirror: Rule = (written) => {
  const given = written.mirror;
  if (given === undefined || given === 'auto') return [];
  const path = ['mirror'];
  const hint =
    'write auto, the address of a Debian mirror (http://… or https://…), or a folder (file:/media/usb/debian)';
  if (/\s|\p{Cc}/u.test(given)) return [fault('profile/mirror', 'an address has no spaces', path, hint)];
  if (given.startsWith('file:')) {
    return given.replace(/^file:(\/\/)?/, '') === ''
      ? [fault('profile/mirror', 'the folder is missing after "file:"', path, hint)]
      : [];
  }
  if (!/^https?:\/\//.test(given) || !URL.canParse(given)) {
    return [fault('profile/mirror', 'this is not an address packages can be fetched from', path, hint)];
  }
  const url = new URL(given);
  if (url.username !== '' || url.password !== '') {
    return [
      fault(
        'profile/mirror',
        'a user name or password in the address would end up in the lock file',
        path,
        'use an address without them',
      ),
    ];
  }
  if (url.search !== '' || url.hash !== '') {
    return [fault('profile/mirror', 'the address of a mirror has no "?" or "#"', path, hint)];
  }
  return [];
};
