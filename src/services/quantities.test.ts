import { describe, expect, it } from 'vitest';
import { days, megabytes } from './quantities.js';

describe('periods and sizes', () => {
  it.each([
    ['30d', 30],
    ['1 day', 1],
    ['2w', 14],
    ['6 months', 180],
    ['1y', 365],
    ['forever', 0],
  ])('%s is %d days', (text, expected) => {
    expect(days(text)).toBe(expected);
  });
  it.each([
    ['100 MB', 100],
    ['2GB', 2000],
  ])('%s is %d MB', (text, expected) => {
    expect(megabytes(text)).toBe(expected);
  });
});
