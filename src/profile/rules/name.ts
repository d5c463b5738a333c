import { fault } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import type { Rule } from './rule.js';

/** Shorter than a DNS label may be (63, RFC 1035): it is also the Wi-Fi's name (32 bytes) and a file name. */
const LONGEST = 32;
const TAKEN = ['localhost', 'kit', 'home', 'arpa'];

/** A name made of `text` that could serve, or undefined. */
function fitting(text: string): string | undefined {
  const name = text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[-0-9]+|-+$/g, '')
    // Whole words only.
    .replace(new RegExp(`^(.{1,${LONGEST}})(?:-.*|$)`), '$1')
    .slice(0, LONGEST);
  return name === '' ? undefined : name;
}

/** `site.name` is a host name, `site.title` something to read. */
export const name: Rule = (written) => {
  const { name: given, title } = written.site;
  const out = [];
  const proposal = fitting(given);
  const hint =
    proposal === undefined || proposal === given
      ? 'for example: name: clinic'
      : `for example: name: ${proposal}`;
  const path = ['site', 'name'];
  if (!/^[a-z][a-z0-9-]*$/.test(given) || given.endsWith('-')) {
    out.push(
      fault(
        'profile/site-name',
        `${quoted(given)} cannot be the name of a site: it has small letters, digits and hyphens, begins with a letter and does not end with a hyphen`,
        path,
        hint,
      ),
    );
  } else if (given.length > LONGEST) {
    out.push(
      fault(
        'profile/site-name',
        `the name of a site has at most ${LONGEST} characters, and this has ${given.length}`,
        path,
        `the long name belongs into "title"; ${hint}`,
      ),
    );
  } else if (TAKEN.includes(given)) {
    out.push(
      fault(
        'profile/site-name',
        `${quoted(given)} already means something else in every network`,
        path,
        'choose another name, for example the place',
      ),
    );
  }
  if (title.trim() === '' || /\p{Cc}/u.test(title)) {
    out.push(
      fault(
        'profile/site-title',
        'the title must be one line of readable text',
        ['site', 'title'],
        'for example: title: Clinic of Kalembe',
      ),
    );
  }
  return out;
};
