// Adds up vitest's JSON reports: prints "N passed, N failed[, N skipped]" alone on the last line.
// usage: node bin/test-sum.js <folder> <project>...   Reads <folder>/<project>.json and <project>.status.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, ...projects] = process.argv.slice(2);
let [passed, failed, skipped] = [0, 0, 0];
const notes = [];
for (const project of projects) {
  const path = join(folder, `${project}.json`);
  if (!existsSync(path)) {
    // vitest ended before it could report.
    failed += 1;
    notes.push(`${project}: no report`);
    continue;
  }
  const report = JSON.parse(readFileSync(path, 'utf8'));
  let own = 0;
  for (const file of report.testResults) {
    const tests = file.assertionResults;
    const bad = tests.filter((test) => test.status === 'failed');
    for (const test of bad) notes.push(`${project}: ${test.fullName}`);
    own += bad.length;
    passed += tests.filter((test) => test.status === 'passed').length;
    skipped += tests.filter((test) => !['passed', 'failed'].includes(test.status)).length;
    // A file that broke before or around its tests.
    if (file.status === 'failed' && bad.length === 0) {
      own += 1;
      notes.push(`${project}: ${file.name}: ${String(file.message).split('\n')[0]}`);
    }
  }
  // An unhandled error makes vitest fail without a failed test.
  if (own === 0 && existsSync(join(folder, `${project}.status`))) {
    own = 1;
    notes.push(
      `${project}: vitest ended with code ${readFileSync(join(folder, `${project}.status`), 'utf8').trim()}`,
    );
  }
  failed += own;
}
for (const note of notes) console.error(`FAILED ${note}`);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
