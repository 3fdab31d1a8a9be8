import cookie from '@fastify/cookie'
import session from '@fastify/session'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  capture,
  Duration,
  duration,
  fp,
  type OptionFault,
  type Static,
  Type,
  type WordsSaid
} from '../../src/kit/index.ts'
import { type Kept, MemorySessions } from './store.ts'

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
              'The name of the cookie; "sid" by default, "__Host-sid" where the publicUrl is https.'
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
    idle: Duration({ default: '30m', description: 'How long a session lasts without a request.' }),
    absolute: Duration({ default: '12h', description: 'How long a session lasts at most.' }),
    routes: Type.Object(
      {
        login: path('Where one logs in.', '/login'),
        logout: path('Where one logs out.', '/logout'),
        who: path('Where one sees who one is.', '/session')
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
  /** Loads the session that a request's cookie names; null for none, a stale or a forged one. */
  load(request: FastifyRequest, reply: FastifyReply): Promise<Kept | null>
  /** Starts a session under a new id and sets its cookie. */
  start(request: FastifyRequest, reply: FastifyReply, user: string): Promise<void>
  /** Ends the session of a request and clears its cookie. */
  end(request: FastifyRequest, reply: FastifyReply): Promise<void>
  readonly routes: { readonly login: string; readonly logout: string; readonly who: string }
}

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
  }
}

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
    const name = root.cookie.name ?? (app.publicUrl?.startsWith('https://') === true ? '__Host-sid' : 'sid')
    app.decorate('sessionCookie', name)
    const store = app.keep.lease(app, key, () => new MemorySessions())
    store.last(duration(root.idle), duration(root.absolute))
    // A publicUrl says what browsers see, also where a proxy in front does not tell.
    const secure = app.publicUrl?.startsWith('https://') === true || ('auto' as const)
    const attributes = { path: '/', httpOnly: true, sameSite: root.cookie.sameSite, secure } as const
    // @fastify/cookie parses nothing by itself: the cookies of a request are read where a session is.
    await app.register(cookie, { hook: false })
    // @fastify/session would load one for every request, and make one for every visitor: its first hook is called where it is needed.
    // Its second one, which saves, makes "strict" a "lax" over plain HTTP and no cookie behind a TLS that it does not see: log-ins save by themselves.
    const hooks = await capture(app, session, {
      secret: [...root.secrets],
      cookieName: name,
      rolling: false,
      saveUninitialized: false,
      store
    })
    const load = hooks['onRequest']?.[0] as unknown as Hook
    const read = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
      if (request.session !== null && request.session !== undefined) return
      ;(request as { cookies: unknown }).cookies = app.parseCookie(request.headers.cookie ?? '')
      await new Promise<void>((resolve, reject) =>
        load.call(app, request, reply, (error?: Error | null) => (error ? reject(error) : resolve()))
      )
    }
    app.decorate('sessions', {
      routes: root.routes,
      async load(request, reply) {
        if (request.headers.cookie === undefined || !request.headers.cookie.includes(name)) return null
        await read(request, reply)
        const { user, created, sessionId } = request.session
        if (user === undefined || created === undefined) return null
        store.touch(sessionId)
        return { user, created }
      },
      async start(request, reply, user) {
        await read(request, reply)
        await request.session.regenerate()
        request.session.user = user
        request.session.created = Date.now()
        await request.session.save()
        reply.setCookie(name, request.session.encryptedSessionId, attributes)
      },
      async end(request, reply) {
        await read(request, reply)
        await request.session.destroy()
        reply.clearCookie(name, attributes)
      }
    } satisfies Sessions)
  },
  { name: key, fastify: '5.x' }
)
