/** Languages the join page is written in: a catalogue `templates/web/i18n/<tag>.json` for each. */
export const JOIN_LANGUAGES: readonly string[] = ['en', 'es', 'fr', 'ar'];

/** The catalogue for a language tag (`es-419` → `es`), or null when the join page is not written in it. */
export function joinLanguage(tag: string): string | null {
  if (JOIN_LANGUAGES.includes(tag)) return tag;
  const primary = tag.split('-')[0] ?? tag;
  return JOIN_LANGUAGES.includes(primary) ? primary : null;
}

/** The join page's languages for a site, in the site's order; English when none of them is there. */
export function joinLanguages(tags: readonly string[]): readonly string[] {
  const found = [...new Set(tags.flatMap((tag) => joinLanguage(tag) ?? []))];
  return found.length > 0 ? found : ['en'];
}
