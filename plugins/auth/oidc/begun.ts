import { createHash, randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { wall } from '../../../src/lib/clock.ts'
import { LOGIN_COOKIE } from '../../../src/lib/http/cookies.ts'
import type { LoginState } from './provider.ts'

/** How long a log-in may take, in seconds: people look for their second factor. */
export const PATIENCE = 900

const PURPOSE = 'oidc state'
// A longer return address is kept here instead, since some providers refuse long addresses.
const LONGEST_PLACE = 200

/** What a log-in needs of the sessions: where its state is encrypted, and what keeps long addresses. */
interface Kept {
  readonly seal: {
    encrypt(purpose: string, text: string): string
    decrypt(purpose: string, sealed: string): string | undefined
  }
  readonly addresses: {
    save(text: string, ms: number): Promise<string>
    find(id: string): Promise<string | undefined>
  }
}

/** What the state of a log-in says. */
export interface State {
  readonly returnTo: string
  /** What the secret in the browser's cookie has to hash to. */
  readonly binding: string
  readonly isOver: boolean
}

/** Makes the secret that binds a log-in to one browser. */
export const newSecret = (): string => randomBytes(32).toString('base64url')

const derive = (secret: string, what: string): string =>
  createHash('sha256').update(`${what} ${secret}`).digest('base64url')

/** Derives from the secret what the provider is given and what proves at the end that it is the same log-in. */
export const journeyOf = (secret: string, state: string, redirectUri: string): LoginState => ({
  state,
  nonce: derive(secret, 'nonce'),
  verifier: derive(secret, 'verifier'),
  redirectUri
})

/** Tells whether a secret is the one that a state is bound to. */
export const isBoundTo = (secret: string, { binding }: State): boolean => bindingOf(secret) === binding

const bindingOf = (secret: string): string => derive(secret, 'binding').slice(0, 22)

/** Names the cookie of a log-in: each has one of its own, since several tabs may be at it at once. */
export const cookieOf = (state: string): string => LOGIN_COOKIE + derive(state, 'cookie').slice(0, 12)

/** Writes the state of a log-in, which the provider sends back. */
export async function writeState(
  { seal, addresses }: Kept,
  secret: string,
  returnTo: string
): Promise<string> {
  const place =
    returnTo.length <= LONGEST_PLACE
      ? returnTo
      : await addresses.save(returnTo, PATIENCE * 1000).then(
          (id) => `@${id}`,
          () => '/'
        )
  return seal.encrypt(PURPOSE, [Math.floor(wall() / 1000) + PATIENCE, bindingOf(secret), place].join(' '))
}

/** Reads a state; undefined for one that did not begin here. */
export async function readState({ seal, addresses }: Kept, state: string): Promise<State | undefined> {
  const [ends, binding, place] = seal.decrypt(PURPOSE, state)?.split(' ') ?? []
  if (ends === undefined || binding === undefined || place === undefined) return undefined
  const returnTo = place.startsWith('@') ? await addresses.find(place.slice(1)).catch(() => undefined) : place
  return { returnTo: returnTo ?? '/', binding, isOver: Number(ends) * 1000 <= wall() }
}

/** Lists the names of the cookies of log-ins under way, the oldest first (RFC 6265 section 5.4). */
export function namesIn({ headers }: FastifyRequest): string[] {
  const { cookie = '' } = headers
  if (!cookie.includes(LOGIN_COOKIE)) return []
  const names = cookie.split(';').map((pair) => pair.slice(0, Math.max(0, pair.indexOf('='))).trim())
  return [...new Set(names.filter((name) => name.startsWith(LOGIN_COOKIE)))]
}

/** Finds the longest path that covers two, for a cookie that both are to see; the second one where only "/" does. */
export function commonPath(one: string, other: string): string {
  const a = one.split('/')
  const b = other.split('/')
  let shared = 0
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++
  return shared < 2 ? other : a.slice(0, shared).join('/')
}
