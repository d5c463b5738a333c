import { fault } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import { canonicalLanguage } from '../site.js';
import type { Rule } from './rule.js';

/** Codes of languages people name in full, by their English names. */
const COMMON = [
  'am',
  'ar',
  'bn',
  'de',
  'en',
  'es',
  'fa',
  'fr',
  'ha',
  'hi',
  'id',
  'ku',
  'ln',
  'my',
  'ne',
  'om',
  'ps',
  'pt',
  'ru',
  'rw',
  'so',
  'sw',
  'ta',
  'ti',
  'tl',
  'tr',
  'uk',
  'ur',
  'vi',
  'zh',
];

/** Tags exist and are written as BCP 47 wants, each once. */
export const languages: Rule = (written) => {
  const names = new Intl.DisplayNames(['en'], { type: 'language', fallback: 'none' });
  const nameOf = (tag: string): string | undefined => {
    try {
      return names.of(tag.split('-')[0] ?? tag);
    } catch {
      return undefined;
    }
  };
  const seen = new Set<string>();
  return (written.site.languages ?? []).flatMap((given, index) => {
    const path = ['site', 'languages', index];
    const tag = canonicalLanguage(given);
    const again = seen.has(tag);
    seen.add(tag);
    if (again)
      return [
        fault('profile/twice', `${quoted(given)} stands in the list already`, path, 'delete one of the two'),
      ];
    let formed = true;
    try {
      Intl.getCanonicalLocales(given);
    } catch {
      formed = false;
    }
    if (formed && nameOf(given) !== undefined) return [];
    const byName = COMMON.find((code) => nameOf(code)?.toLowerCase() === given.toLowerCase());
    const hint =
      byName !== undefined
        ? `did you mean "${byName}"?`
        : given.includes('_')
          ? `did you mean "${given.replaceAll('_', '-')}"?`
          : 'write its code, for example en, fr, sw, ar, pt-BR';
    return [fault('profile/language', `${quoted(given)} is not a language code`, path, hint)];
  });
};
