import type { Base, Board } from '../services/contract.js';

/** A profile as a person wrote it, once it fits the schema. */
export interface Written {
  readonly site: {
    readonly name: string;
    readonly title: string;
    readonly domain?: string;
    readonly languages?: readonly string[];
    readonly timezone?: string;
  };
  readonly board: Board;
  readonly memory?: string;
  readonly storage?: string;
  readonly base?: Base;
  readonly mirror?: string;
  readonly people?: number;
  readonly network: {
    readonly mode: 'access-point' | 'lan';
    readonly address?: string;
    readonly wifi?: WrittenWifi;
    readonly dhcp?: boolean | WrittenDhcp;
  };
  readonly admin?: { readonly keys?: readonly string[] };
  readonly backup?: boolean | WrittenBackup;
  readonly federation?: readonly WrittenSister[];
  readonly services?: Readonly<Record<string, boolean | Readonly<Record<string, unknown>>>>;
}

export interface WrittenSister {
  readonly domain: string;
  readonly address: string;
  /** A file, seen from the profile, or PEM text. */
  readonly ca: string;
}

export interface WrittenWifi {
  readonly country: string;
  readonly ssid?: string;
  readonly channel?: number;
  readonly passphrase?: string;
}

export interface WrittenDhcp {
  readonly from?: string;
  readonly to?: string;
  readonly lease?: string;
}

export interface WrittenBackup {
  readonly enabled?: boolean;
  readonly at?: string;
  readonly keep?: { readonly daily?: number; readonly weekly?: number; readonly monthly?: number };
}
