/**
 * Content-Security-Policies (CSP level 3) of the pages here. Whatever a message holds, a browser then asks nobody but the kit.
 */

/** SHA-256 of the list of imports in index.html, and of the script in Hydrogen's own download-sandbox.html. */
export const IMPORTS_HASH = 'sha256-4f9A0+3p7pEJKK39dHoNRmUyFFTy84rJ6bqPGnG2BGs=';
export const SANDBOX_HASH = 'sha256-WBXxGXLetOyzS6ThAYb2DFfGZqkW1OxfcQCCUtZQots=';

export interface Sources {
  /** Addresses scripts may speak to, besides the page's own. */
  readonly connect: readonly string[];
  /** Further sources of scripts, e.g. a hash. */
  readonly scripts?: readonly string[];
  /** Styles inside the HTML, pictures and sound from memory, WebAssembly, workers: what a chat client needs. */
  readonly client?: boolean;
  /** May stand in a frame of the same site. */
  readonly framed?: boolean;
}

/** The value of the header. */
export function policy({ connect, scripts = [], client = false, framed = false }: Sources): string {
  const quoted = scripts.map((one) => `'${one}'`);
  const rules: readonly (readonly string[])[] = [
    ['default-src', "'self'"],
    ['script-src', "'self'", ...(client ? ["'wasm-unsafe-eval'"] : []), ...quoted],
    ['style-src', "'self'", ...(client ? ["'unsafe-inline'"] : [])],
    ['img-src', "'self'", ...(client ? ['blob:', 'data:', ...connect] : [])],
    ['media-src', "'self'", ...(client ? ['blob:', 'data:', ...connect] : [])],
    ['connect-src', "'self'", ...(client ? ['blob:'] : []), ...connect],
    ...(client
      ? [['worker-src', "'self'", 'blob:'] as const, ['frame-src', "'self'", 'blob:'] as const]
      : []),
    ['object-src', "'none'"],
    ['base-uri', "'none'"],
    ['form-action', "'self'"],
    ['frame-ancestors', framed ? "'self'" : "'none'"],
  ];
  return rules.map((rule) => rule.join(' ')).join('; ');
}
