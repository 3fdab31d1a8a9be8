import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { calculateJwkThumbprint, exportJWK, type JWK, SignJWT } from 'jose'
import { type OptionFault, Type } from '../../src/kit/index.ts'
import type { Caller } from '../../src/lib/caller.ts'
import { monotonic } from '../../src/lib/clock.ts'
import { HeaderName } from '../../src/lib/http/header-options.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, duration, File } from '../../src/lib/units.ts'
import { unreadable } from '../../src/lib/unreadable.ts'

export const assertion = Type.Object(
  {
    header: Type.Unsafe<string>({
      ...HeaderName,
      default: 'x-caller',
      description: 'The header with the token; the same header from a client is removed.'
    }),
    key: File({
      description: 'The private key that signs, as PEM: RSA of 2048 bits or more, P-256, P-384 or Ed25519.'
    }),
    ttl: Duration({ positive: true, default: '60s', description: 'How long a token is valid.' }),
    audience: Type.Optional(
      Type.String({ description: 'The "aud" of the tokens; by default they have none.' })
    )
  },
  {
    additionalProperties: false,
    description:
      'Tells upstreams who the caller is in a signed JWT, which they verify with the keys at /-/jwks.json.',
    examples: [{ key: 'signing.pem', ttl: '60s' }]
  }
)

export type AssertionOptions = Static<typeof assertion>

/** Lists the errors that the schema cannot express. */
export function assertionFaults({ key, ttl }: AssertionOptions): OptionFault[] {
  const found: OptionFault[] = []
  if (duration(ttl) < 1000)
    found.push({ path: ['ttl'], message: `expected 1s or more, got "${ttl}"; a JWT counts in whole seconds` })
  try {
    algorithmOf(createPrivateKey(readFileSync(key)))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    found.push({
      path: ['key'],
      message:
        error instanceof UnsupportedKey
          ? message
          : code === 'ENOENT' || code === 'EACCES' || code === 'EISDIR'
            ? unreadable(key, error)
            : `expected a private key in PEM in the file ${key}; "openssl genpkey -algorithm ed25519" makes one`
    })
  }
  return found
}

class UnsupportedKey extends Error {}

function algorithmOf(key: KeyObject): string {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'ed25519') return 'EdDSA'
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return 'RS256'
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (type === 'ec' && details?.namedCurve === 'secp384r1') return 'ES384'
  throw new UnsupportedKey(
    `expected a key of type RSA (2048 bits or more), P-256, P-384 or Ed25519, got ${type}`
  )
}

// One token per caller.
const MAX_CACHED = 10_000

/** Signs assertions about callers. */
export interface Signer {
  readonly header: string
  /** The public key, as a JSON Web Key. */
  readonly jwk: Promise<JWK>
  /** Returns the token of a caller; a token is reused for half of its lifetime. */
  sign(caller: Caller): string | Promise<string>
}

/** Makes a signer; `issuer` is the "iss" of its tokens. */
export function makeSigner({ header, key: file, ttl, audience }: AssertionOptions, issuer: string): Signer {
  const key = createPrivateKey(readFileSync(file))
  const alg = algorithmOf(key)
  const seconds = Math.floor(duration(ttl) / 1000)
  const jwk = (async (): Promise<JWK> => {
    const jwk = await exportJWK(createPublicKey(key))
    return { ...jwk, alg, use: 'sig', kid: await calculateJwkThumbprint(jwk) }
  })()
  const tokens = new Map<string, { readonly token: string; readonly reuseUntil: number }>()
  return {
    header: header.toLowerCase(),
    jwk,
    sign(caller) {
      const { id, name, email, roles, scopes, by } = caller
      const cacheKey = JSON.stringify({ sub: id, name, email, roles, scopes, by })
      const cached = tokens.get(cacheKey)
      if (cached !== undefined && cached.reuseUntil > monotonic()) return cached.token
      return (async () => {
        const { kid } = await jwk
        const jwt = new SignJWT({ name, email, roles, scopes, by })
          .setProtectedHeader({ alg, kid: kid ?? '', typ: 'JWT' })
          .setSubject(id)
          .setIssuer(issuer)
          .setIssuedAt()
          .setExpirationTime(`${seconds}s`)
        const token = await (audience === undefined ? jwt : jwt.setAudience(audience)).sign(key)
        tokens.delete(cacheKey)
        if (tokens.size >= MAX_CACHED) tokens.delete(tokens.keys().next().value as string)
        tokens.set(cacheKey, { token, reuseUntil: monotonic() + seconds * 500 })
        return token
      })()
    }
  }
}
