import cookie, { Signer } from '@fastify/cookie'
import session from '@fastify/session'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fp } from '../../src/kit/index.ts'
import { captureHooks } from '../../src/lib/capture-hooks.ts'
import { wall } from '../../src/lib/clock.ts'
import { cookiesIn } from '../../src/lib/http/cookies.ts'
import { duration } from '../../src/lib/units.ts'
import type { SessionOptions } from './options.ts'
import { ReturnAddresses } from './return-addresses.ts'
import { makeSeal } from './seal.ts'
import type { Sessions } from './sessions.ts'
import { providerSessionIndex, type SessionStore, userIndex } from './store.ts'
import { MemorySessions } from './stores/memory.ts'
import { RedisSessions } from './stores/redis.ts'
import { WorkerSessions } from './stores/workers.ts'

export { comparison } from './compare.ts'
export { always, faults, given, options, override, type SessionOptions, variables } from './options.ts'
export type { Sessions } from './sessions.ts'
export type { ListedSession, SessionData } from './store.ts'

export const key = 'session'

// Its own cookie is never forwarded.
export const requestHeaders = (): string[] => ['cookie']
export const rootOnly = true
export const usesStore = true
// Only auth reads and writes sessions.
export const stateless = true

export default fp<SessionOptions>(
  async function sessionConcern(app, root) {
    if (root.secrets === undefined) {
      app.decorate('sessions', null)
      app.decorate('sessionCookie', null)
      return
    }
    const isHttps = app.tls !== null || app.publicUrl?.startsWith('https://') === true
    const name = root.cookie.name ?? (isHttps ? '__Host-sid' : 'sid')
    app.decorate('sessionCookie', name)
    const store = leaseStore(app)
    store.setTimeouts(duration(root.idle), duration(root.absolute))
    // With an https publicUrl browsers use TLS, even if the proxy in front does not say so.
    const secure = isHttps || ('auto' as const)
    const attributes = { path: '/', httpOnly: true, sameSite: root.cookie.sameSite, secure } as const
    const signer = new Signer([...root.secrets], 'sha256')
    const read = await makeReader(app, { name, signer, store })
    /** Lists the signed session ids in the cookies of a request. */
    const signedIds = ({ headers }: FastifyRequest): string[] =>
      cookiesIn(headers.cookie, name).flatMap((signed) => signer.unsign(signed).value ?? [])
    app.decorate('sessions', {
      routes: root.routes,
      seal: makeSeal(root.secrets),
      addresses: leaseReturnAddresses(app),
      cookie: { httpOnly: true, secure, sameSite: root.cookie.sameSite },
      async load(request, reply) {
        if (request.headers.cookie === undefined || !request.headers.cookie.includes(name)) return null
        try {
          await read(request, reply)
        } catch (error) {
          // A session that cannot be read authenticates no caller.
          if ((error as { code?: string }).code === 'SP_ERR_STORE_UNAVAILABLE') return null
          throw error
        }
        const { user, created, provided, begun } = request.session
        if (user === undefined || created === undefined) return null
        return {
          user,
          created,
          ...(provided === undefined ? {} : { provided }),
          ...(begun === undefined ? {} : { begun })
        }
      },
      read,
      async start(request, reply, data) {
        await read(request, reply)
        await request.session.regenerate()
        Object.assign(request.session, { created: wall() }, data)
        await request.session.save()
        reply.setCookie(name, request.session.encryptedSessionId, attributes)
      },
      async readProvided({ session: { sessionId } }) {
        return (await store.peek(sessionId))?.provided
      },
      updateProvided({ session }, provided) {
        session.provided = provided
        return store.update(session.sessionId, session)
      },
      async end(request, reply) {
        await read(request, reply)
        await request.session.destroy()
        reply.clearCookie(name, attributes)
      },
      async endLater(request, reply, { everywhere }) {
        const ids = signedIds(request).slice(0, MAX_COOKIES)
        for (const id of ids) await store.endLater(id, { everywhere })
        reply.clearCookie(name, attributes)
        return ids.length > 0
      },
      onEnd: ({ session: { sessionId } }, end) => store.onEnd(sessionId, end),
      setUserCheck: (isKnownUser) => store.setUserCheck(isKnownUser),
      async listOwn(request) {
        const current = store.publicId(request.session.sessionId)
        const listed = await store.list(ownIndex(request))
        return listed.map((one) => ({ ...one, current: one.id === current }))
      },
      endOwn: (request, only) => store.end(ownIndex(request), only),
      async endProvided(issuer, by) {
        const index = 'sid' in by ? providerSessionIndex(issuer, by.sid) : userIndex(`${issuer} ${by.sub}`)
        try {
          return await store.end(index)
        } catch (error) {
          await store.endIndexLater(index)
          throw error
        }
      }
    } satisfies Sessions)
  },
  { name: key, fastify: '5.x', dependencies: ['store'] }
)

/** Leases the session store: Redis if gateways share one, else memory, replicated among workers. A reload keeps it. */
function leaseStore(app: FastifyInstance): SessionStore {
  const { shared } = app.store
  const { peers } = app.resources
  return app.resources.lease<SessionStore>(
    app,
    shared === null ? key : `${key} ${shared.id}`,
    () =>
      shared !== null
        ? new RedisSessions(shared, peers)
        : peers !== null
          ? new WorkerSessions(peers)
          : new MemorySessions(),
    (store) => store.close()
  )
}

function leaseReturnAddresses(app: FastifyInstance): ReturnAddresses {
  const { shared } = app.store
  return app.resources.lease(
    app,
    `return addresses ${shared?.id ?? ''}`,
    () => new ReturnAddresses(shared, app.resources.peers),
    (addresses) => addresses.close()
  )
}

// Each cookie of the session's name may cost a request to the store.
const MAX_COOKIES = 4

type Hook = (
  this: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error | null) => void
) => void

/** Registers @fastify/session and returns a function that reads a request's session with it. */
async function makeReader(
  app: FastifyInstance,
  { name, signer, store }: { name: string; signer: Signer; store: SessionStore }
): Promise<Sessions['read']> {
  // Without its hook @fastify/cookie does not parse the cookies of every request.
  await app.register(cookie, { hook: false })
  // The hooks of @fastify/session are captured, not installed. Its onRequest hook would load a session for every request;
  // its onSend hook, which saves, turns "strict" into "lax" over plain HTTP and sends no cookie behind a TLS proxy.
  const hooks = await captureHooks(app, session, {
    secret: signer,
    cookieName: name,
    rolling: false,
    saveUninitialized: false,
    store
  })
  const load = hooks['onRequest']?.[0] as unknown as Hook

  return async (request, reply) => {
    if (request.session !== null && request.session !== undefined) return
    const all = cookiesIn(request.headers.cookie, name)
    // Another application of the domain, or an older config, may have set a cookie of the same name.
    const signed =
      all.length < 2 ? all : all.filter((each) => signer.unsign(each).valid).slice(0, MAX_COOKIES)
    if (signed.length === 0) await readCookie(request, reply)
    for (const each of signed) {
      await readCookie(request, reply, each)
      if (hasUser(request)) return
    }
  }

  async function readCookie(request: FastifyRequest, reply: FastifyReply, signed?: string): Promise<void> {
    ;(request as { cookies: unknown }).cookies = { [name]: signed }
    try {
      await new Promise<void>((resolve, reject) =>
        load.call(app, request, reply, (error?: Error | null) => (error ? reject(error) : resolve()))
      )
    } catch (error) {
      ;(request as { session: unknown }).session = null
      throw error
    }
  }
}

const hasUser = ({ session: { user } }: FastifyRequest): boolean => user !== undefined

/** Returns the index entry of the request's user. */
const ownIndex = ({ session: { user = '', provided } }: FastifyRequest): string =>
  userIndex(provided === undefined ? user : `${provided.issuer} ${provided.sub}`)
