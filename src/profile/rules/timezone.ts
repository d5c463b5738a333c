import { fault } from '../../diagnostics/diagnostic.js';
import { suggest } from '../../diagnostics/suggest.js';
import { quoted } from '../../diagnostics/text.js';
import { TIME_ZONES } from '../data/timezones.js';
import type { Rule } from './rule.js';

function identity(zone: string): string | undefined {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

/** A zone the device knows that means what was written: an old name, other capitals, or only the city. */
function meant(given: string): string | undefined {
  const plain = given.trim().toLowerCase().replace(/\s+/g, '_');
  const exact = TIME_ZONES.find(
    (zone) => zone.toLowerCase() === plain || zone.toLowerCase().endsWith(`/${plain}`),
  );
  if (exact !== undefined) return exact;
  const same = given.includes('/') ? identity(given) : undefined;
  if (same !== undefined) return TIME_ZONES.find((zone) => identity(zone) === same);
  return (
    suggest(given, TIME_ZONES) ??
    TIME_ZONES.find((zone) => suggest(given, [zone.slice(zone.lastIndexOf('/') + 1)]) !== undefined)
  );
}

/** The time zone is one that Debian's tzdata holds, spelled exactly so: the device's lookup knows no other. */
export const timezone: Rule = (written) => {
  const given = written.site.timezone;
  if (given === undefined || TIME_ZONES.includes(given)) return [];
  const near = meant(given);
  const hint =
    near === undefined
      ? 'write a continent and a city, for example Africa/Nairobi, Asia/Dhaka, Europe/Kyiv, or UTC'
      : `did you mean "${near}"?`;
  return [
    fault(
      'profile/timezone',
      `${quoted(given)} is not a time zone the kit knows`,
      ['site', 'timezone'],
      hint,
    ),
  ];
};
