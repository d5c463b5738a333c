import type { CheckContext } from '../check.js';
import type { Element } from '../clients/xmpp.js';
import { xml } from '../clients/xmpp.js';
import { type People, PREFIX } from '../people.js';

export const MAM = 'urn:xmpp:mam:2';

export interface Talk {
  readonly context: CheckContext;
  readonly domain: string;
  readonly groups: string;
  readonly share: string;
  readonly people: People;
}

/** One step of the conversation: gives what was seen, throws when it does not work. */
export interface Step {
  readonly what: string;
  readonly title: string;
  readonly hint: string;
  run(talk: Talk): Promise<string>;
}

/** The hint for what should not happen on a card as it was built. */
export const REBUILD = 'build and flash the card again; if this stays, report it with this text';

/** Fits a message of a type with this text. */
export const bodyIs = (text: string, type: string) => (stanza: Element) =>
  stanza.is('message') && stanza.attrs['type'] === type && stanza.getChildText('body') === text;

/** A text nobody else sends, in several scripts. */
export function sentence(context: CheckContext): string {
  return `${PREFIX}${context.host.random(6).toString('hex')}: 安 здравствуйте مرحبا`;
}

/** Asks an archive (XEP-0313) and gives the bodies it holds. */
export async function archive(
  session: People['anna']['session'],
  to: string | undefined,
  context: CheckContext,
): Promise<readonly string[]> {
  const queryid = context.host.random(6).toString('hex');
  await session.iq('set', to, xml('query', { xmlns: MAM, queryid }));
  const bodies: string[] = [];
  for (;;) {
    // The results come before the answer to the query, so all of them are there by now.
    const next = await session
      .expect(
        'a message of the archive',
        (stanza) => stanza.getChild('result', MAM)?.attrs['queryid'] === queryid,
        50,
      )
      .catch(() => null);
    if (!next) return bodies;
    const forwarded = next.getChild('result', MAM)?.getChild('forwarded', 'urn:xmpp:forward:0');
    bodies.push(forwarded?.getChild('message')?.getChildText('body') ?? '');
  }
}
