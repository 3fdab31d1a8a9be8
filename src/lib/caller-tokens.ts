import { strategiesIn } from './caller.ts'
import { isObject } from './schema.ts'

/** A token of a caller's session at an OpenID Connect provider: a credential, which only request headers may have. */
export type CallerToken = 'accessToken' | 'idToken'

/** Returns whether a name is that of a token. */
export const isCallerToken = (name: string): name is CallerToken =>
  name === 'accessToken' || name === 'idToken'

/** Returns whether `auth` accepts sessions of an OpenID Connect provider, whose callers have tokens. */
export function acceptsProviderSession(auth: unknown): boolean {
  if (!isObject(auth)) return false
  const { oidc, session, by } = auth as { oidc?: unknown; session?: unknown; by?: readonly string[] }
  return oidc !== undefined && session === true && (by === undefined || strategiesIn(by).includes('session'))
}
