import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'offline-cache/', 'images/', 'node_modules/', 'coverage/'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts', '**/*.tsx'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', ignoreRestSiblings: true }],
      eqeqeq: ['error', 'always'],
    },
  },
  // Plain Node scripts have Node's globals.
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', Buffer: 'readonly', URL: 'readonly' },
    },
  },
  // Scripts of the pages a kit serves run in a browser.
  {
    files: ['templates/**/*.js'],
    languageOptions: {
      globals: Object.fromEntries(
        [
          'atob',
          'btoa',
          'crypto',
          'document',
          'setTimeout',
          'TextEncoder',
          'fetch',
          'history',
          'localStorage',
          'location',
          'navigator',
          'window',
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
);
