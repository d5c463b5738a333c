import { expect, it } from 'vitest';
import { didYouMean, distance, suggest } from './suggest.js';

it.each([
  ['', '', 0],
  ['abc', 'abc', 0],
  ['registraton', 'registration', 1],
  ['chanel', 'channel', 1],
  ['teh', 'the', 1],
  ['kitten', 'sitting', 3],
  ['', 'abc', 3],
])('distance of %s and %s is %i', (a, b, expected) => {
  expect(distance(a, b)).toBe(expected);
  expect(distance(b, a)).toBe(expected);
});

it.each([
  ['registraton', ['registration', 'domain'], 'registration'],
  ['timeZone', ['timezone', 'title'], 'timezone'],
  ['access point', ['access-point', 'lan'], 'access-point'],
  ['zzz', ['name', 'title'], undefined],
  ['pi6', ['pi3', 'pi4', 'pi5'], undefined],
  ['pi 4', ['pi3', 'pi4', 'pi5'], 'pi4'],
  ['-', ['name'], undefined],
  ['x'.repeat(100), ['x'], undefined],
])('%s among %j means %s', (written, known, expected) => {
  expect(suggest(written, known)).toBe(expected);
  expect(didYouMean(written, known)).toBe(expected === undefined ? undefined : `did you mean "${expected}"?`);
});
