import type { FastifyRequest } from 'fastify'
import { type Caller, claimOf, createError, template, withHeaders } from '../../src/kit/index.ts'
import type { AuthOptions } from './index.ts'
import type { Way } from './ways.ts'

/** The request has no credential that would let it in. */
export const CallerUnknown = createError(
  'SP_ERR_AUTH_MISSING',
  'Who are you? This route is for known callers',
  401
)
/** The request has a credential that is wrong. */
export const CredentialWrong = createError(
  'SP_ERR_AUTH_WRONG',
  'The credential of this request is wrong or has expired',
  401
)
/** The caller is known and lacks what the route requires. */
export const CallerLacks = createError<[string]>('SP_ERR_AUTH_LACKING', 'The caller lacks %s', 403)
/** A navigation without a caller goes to the log-in. */
export const LoginFirst = createError('SP_ERR_AUTH_LOGIN', 'Log in first', 303)

/** Lets a request pass, or throws why not. */
export type Gate = (request: FastifyRequest, reply: Parameters<Way['find']>[1]) => Promise<void>

/** Makes the gate of one set of options: the first way that succeeds is the caller, and a wrong credential is refused whatever else is there. */
export function makeGate(said: AuthOptions, ways: readonly Way[]): Gate {
  const challenge = { 'www-authenticate': ways.map(({ scheme }) => scheme).join(', ') }
  const judge = judgeOf(said.require)
  const identity = Object.entries(said.identity).map(([name, value]) => ({
    name: name.toLowerCase(),
    value: template(`{caller.${value}}`)
  }))
  const bySession = ways.some(({ name }) => name === 'session')
  const hidden = said.passOn.includes('apiKeys')
    ? []
    : (said.apiKeys?.from ?? []).flatMap((place) =>
        place.startsWith('header:') ? [place.slice(7).toLowerCase()] : []
      )
  return async (request, reply) => {
    if (hidden.length > 0) request.privateHeaders = hidden
    let caller: Caller | null = null
    for (const way of ways) {
      const found = await way.find(request, reply)
      if (found === 'wrong') throw withHeaders(new CredentialWrong(), challenge)
      caller ??= found
    }
    request.caller = caller
    if (caller === null) {
      if (said.optional) return
      if (bySession && (said.challenge === 'login' || (said.challenge === 'auto' && isNavigation(request))))
        throw toLogin(request)
      throw withHeaders(new CallerUnknown(), challenge)
    }
    const lacks = judge(caller)
    if (lacks !== undefined) throw new CallerLacks(lacks)
    if (identity.length > 0) request.identity = identity
  }
}

/** Tells whether a browser asks for a page to show (Fetch Metadata); plain-http browsers send no metadata, but ask for secure pages. */
function isNavigation({ method, headers }: FastifyRequest): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const mode = headers['sec-fetch-mode']
  return mode === undefined ? headers['upgrade-insecure-requests'] === '1' : mode === 'navigate'
}

function toLogin(request: FastifyRequest): Error {
  const login = request.server.sessions?.routes.login ?? '/login'
  return withHeaders(new LoginFirst(), {
    location: `${login}?return_to=${encodeURIComponent(request.raw.url ?? '/')}`
  })
}

/** Compiles what a route requires into one question: what a caller lacks, or undefined. */
function judgeOf(require: AuthOptions['require']): (caller: Caller) => string | undefined {
  if (require === undefined) return () => undefined
  const { roles, scopes = [], claims = {} } = require
  const wanted = Object.entries(claims).map(([name, value]) => [name, pattern(value)] as const)
  return (caller) => {
    if (roles !== undefined && !roles.some((role) => caller.roles.includes(role)))
      return `a role: one of ${roles.join(', ')}`
    const scope = scopes.find((each) => !caller.scopes.includes(each))
    if (scope !== undefined) return `the scope ${scope}`
    const claim = wanted.find(
      ([name, matches]) =>
        ![claimOf(caller.claims, name)].flat().some((value) => value !== undefined && matches(String(value)))
    )
    return claim === undefined ? undefined : `the claim ${claim[0]}`
  }
}

function pattern(text: string): (value: string) => boolean {
  if (!text.includes('*')) return (value) => value === text
  const expression = new RegExp(
    `^${text
      .split('*')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*')}$`,
    's'
  )
  return (value) => expression.test(value)
}
