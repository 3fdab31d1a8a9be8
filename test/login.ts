import { createHmac } from 'node:crypto'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import type { MemorySessions } from '../plugins/session/stores/memory.ts'
import type { Keep } from '../src/index.ts'
import { movableClock, SECRET } from './helpers.ts'

/** The credentials of a user. */
export const ada = { username: 'ada', password: 'lovelace' }

export const list = [
  { name: 'ada', secret: 'lovelace', roles: ['staff'] },
  { name: 'bob', secret: 'builder' }
]

export const auth = { session: true, users: { list } }

export const page = { path: '/private', respond: { body: 'for known callers' } }

/** A gateway with a private and a public page. */
export const config = { auth, routes: [page, { path: '/public', auth: false, respond: { body: 'for all' } }] }

/** A log-in by a form. */
export const form = (
  fields: Record<string, string>,
  headers: Record<string, string> = {}
): InjectOptions => ({
  payload: new URLSearchParams(fields).toString(),
  headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
})

/** Sends a log-in. */
export const logIn = (
  app: FastifyInstance,
  more: InjectOptions = { payload: ada }
): Promise<LightMyRequestResponse> => app.inject({ method: 'POST', url: '/login', ...more })

/** Returns the Cookie header that a client sends back. */
export const cookieOf = ({ headers }: LightMyRequestResponse): string =>
  String(headers['set-cookie'] ?? '').split(';')[0] ?? ''

/** The status of a request with a cookie. */
export const statusWith = async (app: FastifyInstance, cookie: string, url = '/private'): Promise<number> =>
  (await app.inject({ url, headers: { cookie } })).statusCode

/** Finds the session store of a gateway. */
export const storeOf = (app: FastifyInstance, keep: Keep): MemorySessions =>
  keep.lease<MemorySessions>(app, 'session', () => {
    throw new Error('no session store in memory')
  })

/** Signs an id as @fastify/session does. */
export const signed = (id: string, secret = SECRET): string =>
  `${id}.${createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')}`

/** Moves the clock of the process by milliseconds. */
export const clock = (t: Test): ((ms: number) => void) => movableClock(t).advance

export const MINUTE = 60_000
