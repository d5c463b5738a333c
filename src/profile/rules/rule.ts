import type { Diagnostic } from '../../diagnostics/diagnostic.js';
import type { Site } from '../../services/contract.js';
import type { Written } from '../written.js';

/**
 * Something a schema cannot say. `written` is what the person wrote; `site` has every default filled in, and a
 * default also where the written value cannot be read. Pure.
 */
export type Rule = (written: Written, site: Site) => readonly Diagnostic[];
