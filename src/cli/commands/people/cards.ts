import { joinLanguages } from '../../../services/web/languages.js';
import { attribute, markup } from '../../../templates/quote.js';

/** What is handed to one person. */
export interface Card {
  readonly name: string | null;
  readonly display?: string;
  /** Addresses, one for each service the person has an account at. */
  readonly addresses: readonly string[];
  readonly passphrase?: string;
  readonly links: readonly string[];
  readonly words: readonly string[];
  /** Until when an invitation can be used, seconds since 1970. */
  readonly expires?: number;
}

export interface Sheet {
  readonly title: string;
  readonly domain: string;
  readonly languages: readonly string[];
  readonly timezone: string;
  readonly cards: readonly Card[];
}

interface Texts {
  readonly dir: 'ltr' | 'rtl';
  readonly first: string;
  readonly address: string;
  readonly passphrase: string;
  readonly invitation: string;
  readonly link: string;
  readonly word: string;
  readonly until: string;
  readonly keep: string;
}

const TEXTS: Readonly<Record<string, Texts>> = {
  en: {
    dir: 'ltr',
    first: 'Join the network of this site, then open',
    address: 'Your address',
    passphrase: 'Your passphrase',
    invitation: 'Your invitation',
    link: 'Open',
    word: 'Make an account in the app, and where it asks for a token type',
    until: 'Until',
    keep: 'Keep this card where nobody else reads it. Nobody can send you the passphrase again.',
  },
  es: {
    dir: 'ltr',
    first: 'Conéctese a la red de este sitio y abra',
    address: 'Su dirección',
    passphrase: 'Su frase de paso',
    invitation: 'Su invitación',
    link: 'Abra',
    word: 'Cree una cuenta en la aplicación y, donde pida un código (token), escriba',
    until: 'Hasta el',
    keep: 'Guarde esta tarjeta donde nadie más la lea. Nadie puede volver a enviarle la frase.',
  },
  fr: {
    dir: 'ltr',
    first: 'Rejoignez le réseau de ce site, puis ouvrez',
    address: 'Votre adresse',
    passphrase: 'Votre phrase de passe',
    invitation: 'Votre invitation',
    link: 'Ouvrez',
    word: 'Créez un compte dans l’application et, là où elle demande un jeton (token), saisissez',
    until: 'Jusqu’au',
    keep: 'Gardez cette carte là où personne d’autre ne la lit. Personne ne peut vous renvoyer la phrase.',
  },
  ar: {
    dir: 'rtl',
    first: 'اتصل بشبكة هذا الموقع ثم افتح',
    address: 'عنوانك',
    passphrase: 'عبارة المرور الخاصة بك',
    invitation: 'دعوتك',
    link: 'افتح',
    word: 'أنشئ حسابًا في التطبيق، وحيث يطلب الرمز (token) اكتب',
    until: 'حتى',
    keep: 'احفظ هذه البطاقة حيث لا يقرأها أحد غيرك. لا يستطيع أحد أن يرسل إليك العبارة مرة أخرى.',
  },
};

const STYLE = `
@page { margin: 12mm }
body { font: 12pt/1.35 system-ui, sans-serif; margin: 0; color: #000; background: #fff }
section { border: 1px dashed #777; padding: 6mm; margin: 0 0 4mm; break-inside: avoid }
h2 { font-size: 15pt; margin: 0 0 2mm }
dl { margin: 0 }
dt { font-size: 10pt; margin-top: 2mm }
dd { margin: 0; font: bold 13pt/1.3 ui-monospace, monospace; overflow-wrap: anywhere }
p { margin: 2mm 0 0; font-size: 10pt }
`;

/** One card for each person, to be printed and cut: a page that loads nothing. In the site's first language that has texts. */
export function cardsHtml(sheet: Sheet): string {
  const language = joinLanguages(sheet.languages)[0] ?? 'en';
  const texts = TEXTS[language] ?? (TEXTS['en'] as Texts);
  const cards = sheet.cards.map((card) => cardHtml(card, sheet, texts, language));
  return `<!doctype html>
<html lang=${attribute(language)} dir=${attribute(texts.dir)}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${markup(sheet.title)}</title>
<style>${STYLE}</style>
</head>
<body>
${cards.join('\n')}
</body>
</html>
`;
}

function cardHtml(card: Card, sheet: Sheet, texts: Texts, language: string): string {
  const who = card.display ?? card.name ?? texts.invitation;
  const entry = (label: string, value: string): string =>
    `<dt>${markup(label)}</dt><dd dir="ltr"><bdi>${markup(value)}</bdi></dd>`;
  const entries = [
    entry(texts.first, `http://${sheet.domain}/`),
    ...card.addresses.map((address) => entry(texts.address, address)),
    ...(card.passphrase === undefined ? [] : [entry(texts.passphrase, card.passphrase)]),
    ...card.links.map((link) => entry(texts.link, link)),
    ...card.words.map((word) => entry(texts.word, word)),
  ];
  const until =
    card.expires === undefined
      ? ''
      : `<p>${markup(texts.until)} <bdi>${markup(dateOf(card.expires, sheet.timezone, language))}</bdi></p>`;
  const keep = card.passphrase === undefined ? '' : `<p>${markup(texts.keep)}</p>`;
  return `<section>
<h2><bdi>${markup(who)}</bdi> · <bdi>${markup(sheet.title)}</bdi></h2>
<dl>${entries.join('')}</dl>
${until}${keep}
</section>`;
}

/** A day at the site, as its people write it. */
export function dateOf(seconds: number, timezone: string, language = 'en-GB'): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'long', timeZone: timezone }).format(seconds * 1000);
}
