/** Languages the pages are written in: a catalogue `templates/webchat/i18n/<tag>.json` for each. */
export const CHAT_LANGUAGES: readonly string[] = ['en', 'es', 'fr', 'ar'];

/** The pages' languages for a site, in the site's order (`es-419` → `es`); English when none of them is there. */
export function chatLanguages(tags: readonly string[]): readonly string[] {
  const known = tags.map((tag) => tag.split('-')[0] ?? tag).filter((tag) => CHAT_LANGUAGES.includes(tag));
  return known.length > 0 ? [...new Set(known)] : ['en'];
}
