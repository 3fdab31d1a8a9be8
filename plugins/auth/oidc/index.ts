import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Provided, publicOrigin } from '../../../src/lib/caller.ts'
import { wall } from '../../../src/lib/clock.ts'
import { cookiesIn } from '../../../src/lib/http/cookies.ts'
import { isObject } from '../../../src/lib/schema.ts'
import { queryOf, queryValue } from '../../../src/lib/values.ts'
import {
  commonPath,
  cookieOf,
  isBoundTo,
  journeyOf,
  namesIn,
  newSecret,
  PATIENCE,
  readState,
  writeState
} from './begun.ts'
import { LoginRefused, LogoutTokenWrong, Provider } from './provider.ts'

export { type OidcOptions, oidc, oidcFaults, oidcWarnings } from './options.ts'
export { Provider }

/** A log-in that has succeeded. */
export interface Finished {
  readonly provided: Provided
  readonly returnTo: string
  /** The secrets of other log-ins that the browser had begun, whose cookies are gone now. */
  readonly begun: readonly string[]
}

/** Log-ins at a provider, as the standing routes use them. */
export interface Oidc {
  readonly issuer: string
  /** Begins a log-in, leaves a cookie that binds it to the browser, and returns where to send that. */
  begin(request: FastifyRequest, reply: FastifyReply, returnTo: string): Promise<string>
  /** Ends a log-in that began here; throws SP_ERR_AUTH_OIDC_REFUSED or SP_ERR_AUTH_UNAVAILABLE. */
  finish(request: FastifyRequest, reply: FastifyReply): Promise<Finished>
  /** Reads where a log-in is to end, whether it succeeds or not; "/" where that is not known. */
  returnTo(request: FastifyRequest): Promise<string>
  /** Finds where to log out at the provider; undefined where it has no such place. */
  logoutUrl(request: FastifyRequest, provided: Provided): Promise<string | undefined>
  /** Takes a back-channel logout token; tells how many sessions it ended. */
  takeLogout(request: FastifyRequest): Promise<number>
  /** Renews a session whose tokens are over; null where the provider has ended it. */
  refreshIfDue(request: FastifyRequest, reply: FastifyReply, provided: Provided): Promise<Provided | null>
}

// How many log-ins a browser may have under way: the oldest is given up for one more.
const MOST = 10

/** Makes the log-ins at a provider from what it can do and where sessions are. */
export function makeOidc(app: FastifyInstance, provider: Provider): Oidc {
  const { sessions } = app
  if (sessions === null) throw new Error('a log-in at a provider needs sessions')
  const { routes, cookie } = sessions
  // After a reload the discovery document is read again.
  provider.outdate()
  const attributes = { ...cookie, path: commonPath(routes.login, routes.callback), sameSite: 'lax' } as const
  const stateOf = (request: FastifyRequest): string => queryValue(request.raw.url ?? '', 'state') ?? ''
  /** Finds the secrets that a log-in may be bound to: in its cookie, else in the session that a log-in of another tab began. */
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
      const url = await provider.begin(journeyOf(secret, state, publicOrigin(request) + routes.callback))
      const names = namesIn(request)
      for (const name of names.slice(0, Math.max(0, names.length - MOST + 1)))
        reply.clearCookie(name, attributes)
      reply.setCookie(cookieOf(state), secret, { ...attributes, maxAge: PATIENCE })
      return url
    },
    async finish(request, reply) {
      const given = stateOf(request)
      const state = await readState(sessions, given)
      const name = cookieOf(given)
      const secrets = state === undefined || state.isOver ? [] : await secretsOf(request, reply, name)
      const secret = state === undefined ? undefined : secrets.find((each) => isBoundTo(each, state))
      if (state === undefined || secret === undefined) throw new LoginRefused()
      reply.clearCookie(name, attributes)
      const journey = journeyOf(secret, given, publicOrigin(request) + routes.callback)
      const provided = await provider.finish(journey, queryOf(request.raw.url ?? ''))
      const others = namesIn(request).filter((each) => each !== name)
      for (const each of others) reply.clearCookie(each, attributes)
      const begun = [
        ...others.flatMap((each) => cookiesIn(request.headers.cookie, each)),
        ...secrets.filter((each) => each !== secret)
      ]
      return {
        provided,
        returnTo: state.returnTo,
        begun: begun.filter((each) => /^[\w-]{43}$/.test(each)).slice(-MOST)
      }
    },
    async returnTo(request) {
      return (await readState(sessions, stateOf(request)))?.returnTo ?? '/'
    },
    logoutUrl: (request, provided) => provider.logoutUrl(provided, `${publicOrigin(request)}/`),
    async takeLogout({ body }) {
      const token = isObject(body) ? body['logout_token'] : undefined
      if (typeof token !== 'string') throw new LogoutTokenWrong()
      const { by, jti } = await provider.readLogout(token)
      try {
        return await sessions.endProvided(provider.issuer, by)
      } catch (error) {
        provider.forget(jti)
        throw error
      }
    },
    async refreshIfDue(request, reply, provided) {
      if (provided.renewAt === undefined || provided.renewAt > wall()) return provided
      const outcome = await provider.renew(provided, {
        read: () => sessions.readProvided(request),
        write: (renewed) => sessions.updateProvided(request, renewed)
      })
      if (outcome === 'gone') return null
      if (outcome === 'ended') {
        await sessions.end(request, reply)
        return null
      }
      // While the provider does not answer, a caller who was let in stays so until the session ends by itself.
      if (outcome === undefined) return provided
      request.session.provided = outcome
      return outcome
    }
  }
}
