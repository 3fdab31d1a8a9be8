import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { wall } from '../lib/clock.ts'
import type { AcceptedIssuer } from '../lib/contracts/simulation.ts'
import { getOrCreate } from '../lib/memoize.ts'
import type { WrittenRequest } from '../simulation/request-bytes.ts'
import { type Callers, callerNamed } from './callers.ts'
import type { TestStep } from './schema.ts'

const LIFETIME_SECONDS = 3600

interface KeyPair {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly jwk: object
}

// Made at first use: an RSA key takes 100 ms.
const keyPairs = new Map<string, Promise<KeyPair>>()

/** Returns the key set with the public keys of all test keys made so far. */
export async function testKeySet(): Promise<string> {
  const pairs = await Promise.all([...keyPairs.values()])
  return JSON.stringify({ keys: pairs.map(({ jwk }) => jwk) })
}

const keyPairFor = (algorithm: string): Promise<KeyPair> =>
  getOrCreate(keyPairs, algorithm, async () => {
    const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
    const kid = `test-${algorithm}`
    return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' } }
  })

/** Whose tokens are accepted, and who calls. */
interface SigningContext {
  readonly callers: Callers
  readonly issuers: readonly AcceptedIssuer[]
}

/** Adds a token for a caller of a file of tests to a request, where the config reads it; throws an Error that says why it can't. */
export async function signRequest<R extends Pick<WrittenRequest, 'url' | 'headers'>>(
  request: R,
  sign: NonNullable<TestStep['sign']>,
  { callers, issuers }: SigningContext
): Promise<R> {
  const { caller: name, claims, from } = typeof sign === 'string' ? { caller: sign } : sign
  const caller = callerNamed(callers, name, '')
  const accepted = issuers.find(({ issuer }) => issuer === caller.issuer) ?? issuers[0]
  if (accepted === undefined) throw new Error('"sign": no route of the config accepts tokens')
  const all: Record<string, unknown> = {
    iss: caller.issuer ?? accepted.issuer,
    aud: audienceOf(accepted, issuers),
    sub: caller.id,
    name: caller.name,
    email: caller.email,
    [accepted.rolesClaim]: caller.roles,
    [accepted.scopesClaim]: caller.scopes.join(' '),
    iat: Math.floor(wall() / 1000),
    exp: Math.floor(wall() / 1000) + LIFETIME_SECONDS,
    ...caller.claims,
    ...claims
  }
  const payload = Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== undefined && value !== null)
  )
  const token = await sealed(payload, accepted)
  return withToken(request, from ?? placeIn(accepted), token)
}

/** Returns where a token is sent: in the first header that it is read from, else in the first parameter. */
const placeIn = ({ from }: AcceptedIssuer): string =>
  from.find((place) => place.startsWith('header:')) ?? from[0] ?? 'header:authorization'

function withToken<R extends Pick<WrittenRequest, 'url' | 'headers'>>(
  request: R,
  place: string,
  token: string
): R {
  const { url, headers } = request
  const name = place.slice(place.indexOf(':') + 1)
  if (place.startsWith('query:'))
    return { ...request, url: `${url}${url.includes('?') ? '&' : '?'}${encodeURIComponent(name)}=${token}` }
  const value = name.toLowerCase() === 'authorization' ? `Bearer ${token}` : token
  return { ...request, headers: [...headers, [name.toLowerCase(), value] as const] }
}

/** Returns the audience of an issuer's tokens; where its routes have several, all of them. */
function audienceOf(
  { issuer }: AcceptedIssuer,
  issuers: readonly AcceptedIssuer[]
): string | string[] | undefined {
  const own = issuers.filter((other) => other.issuer === issuer).flatMap(({ audience }) => audience ?? [])
  const [first, ...others] = new Set(own)
  return first === undefined || others.length === 0 ? first : [first, ...others]
}

async function sealed(
  payload: Readonly<Record<string, unknown>>,
  { keys, algorithms }: AcceptedIssuer
): Promise<string> {
  // Elliptic keys are made a hundred times faster than those of RSA.
  const alg = algorithms.find((each) => each.startsWith('E')) ?? algorithms[0] ?? 'RS256'
  if (typeof keys === 'object')
    return new SignJWT(payload).setProtectedHeader({ alg }).sign(Buffer.from(keys.secret))
  const { kid, privateKey } = await keyPairFor(alg)
  return new SignJWT(payload).setProtectedHeader({ alg, kid }).sign(privateKey)
}
