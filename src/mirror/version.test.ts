import { expect, it } from 'vitest';
import { compareVersions } from './version.js';

it.each([
  ['1.0', '1.0', 0],
  ['1.0', '1.0-0', 0],
  ['1.9', '1.10', -1],
  ['2:1', '1:9', 1],
  ['1.0~rc1', '1.0', -1],
  ['1.0~~', '1.0~', -1],
  ['1.0-1+b1', '1.0-1', 1],
  ['1.0-1', '1.0+dfsg-1', -1],
  ['2.41-12', '2.41-12+deb13u1', -1],
  ['1.0a', '1.0+', -1],
  ['1.2.3', '1.2.3a', -1],
  ['007', '7', 0],
])('%s against %s: %i', (a, b, order) => {
  expect(compareVersions(a, b)).toBe(order);
  expect(compareVersions(b, a)).toBe(0 - order || 0);
});
