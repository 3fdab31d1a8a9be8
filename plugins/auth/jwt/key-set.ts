import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { createLocalJWKSet, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from 'jose'
import { isObject } from '../../../src/lib/schema.ts'

// RFC 7518 section 3.3.
const MIN_RSA_BITS = 2048

/** Returns why a key cannot verify signatures; undefined if it can. */
export function jwkFault(jwk: unknown): string | undefined {
  if (!isObject(jwk)) return 'is not an object'
  if (jwk['kty'] === 'oct') return 'is a shared secret; use "secret" for it, from the environment'
  if (jwk['d'] !== undefined) return 'is a private key; use its public part'
  try {
    const { asymmetricKeyDetails } = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const bits = asymmetricKeyDetails?.modulusLength ?? MIN_RSA_BITS
    return bits < MIN_RSA_BITS
      ? `has ${bits} bits; expected an RSA key of ${MIN_RSA_BITS} or more`
      : undefined
  } catch {
    return 'is invalid or of an unsupported type'
  }
}

/** The keys of a set that can verify signatures. */
export interface KeySet {
  readonly find: JWTVerifyGetKey
  /** The number of usable keys. */
  readonly usable: number
  /** The number of ignored keys: weak, unreadable, private, secret or of an unsupported type. */
  readonly ignored: number
  /** Returns whether the set has a key of this id, usable or not. */
  has(kid: string): boolean
}

/** Reads a JSON Web Key Set; unusable keys are ignored. Throws if the text is not one. */
export function readKeySet(text: string): KeySet {
  const set: unknown = JSON.parse(text)
  const all = isObject(set) && Array.isArray(set['keys']) ? (set['keys'] as unknown[]) : undefined
  if (all === undefined) throw new TypeError('not a JSON Web Key Set')
  const usable = all.filter((jwk): jwk is JWK => jwkFault(jwk) === undefined).map(withoutEd25519Name)
  const ids = new Set(all.map((jwk) => (isObject(jwk) ? jwk['kid'] : undefined)))
  return {
    find: createLocalJWKSet({ keys: usable } satisfies JSONWebKeySet),
    usable: usable.length,
    ignored: all.length - usable.length,
    has: (kid) => ids.has(kid)
  }
}

/** Removes `alg` from an Ed25519 key, so that it verifies tokens of either name, "EdDSA" or "Ed25519" (RFC 9864). */
function withoutEd25519Name(jwk: JWK): JWK {
  const { alg, ...rest } = jwk
  return jwk.kty === 'OKP' && (alg === 'EdDSA' || alg === 'Ed25519') ? rest : jwk
}
