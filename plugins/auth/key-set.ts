import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { createLocalJWKSet, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from 'jose'
import { isObject } from '../../src/lib/schema.ts'

// Bits of an RSA key (RFC 7518 section 3.3).
const LEAST_RSA = 2048

/** Tells why a key can't verify signatures; undefined where it can. */
export function keyFault(jwk: unknown): string | undefined {
  if (!isObject(jwk)) return 'is no object'
  if (jwk['kty'] === 'oct') return 'is a shared secret; say it as "secret", from the environment'
  if (jwk['d'] !== undefined)
    return 'is a private one; leave it with who makes the tokens, and take its public part'
  try {
    const { asymmetricKeyDetails } = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const bits = asymmetricKeyDetails?.modulusLength ?? LEAST_RSA
    return bits < LEAST_RSA ? `has ${bits} bits; RSA takes ${LEAST_RSA} or more` : undefined
  } catch {
    return 'is one that nobody can use'
  }
}

/** The keys of a set that can verify signatures. */
export interface KeySet {
  readonly find: JWTVerifyGetKey
  /** The keys that can be used. */
  readonly usable: number
  /** The keys that were left out: weak, unreadable, secret or of a kind that nobody here knows. */
  readonly leftOut: number
  /** Tells whether the set has a key of this id, usable or not. */
  has(kid: string): boolean
}

/** Reads a JSON Web Key Set; a key that can't be used hides no other. Throws where it is no set. */
export function readKeySet(text: string): KeySet {
  const set: unknown = JSON.parse(text)
  const all = isObject(set) && Array.isArray(set['keys']) ? (set['keys'] as unknown[]) : undefined
  if (all === undefined) throw new TypeError('not a JSON Web Key Set')
  const usable = all.filter((jwk): jwk is JWK => keyFault(jwk) === undefined).map(withoutOldName)
  const ids = new Set(all.map((jwk) => (isObject(jwk) ? jwk['kid'] : undefined)))
  return {
    find: createLocalJWKSet({ keys: usable } satisfies JSONWebKeySet),
    usable: usable.length,
    leftOut: all.length - usable.length,
    has: (kid) => ids.has(kid)
  }
}

/** Takes the name of its algorithm from an Ed25519 key: issuers write "EdDSA" or "Ed25519" for the same one (RFC 9864). */
function withoutOldName(jwk: JWK): JWK {
  const { alg, ...rest } = jwk
  return jwk.kty === 'OKP' && (alg === 'EdDSA' || alg === 'Ed25519') ? rest : jwk
}
