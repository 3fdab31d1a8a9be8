import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isObject, type Provided, queryOf, queryValue } from '../../../src/kit/index.ts'
import { type Journey, LoginRefused, LogoutTokenWrong, Provider } from './provider.ts'

export { type OidcOptions, oidc, oidcFaults } from './options.ts'
export { Provider }

/** Log-ins at a provider, as the standing routes use them. */
export interface Oidc {
  readonly issuer: string
  /** Begins a log-in and leaves a cookie that only its end can read; tells where to send the browser. */
  begin(request: FastifyRequest, reply: FastifyReply, returnTo: string): Promise<string>
  /** Ends a log-in that began here: who came, and where to. */
  finish(request: FastifyRequest, reply: FastifyReply): Promise<{ provided: Provided; returnTo: string }>
  /** Finds where to log out at the provider; undefined where it has no such place. */
  logoutUrl(request: FastifyRequest, provided: Provided): Promise<string | undefined>
  /** Takes a back-channel logout token; tells how many sessions it ended. */
  takeLogout(request: FastifyRequest): Promise<number>
  /** Renews a session whose tokens are over; null where the provider has ended it. */
  fresh(request: FastifyRequest, reply: FastifyReply, provided: Provided): Promise<Provided | null>
}

// A log-in may take as long as this, in seconds: people look for their second factor.
const PATIENCE = 900
const PURPOSE = 'oidc'

/** Makes the log-ins at a provider from what it can do and where sessions are. */
export function makeOidc(app: FastifyInstance, provider: Provider): Oidc {
  const { sessions } = app
  if (sessions === null) throw new Error('a log-in at a provider needs sessions')
  const { routes, cookie } = sessions
  const ours = (request: FastifyRequest): string => app.publicUrl ?? `${request.protocol}://${request.host}`
  // Each log-in has a cookie of its own: two tabs may be at it at once.
  const cookieOf = (state: string): string => `sallyport-login-${state.slice(0, 12)}`
  const attributes = { ...cookie, path: routes.callback, sameSite: 'lax' } as const
  return {
    issuer: provider.issuer,
    async begin(request, reply, returnTo) {
      const { url, journey } = await provider.begin(ours(request) + routes.callback, returnTo)
      reply.setCookie(cookieOf(journey.state), await sessions.seal.close(PURPOSE, journey, PATIENCE), {
        ...attributes,
        maxAge: PATIENCE
      })
      return url
    },
    async finish(request, reply) {
      const state = queryValue(request.raw.url ?? '', 'state') ?? ''
      const name = cookieOf(state)
      const sealed = /^[\w-]{12,}$/.test(state)
        ? app.parseCookie(request.headers.cookie ?? '')[name]
        : undefined
      const journey = sealed === undefined ? undefined : await sessions.seal.open(PURPOSE, sealed)
      if (journey?.['state'] !== state) throw new LoginRefused()
      reply.clearCookie(name, attributes)
      const begun = journey as unknown as Journey
      const provided = await provider.finish(begun, queryOf(request.raw.url ?? ''))
      return { provided, returnTo: begun.returnTo }
    },
    logoutUrl: (request, provided) => provider.logoutUrl(provided, `${ours(request)}/`),
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
    async fresh(request, reply, provided) {
      if (provided.renewAt === undefined || provided.renewAt > Date.now()) return provided
      const renewed = await provider.renew(provided)
      if (renewed === 'ended') {
        await sessions.end(request, reply)
        return null
      }
      // Its provider does not answer: who was let in stays so until the session ends by itself.
      if (renewed === undefined) return provided
      // Somebody may have ended it while the provider was asked.
      return (await sessions.renew(request, renewed)) ? renewed : null
    }
  }
}
