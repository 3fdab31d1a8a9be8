import { createHash, randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { wall } from '../../../src/lib/clock.ts'
import { LOGIN_COOKIE } from '../../../src/lib/http/cookies.ts'
import type { AuthorizationFlow } from './provider.ts'

/** The lifetime of a log-in; entering a second factor takes people a while. */
export const LOGIN_TTL_SECONDS = 900

const PURPOSE = 'oidc state'
// A longer return address is stored in the gateway, since some providers refuse long URLs.
const MAX_RETURN_TO_LENGTH = 200

/** What a log-in needs of the sessions: encryption, and a store for long return addresses. */
interface StateStore {
  readonly seal: {
    encrypt(purpose: string, text: string): string
    decrypt(purpose: string, sealed: string): string | undefined
  }
  readonly addresses: {
    save(text: string, ms: number): Promise<string>
    find(id: string): Promise<string | undefined>
  }
}

/** The state of a log-in, which the provider returns. */
export interface LoginState {
  readonly returnTo: string
  /** The hash of the secret in the browser's cookie. */
  readonly binding: string
  readonly isExpired: boolean
}

/** Generates the secret that binds a log-in to one browser. */
export const newSecret = (): string => randomBytes(32).toString('base64url')

const derive = (secret: string, purpose: string): string =>
  createHash('sha256').update(`${purpose} ${secret}`).digest('base64url')

/** Derives the nonce and the PKCE verifier of a log-in from its secret. */
export const flowOf = (secret: string, state: string, redirectUri: string): AuthorizationFlow => ({
  state,
  nonce: derive(secret, 'nonce'),
  verifier: derive(secret, 'verifier'),
  redirectUri
})

/** Returns whether a state is bound to a secret. */
export const isBoundTo = (secret: string, { binding }: LoginState): boolean => bindingOf(secret) === binding

const bindingOf = (secret: string): string => derive(secret, 'binding').slice(0, 22)

/** Returns the name of a log-in's cookie: one per log-in, since several tabs may log in at once. */
export const cookieOf = (state: string): string => LOGIN_COOKIE + derive(state, 'cookie').slice(0, 12)

/** Encrypts the state of a log-in. */
export async function writeState(
  { seal, addresses }: StateStore,
  secret: string,
  returnTo: string
): Promise<string> {
  const address =
    returnTo.length <= MAX_RETURN_TO_LENGTH
      ? returnTo
      : await addresses.save(returnTo, LOGIN_TTL_SECONDS * 1000).then(
          (id) => `@${id}`,
          () => '/'
        )
  return seal.encrypt(
    PURPOSE,
    [Math.floor(wall() / 1000) + LOGIN_TTL_SECONDS, bindingOf(secret), address].join(' ')
  )
}

/** Decrypts a state; undefined if this gateway did not make it. */
export async function readState(
  { seal, addresses }: StateStore,
  state: string
): Promise<LoginState | undefined> {
  const [expiresAt, binding, address] = seal.decrypt(PURPOSE, state)?.split(' ') ?? []
  if (expiresAt === undefined || binding === undefined || address === undefined) return undefined
  const returnTo = address.startsWith('@')
    ? await addresses.find(address.slice(1)).catch(() => undefined)
    : address
  return { returnTo: returnTo ?? '/', binding, isExpired: Number(expiresAt) * 1000 <= wall() }
}

/** Lists the names of the log-in cookies of a request, the oldest first (RFC 6265 section 5.4). */
export function cookieNamesIn({ headers }: FastifyRequest): string[] {
  const { cookie = '' } = headers
  if (!cookie.includes(LOGIN_COOKIE)) return []
  const names = cookie.split(';').map((pair) => pair.slice(0, Math.max(0, pair.indexOf('='))).trim())
  return [...new Set(names.filter((name) => name.startsWith(LOGIN_COOKIE)))]
}

/** Returns the longest common parent of two paths, for a cookie that both receive; the second path if that is "/". */
export function commonPath(one: string, other: string): string {
  const a = one.split('/')
  const b = other.split('/')
  let shared = 0
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++
  return shared < 2 ? other : a.slice(0, shared).join('/')
}
