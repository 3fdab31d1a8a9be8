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
      description: 'The header that carries it; no client can send one of this name.'
    }),
    key: File({
      description: 'The private key that signs, as PEM: RSA of 2048 bits or more, P-256, P-384 or Ed25519.'
    }),
    ttl: Duration({ positive: true, default: '60s', description: 'How long it is good for.' }),
    audience: Type.Optional(Type.String({ description: 'Whom it is for; by default nobody is named.' }))
  },
  {
    additionalProperties: false,
    description: 'Tells upstreams who calls in a signed JWT, which they verify with the keys at /-/jwks.json.'
  }
)

export type AssertionOptions = Static<typeof assertion>

/** Tells what is wrong with the key. */
export function assertionFaults({ key, ttl }: AssertionOptions): OptionFault[] {
  const found: OptionFault[] = []
  if (duration(ttl) < 1000)
    found.push({ path: ['ttl'], message: `"${ttl}" is too short; a JWT counts in whole seconds` })
  try {
    algorithmOf(createPrivateKey(readFileSync(key)))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    found.push({
      path: ['key'],
      message:
        error instanceof UnfitKey
          ? message
          : code === 'ENOENT' || code === 'EACCES' || code === 'EISDIR'
            ? unreadable(key, error)
            : `The file ${key} is no private key in PEM; "openssl genpkey -algorithm ed25519" makes one`
    })
  }
  return found
}

class UnfitKey extends Error {}

function algorithmOf(key: KeyObject): string {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'ed25519') return 'EdDSA'
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return 'RS256'
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (type === 'ec' && details?.namedCurve === 'secp384r1') return 'ES384'
  throw new UnfitKey(
    `A key of the kind ${type} will not do; RSA of 2048 bits or more, P-256, P-384 or Ed25519 would`
  )
}

// How many callers are remembered with what was signed for them.
const MOST = 10_000

/** Signs who calls. */
export interface Signer {
  readonly header: string
  /** Its public key, as verifiers want it. */
  readonly jwk: Promise<JWK>
  /** Signs for a caller; what was signed is used again for half of its time. */
  sign(caller: Caller): string | Promise<string>
}

/** Makes what signs for one key; `issuer` is whom the token comes from. */
export function makeSigner({ header, key: file, ttl, audience }: AssertionOptions, issuer: string): Signer {
  const key = createPrivateKey(readFileSync(file))
  const alg = algorithmOf(key)
  const seconds = Math.floor(duration(ttl) / 1000)
  const jwk = (async (): Promise<JWK> => {
    const made = await exportJWK(createPublicKey(key))
    return { ...made, alg, use: 'sig', kid: await calculateJwkThumbprint(made) }
  })()
  const signed = new Map<string, { readonly token: string; readonly until: number }>()
  return {
    header: header.toLowerCase(),
    jwk,
    sign(caller) {
      const { id, name, email, roles, scopes, by } = caller
      const told = { sub: id, name, email, roles, scopes, by }
      const who = JSON.stringify(told)
      const known = signed.get(who)
      if (known !== undefined && known.until > monotonic()) return known.token
      return (async () => {
        const { kid } = await jwk
        const jwt = new SignJWT({ name, email, roles, scopes, by })
          .setProtectedHeader({ alg, kid: kid ?? '', typ: 'JWT' })
          .setSubject(id)
          .setIssuer(issuer)
          .setIssuedAt()
          .setExpirationTime(`${seconds}s`)
        const token = await (audience === undefined ? jwt : jwt.setAudience(audience)).sign(key)
        signed.delete(who)
        if (signed.size >= MOST) signed.delete(signed.keys().next().value as string)
        signed.set(who, { token, until: monotonic() + seconds * 500 })
        return token
      })()
    }
  }
}
