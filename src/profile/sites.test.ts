import { describe, expect, it } from 'vitest';
import { renderDiagnostics } from '../diagnostics/render.js';
import { loadServices } from '../services/registry.js';
import { decodeProfile, type ProfileDocument } from './read.js';
import { sitesOf, type SitesTable } from './sites.js';

const services = await loadServices();
const TEMPLATE = `# The template of the district.
site:
  name: template # replaced
  title: Template
  languages: [en]

board: pi4
people: 8
network:
  mode: access-point
  wifi:
    country: KE
    passphrase: four plain words here
backup: true
`;
const read = (text: string): ProfileDocument => {
  const { document } = decodeProfile('kit.yaml', new TextEncoder().encode(text));
  if (document === null) throw new Error('the template of the test is wrong');
  return document;
};
const sites = (table: string, template = TEMPLATE): SitesTable =>
  sitesOf(read(template), 'sites.csv', table, services, () => []);
const told = ({ diagnostics }: SitesTable): string[] =>
  diagnostics.map(({ file, line, column, message }) => `${file}:${line}:${column} ${message}`);

describe('a table of sites', () => {
  it('gives a profile for each row, the comments of the template kept', () => {
    const made = sites(
      'site.name,site.title,people,site.languages,network.wifi.ssid\n' +
        'moyo,"Clinic, ""Moyo""",6,"[fr, es]",12\n' +
        'adjumani,Adjumani,,,\n',
    );
    expect(told(made)).toEqual([]);
    expect(made.sites.map((one) => one.name)).toEqual(['moyo', 'adjumani']);
    expect(made.sites[0]?.text).toBe(
      TEMPLATE.replace('name: template', 'name: moyo')
        .replace('title: Template', 'title: Clinic, "Moyo"')
        .replace('[en]', '[fr, es]')
        .replace('people: 8', 'people: 6')
        .replace('words here\n', 'words here\n    ssid: "12"\n'),
    );
    expect(made.sites[0]?.profile.site).toMatchObject({ people: 6, languages: ['fr', 'es'] });
    expect(made.sites[1]?.text).toBe(
      TEMPLATE.replace('name: template', 'name: adjumani').replace('title: Template', 'title: Adjumani'),
    );
  });

  it.each([
    ['semicolons', 'site.name;site.title\na;"A; b"\n', 'A; b'],
    ['tabs', 'site.name\tsite.title\na\tA, b\n', 'A, b'],
    ['a byte order mark and Windows line ends', '\uFEFFsite.name,site.title\r\na,A b\r\n\r\n', 'A b'],
  ])('is read with %s', (_what, table, title) => {
    const made = sites(table);
    expect(made.sites.map((one) => [one.name, one.profile.site.title])).toEqual([['a', title]]);
  });

  it.each<[string, string, string[]]>([
    ['a wrong value', 'site.name,people\na,5\nb,many\n', ['sites.csv:3:3']],
    ['every wrong value', 'site.name,people\na,0\nb,501\n', ['sites.csv:2:3', 'sites.csv:3:3']],
    ['after a cell with a comma', 'site.name,site.title,people\na,"A, b",x\n', ['sites.csv:2:10']],
    ['after a cell with a line break', 'site.title,site.name,people\n"A\nb",a,x\n', ['sites.csv:3:6']],
    ['a name twice', 'site.name\na\nb\na\n', ['sites.csv:4:1']],
    ['an unknown setting', 'site.name,site.titel\na,b\n', ['sites.csv:1:11']],
    ['a column twice', 'site.name,site.name\na,b\n', ['sites.csv:1:11']],
    ['no name', 'site.title\nA\n', ['sites.csv:1:1']],
    ['a missing cell', 'site.name,site.title\na,A\nb\n', ['sites.csv:3:1']],
    ['an open quote', 'site.name\n"a\n', ['sites.csv:2:1']],
    ['nothing', '', ['sites.csv:1:1']],
    ['no site', 'site.name,people\n', ['sites.csv:1:1']],
    ['a setting below a switch', 'site.name,backup.at\na,03:00\n', ['sites.csv:2:3']],
  ])('is told at its cell: %s', (_what, table, places) => {
    const made = sites(table);
    expect(made.sites).toEqual([]);
    expect(told(made).map((one) => one.split(' ')[0])).toEqual(places);
  });

  it('tells a fault of the template once, and there', () => {
    const made = sites('site.name\na\nb\n', TEMPLATE.replace('people: 8', 'people: none'));
    expect(told(made).map((one) => one.split(' ')[0])).toEqual(['kit.yaml:8:9']);
  });

  it('says which setting was meant', () => {
    const hint = (table: string): string | undefined => sites(table).diagnostics[0]?.hint;
    expect(hint('site.name,site.titel\na,b\n')).toBe('did you mean "site.title"?');
    expect(hint('site.name,netwrok.address\na,b\n')).toBe('did you mean "network.address"?');
    expect(hint('site.name,colour\na,b\n')).toMatch(/^the first line names settings/);
  });

  it('shows no passphrase', () => {
    const made = sites('site.name,network.wifi.passphrase,people\na,short,x\n');
    const shown = renderDiagnostics(made.diagnostics, made.sources);
    expect(shown).toContain('a,•••••,x');
    expect(shown).not.toContain('short');
  });
});
