import { createRemoteJWKSet, customFetch } from 'jose'
import type { ServerMetadata } from 'openid-client'
import type { ProviderFetch } from '../back-channel.ts'
import { TIMEOUT_SECONDS } from './discovery.ts'
import { KeysUrlMissing } from './errors.ts'

/** The signature algorithms with public keys. */
export const ALGORITHMS: readonly string[] = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519']
]

/** Finds the key of a token. */
export type RemoteKeySet = ReturnType<typeof createRemoteJWKSet>

/** The public keys of a provider, fetched when a token needs them. */
export class ProviderKeys {
  readonly #fetch: ProviderFetch | undefined
  #known: { readonly uri: string; readonly find: RemoteKeySet } | undefined

  /** With `fetch`, an upstream gets the requests. */
  constructor(fetch: ProviderFetch | undefined) {
    this.#fetch = fetch
  }

  /** Returns the function that finds the key of a token; throws if the provider names no URL of keys. */
  of({ jwks_uri: uri = '' }: ServerMetadata): RemoteKeySet {
    if (!URL.canParse(uri)) throw new KeysUrlMissing()
    if (this.#known?.uri !== uri)
      this.#known = {
        uri,
        find: createRemoteJWKSet(new URL(uri), {
          timeoutDuration: TIMEOUT_SECONDS * 1000,
          ...(this.#fetch === undefined ? {} : { [customFetch]: this.#fetch })
        })
      }
    return this.#known.find
  }
}
