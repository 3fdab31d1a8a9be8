import cookie, { Signer } from '@fastify/cookie'
import session from '@fastify/session'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { fp, type OptionFault, Type, type WordsSaid } from '../../src/kit/index.ts'
import type { Provided } from '../../src/lib/caller.ts'
import { captureHooks } from '../../src/lib/capture-hooks.ts'
import { wall } from '../../src/lib/clock.ts'
import { cookiesIn } from '../../src/lib/http/cookies.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, duration } from '../../src/lib/units.ts'
import { ReturnAddresses } from './return-addresses.ts'
import { makeSeal, type Seal } from './seal.ts'
import {
  type Listed,
  MemorySessions,
  ownedBy,
  PeerSessions,
  type SessionData,
  type SessionStore,
  SharedSessions,
  startedAt
} from './store.ts'

export const key = 'session'

const SECRET_LENGTH = 32
const path = (description: string, fallback: string) =>
  Type.String({ pattern: '^/[^?#\\s]*$', default: fallback, description })

export const options = Type.Object(
  {
    secrets: Type.Optional(
      Type.Array(Type.String(), {
        minItems: 1,
        description:
          'What signs the cookie, 32 characters or more each; the first signs, all are accepted. By default SESSION_SECRET.'
      })
    ),
    cookie: Type.Object(
      {
        name: Type.Optional(
          Type.String({
            pattern: "^[\\w!#$%&'*.^`|~+-]+$",
            description:
              'The name of the cookie; "sid" by default, "__Host-sid" where there is tls or the publicUrl is https.'
          })
        ),
        sameSite: Type.Unsafe<'lax' | 'strict'>({
          type: 'string',
          enum: ['lax', 'strict'],
          default: 'lax',
          description: 'Whether a link from another site brings the cookie along.'
        })
      },
      {
        additionalProperties: false,
        default: {},
        description: 'The cookie that carries the id of a session; always HttpOnly, Secure over TLS.'
      }
    ),
    idle: Duration({
      positive: true,
      default: '30m',
      description: 'How long a session lasts without a request.'
    }),
    absolute: Duration({ positive: true, default: '12h', description: 'How long a session lasts at most.' }),
    routes: Type.Object(
      {
        login: path('Where one logs in.', '/login'),
        logout: path('Where one logs out.', '/logout'),
        who: path('Where one sees who one is.', '/session'),
        callback: path('Where an OIDC provider sends one back to.', '/login/callback')
      },
      {
        additionalProperties: false,
        default: {},
        description: 'The paths of the standing routes of a session.'
      }
    )
  },
  { additionalProperties: false, description: 'How long a log-in lasts and how its cookie looks.' }
)

export const override = false
export const always = (said: WordsSaid): boolean => said('auth') || said('session')
export const variables = { secrets: 'SESSION_SECRET' }
export const given = ({
  SESSION_SECRET
}: Readonly<Record<string, string | undefined>>): { secrets: string[] } | undefined =>
  SESSION_SECRET === undefined || SESSION_SECRET === '' ? undefined : { secrets: [SESSION_SECRET] }
export type SessionOptions = Static<typeof options>

export function faults({ secrets }: SessionOptions): OptionFault[] {
  return (secrets ?? []).flatMap((secret, i) =>
    secret.length >= SECRET_LENGTH
      ? []
      : [
          {
            path: ['secrets', i],
            message: `A session secret has ${SECRET_LENGTH} characters or more; this one has ${secret.length}. "openssl rand -base64 32" makes one`
          }
        ]
  )
}

/** Loads, starts and ends the sessions of callers. */
export interface Sessions {
  /** Loads the session that a request's cookie names; null for none, a stale or a forged one, and while the store is away. */
  load(request: FastifyRequest, reply: FastifyReply): Promise<SessionData | null>
  /** Reads the session that a request's cookie names, for whatever is asked of it next; throws SP_ERR_STORE_UNAVAILABLE. */
  read(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Starts a session under a new id, in place of the one that a request has, and sets its cookie; throws SP_ERR_STORE_UNAVAILABLE. */
  start(request: FastifyRequest, reply: FastifyReply, kept: Omit<SessionData, 'created'>): Promise<void>
  /** Reads what the session of a request remembers of its provider by now; undefined once the session is over. */
  provided(request: FastifyRequest): Promise<Provided | undefined>
  /** Changes what the session of a request remembers of its provider; tells whether it is still there. */
  renew(request: FastifyRequest, provided: Provided): Promise<boolean>
  /** Ends the session of a request and clears its cookie. */
  end(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Ends the session of a request, or all of its user, once the store answers, and clears its cookie; tells whether the request has a session's cookie at all. */
  endLater(
    request: FastifyRequest,
    reply: FastifyReply,
    which: { readonly everywhere: boolean }
  ): Promise<boolean>
  /** Ends a stream of a request when the request's session ends; returns what takes it out again. */
  watch(request: FastifyRequest, end: () => void): () => void
  /** Sets the check whether a user may still have a session, for streams that are open. */
  judgeBy(isKnown: (kept: SessionData) => boolean): void
  /** Lists the sessions of whose session a request has, its own marked. */
  mine(request: FastifyRequest): Promise<(Listed & { readonly current: boolean })[]>
  /** Ends the sessions of whose session a request has: all of them, or the one of this id; tells how many. */
  endMine(request: FastifyRequest, only?: string): Promise<number>
  /** Ends sessions on the word of their provider, by its session or by its user, and tells how many; throws SP_ERR_STORE_UNAVAILABLE, and ends them once the store answers. */
  endProvided(issuer: string, by: { readonly sid: string } | { readonly sub: string }): Promise<number>
  readonly routes: {
    readonly login: string
    readonly logout: string
    readonly who: string
    readonly callback: string
  }
  /** Encrypts what a browser carries while somebody logs in. */
  readonly seal: Seal
  /** Keeps what is too long for that. */
  readonly addresses: Pick<ReturnAddresses, 'keep' | 'find'>
  /** The attributes of the cookies that belong to a log-in. */
  readonly cookie: {
    readonly httpOnly: true
    readonly secure: boolean | 'auto'
    readonly sameSite: 'lax' | 'strict'
  }
}

export type { Listed, SessionData }

declare module 'fastify' {
  interface FastifyInstance {
    /** The sessions of this gateway; null where no secret was given, and so none can be. */
    sessions: Sessions | null
    /** The name of the session's cookie, which no upstream may see; null where there are no sessions. */
    sessionCookie: string | null
  }
  interface Session {
    user?: string
    created?: number
    provided?: Provided
    begun?: readonly string[]
  }
}

// How many cookies of one name are tried: each may be a question to the store.
const MOST_COOKIES = 4

const isSomebodys = ({ session: { user } }: FastifyRequest): boolean => user !== undefined

type Hook = (
  this: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error | null) => void
) => void

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
    const { shared } = app.store
    const { peers } = app.resources
    const store: SessionStore = app.resources.lease<SessionStore>(
      app,
      shared === null ? key : `${key} ${shared.id}`,
      () =>
        shared !== null
          ? new SharedSessions(shared, peers)
          : peers !== null
            ? new PeerSessions(peers)
            : new MemorySessions(),
      (kept) => kept.close()
    )
    store.last(duration(root.idle), duration(root.absolute))
    const addresses = app.resources.lease(
      app,
      `return addresses ${shared?.id ?? ''}`,
      () => new ReturnAddresses(shared, peers),
      (kept) => kept.close()
    )
    // A publicUrl says what browsers see, also where a proxy in front does not tell.
    const secure = isHttps || ('auto' as const)
    const attributes = { path: '/', httpOnly: true, sameSite: root.cookie.sameSite, secure } as const
    // @fastify/cookie parses nothing by itself: the cookies of a request are read where a session is.
    await app.register(cookie, { hook: false })
    // @fastify/session would load one for every request, and make one for every visitor: its first hook is called where it is needed.
    // Its second one, which saves, makes "strict" a "lax" over plain HTTP and no cookie behind a TLS that it does not see: log-ins save by themselves.
    const signer = new Signer([...root.secrets], 'sha256')
    const hooks = await captureHooks(app, session, {
      secret: signer,
      cookieName: name,
      rolling: false,
      saveUninitialized: false,
      store
    })
    const load = hooks['onRequest']?.[0] as unknown as Hook
    /** Lists the ids in the cookies of a request that are signed by us. */
    const idsIn = ({ headers }: FastifyRequest): string[] =>
      cookiesIn(headers.cookie, name).flatMap((signed) => signer.unsign(signed).value ?? [])
    const readOne = async (request: FastifyRequest, reply: FastifyReply, signed?: string): Promise<void> => {
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
    const read = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
      if (request.session !== null && request.session !== undefined) return
      const all = cookiesIn(request.headers.cookie, name)
      // Another application of the domain, or an older config, may have left a cookie of this name that comes first.
      const signed =
        all.length < 2 ? all : all.filter((each) => signer.unsign(each).valid).slice(0, MOST_COOKIES)
      if (signed.length === 0) await readOne(request, reply)
      for (const each of signed) {
        await readOne(request, reply, each)
        if (isSomebodys(request)) return
      }
    }
    const owner = ({ session: { user = '', provided } }: FastifyRequest): string =>
      ownedBy(provided === undefined ? user : `${provided.issuer} ${provided.sub}`)
    app.decorate('sessions', {
      routes: root.routes,
      seal: makeSeal(root.secrets),
      addresses,
      cookie: { httpOnly: true, secure, sameSite: root.cookie.sameSite },
      async load(request, reply) {
        if (request.headers.cookie === undefined || !request.headers.cookie.includes(name)) return null
        try {
          await read(request, reply)
        } catch (error) {
          // Nobody is let in whose session can't be read.
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
      async start(request, reply, kept) {
        await read(request, reply)
        await request.session.regenerate()
        Object.assign(request.session, { created: wall() }, kept)
        await request.session.save()
        reply.setCookie(name, request.session.encryptedSessionId, attributes)
      },
      async provided({ session: { sessionId } }) {
        return (await store.peek(sessionId))?.provided
      },
      renew({ session: renewed }, provided) {
        renewed.provided = provided
        return store.change(renewed.sessionId, renewed)
      },
      async end(request, reply) {
        await read(request, reply)
        await request.session.destroy()
        reply.clearCookie(name, attributes)
      },
      async endLater(request, reply, which) {
        const ids = idsIn(request).slice(0, MOST_COOKIES)
        for (const id of ids) await store.endLater(id, which)
        reply.clearCookie(name, attributes)
        return ids.length > 0
      },
      watch: ({ session: { sessionId } }, end) => store.watch(sessionId, end),
      judgeBy: (isKnown) => store.judgeBy(isKnown),
      async mine(request) {
        const current = store.nameOf(request.session.sessionId)
        return (await store.of(owner(request))).map((one) => ({ ...one, current: one.id === current }))
      },
      endMine: (request, only) => store.end(owner(request), only),
      async endProvided(issuer, by) {
        const named = 'sid' in by ? startedAt(issuer, by.sid) : ownedBy(`${issuer} ${by.sub}`)
        try {
          return await store.end(named)
        } catch (error) {
          await store.endNameLater(named)
          throw error
        }
      }
    } satisfies Sessions)
  },
  { name: key, fastify: '5.x', dependencies: ['store'] }
)
