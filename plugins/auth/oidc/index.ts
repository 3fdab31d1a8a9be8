import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Provided, publicOrigin } from '../../../src/lib/caller.ts'
import { wall } from '../../../src/lib/clock.ts'
import { cookiesIn } from '../../../src/lib/http/cookies.ts'
import { queryOf, queryValue } from '../../../src/lib/http/url-parts.ts'
import { isObject } from '../../../src/lib/schema.ts'
import { LoginFailed, LogoutTokenInvalid } from './errors.ts'
import {
  commonPath,
  cookieNamesIn,
  cookieOf,
  flowOf,
  isBoundTo,
  LOGIN_TTL_SECONDS,
  newSecret,
  readState,
  writeState
} from './login-state.ts'
import { Provider } from './provider.ts'
import type { TokenNeeds } from './token-lifetime.ts'

export { Provider, type TokenNeeds }

/** A successful log-in. */
export interface FinishedLogin {
  readonly provided: Provided
  readonly returnTo: string
  /** The secrets of other log-ins of the same browser, whose cookies are cleared. */
  readonly begun: readonly string[]
}

/** Log-ins at a provider, for the built-in routes. */
export interface Oidc {
  readonly issuer: string
  /** Starts a log-in, sets its cookie, and returns the URL to redirect the browser to; throws SP_ERR_AUTH_UNAVAILABLE. */
  begin(request: FastifyRequest, reply: FastifyReply, returnTo: string): Promise<string>
  /** Completes a log-in at the callback; throws SP_ERR_AUTH_OIDC_REFUSED or SP_ERR_AUTH_UNAVAILABLE. */
  finish(request: FastifyRequest, reply: FastifyReply): Promise<FinishedLogin>
  /** Returns the return address in a request's state, whether the log-in succeeds or not; "/" if there is none. */
  returnTo(request: FastifyRequest): Promise<string>
  /** Returns the log-out URL at the provider; undefined if it has none. */
  logoutUrl(request: FastifyRequest, provided: Provided): Promise<string | undefined>
  /** Ends the sessions that a back-channel logout token names; resolves to their number. */
  backChannelLogout(request: FastifyRequest): Promise<number>
  /** Refreshes the tokens of a session if they have expired; null if the session has ended. */
  refreshIfDue(request: FastifyRequest, reply: FastifyReply, provided: Provided): Promise<Provided | null>
}

// Per browser; one more replaces the oldest.
const MAX_CONCURRENT_LOGINS = 10

/** Makes the log-ins at a provider; they need `app.sessions`. */
export function makeOidc(app: FastifyInstance, provider: Provider, needs: TokenNeeds): Oidc {
  const { sessions } = app
  if (sessions === null) throw new Error('expected app.sessions for the log-in at a provider')
  const { routes, cookie } = sessions
  // A reload fetches the discovery document again.
  provider.expireDiscovery()
  provider.setNeeds(needs)
  const attributes = { ...cookie, path: commonPath(routes.login, routes.callback), sameSite: 'lax' } as const
  // A session of before a reload may lack the access token that a route now passes on.
  const isDue = ({ renewAt, accessToken, refreshToken }: Provided): boolean =>
    (renewAt !== undefined && renewAt <= wall()) ||
    (needs.accessToken && accessToken === undefined && refreshToken !== undefined)
  const stateOf = (request: FastifyRequest): string => queryValue(request.raw.url ?? '', 'state') ?? ''
  /** Lists the secrets that a log-in may be bound to: that of its cookie, else those in the session that another tab's log-in started. */
  const secretsOf = async (
    request: FastifyRequest,
    reply: FastifyReply,
    name: string
  ): Promise<readonly string[]> => {
    const own = cookiesIn(request.headers.cookie, name)
    return own.length > 0 ? own : ((await sessions.load(request, reply))?.begun ?? [])
  }
  return {
    issuer: provider.issuer,
    async begin(request, reply, returnTo) {
      const secret = newSecret()
      const state = await writeState(sessions, secret, returnTo)
      const url = await provider.begin(flowOf(secret, state, publicOrigin(request) + routes.callback))
      const names = cookieNamesIn(request)
      for (const name of names.slice(0, Math.max(0, names.length - MAX_CONCURRENT_LOGINS + 1)))
        reply.clearCookie(name, attributes)
      reply.setCookie(cookieOf(state), secret, { ...attributes, maxAge: LOGIN_TTL_SECONDS })
      return url
    },
    async finish(request, reply) {
      const sent = stateOf(request)
      const state = await readState(sessions, sent)
      const name = cookieOf(sent)
      const secrets = state === undefined || state.isExpired ? [] : await secretsOf(request, reply, name)
      const secret = state === undefined ? undefined : secrets.find((each) => isBoundTo(each, state))
      if (state === undefined || secret === undefined) throw new LoginFailed()
      reply.clearCookie(name, attributes)
      const flow = flowOf(secret, sent, publicOrigin(request) + routes.callback)
      const provided = await provider.finish(flow, queryOf(request.raw.url ?? ''))
      const others = cookieNamesIn(request).filter((each) => each !== name)
      for (const each of others) reply.clearCookie(each, attributes)
      const begun = [
        ...others.flatMap((each) => cookiesIn(request.headers.cookie, each)),
        ...secrets.filter((each) => each !== secret)
      ]
      return {
        provided,
        returnTo: state.returnTo,
        begun: begun.filter((each) => /^[\w-]{43}$/.test(each)).slice(-MAX_CONCURRENT_LOGINS)
      }
    },
    async returnTo(request) {
      return (await readState(sessions, stateOf(request)))?.returnTo ?? '/'
    },
    logoutUrl: (request, provided) => provider.logoutUrl(provided, `${publicOrigin(request)}/`),
    async backChannelLogout({ body }) {
      const token = isObject(body) ? body['logout_token'] : undefined
      if (typeof token !== 'string') throw new LogoutTokenInvalid()
      const { by, jti } = await provider.readLogoutToken(token)
      try {
        return await sessions.endProvided(provider.issuer, by)
      } catch (error) {
        provider.allowReplay(jti)
        throw error
      }
    },
    async refreshIfDue(request, reply, provided) {
      if (!isDue(provided)) return provided
      const refreshed = await provider.refresh(provided, {
        read: () => sessions.readProvided(request),
        write: (updated) => sessions.updateProvided(request, updated)
      })
      if (refreshed === 'gone') return null
      if (refreshed === 'ended') {
        await sessions.end(request, reply)
        return null
      }
      // While the provider is unavailable, the session goes on until its own timeouts.
      if (refreshed === undefined) return provided
      request.session.provided = refreshed
      return refreshed
    }
  }
}
