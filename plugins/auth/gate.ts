import type { FastifyReply, FastifyRequest } from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { settleCallback } from '../../src/lib/callback.ts'
import type { Caller } from '../../src/lib/caller.ts'
import type { PrivateHeader } from '../../src/lib/http/request-head.ts'
import { Internal, withHeaders } from '../../src/lib/refusals.ts'
import { claimOf } from '../../src/lib/values.ts'
import type { Signer } from './assertion.ts'
import { identityHeader } from './identity-headers.ts'
import type { AuthOptions } from './index.ts'
import { dropParameter, type Found, type Strategy, WrongCredential } from './strategies/strategy.ts'

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

type Done = (error?: Error) => void

/** Lets a request pass, or tells why not. */
export type Gate = (request: FastifyRequest, reply: FastifyReply, done: Done) => void

/** What a gate is made of. */
export interface Parts {
  /** The ways that count, in their order. */
  readonly ways: readonly Strategy[]
  /** The headers that no client's reach the upstream by: credentials of the ways that count, but for those of "passOn", and what identity writes. */
  readonly hidden: readonly PrivateHeader[]
  /** The parameters of the query with credentials of any way that is defined, whether it counts here or not. */
  readonly parameters: readonly string[]
  /** Signs for upstreams who calls; undefined where nobody wants it. */
  readonly signer: Signer | undefined
}

/** Makes the gate of one set of options: the first way that succeeds is the caller, and a wrong credential is refused whatever else is there. Nothing waits where every way knows its answer. */
export function makeGate(said: AuthOptions, { ways, hidden, parameters, signer }: Parts): Gate {
  const bySession = ways.some(({ name }) => name === 'session')
  const schemes = ways.flatMap(({ name, scheme }) =>
    scheme === undefined || (name === 'basic' && bySession) ? [] : [scheme]
  )
  const challenge = schemes.length === 0 ? {} : { 'www-authenticate': schemes.join(', ') }
  // A Bearer says more where it is a token that is wrong (RFC 6750 section 3.1).
  const wrongToken = {
    'www-authenticate': schemes.join(', ').replace('Bearer', 'Bearer error="invalid_token"')
  }
  const foreign = parameters.filter((name) => !ways.some((way) => way.parameters?.includes(name) === true))
  const judge = judgeOf(said.require)
  const identity = Object.entries(said.identity).map(([name, value]) => identityHeader(name, value))

  /** Judges who was found; what is signed for upstreams may take a moment. */
  function settle(request: FastifyRequest, caller: Caller | null): Promise<true> | undefined {
    request.caller = caller
    if (caller === null) {
      if (said.optional) return undefined
      if (bySession && (said.challenge === 'login' || (said.challenge === 'auto' && isNavigation(request))))
        throw toLogin(request)
      throw withHeaders(new CallerUnknown(), challenge)
    }
    const lacks = judge(caller)
    if (lacks !== undefined) throw new CallerLacks(lacks)
    if (identity.length > 0)
      request.identity = request.identity === null ? identity : [...identity, ...request.identity]
    if (signer === undefined) return undefined
    const signed = signer.sign(caller)
    const tell = (token: string): true => {
      const told = { name: signer.header, value: { render: () => token } }
      request.identity = [...(request.identity ?? []), told]
      return true
    }
    if (signed instanceof Promise) return signed.then(tell)
    tell(signed)
    return undefined
  }

  /** Takes what a way has found; throws where it is wrong. */
  function take(found: Found, { scheme }: Strategy, request: FastifyRequest): Caller | null {
    if (found instanceof WrongCredential) request.wrongCredential = found.reason
    if (found === 'wrong' || found instanceof WrongCredential)
      throw withHeaders(new CredentialWrong(), scheme === 'Bearer' ? wrongToken : challenge)
    return found
  }

  async function goOn(
    request: FastifyRequest,
    reply: FastifyReply,
    from: number,
    asked: Promise<Found>,
    before: Caller | null
  ): Promise<true> {
    const first = take(await asked, ways[from] as Strategy, request)
    let caller = before ?? first
    for (const way of ways.slice(from + 1)) {
      if (way.last === true && caller !== null) continue
      const found = take(await way.find(request, reply), way, request)
      caller ??= found
    }
    await settle(request, caller)
    return true
  }

  function decide(request: FastifyRequest, reply: FastifyReply): Promise<true> | undefined {
    if (hidden.length > 0) request.privateHeaders = hidden
    for (const name of foreign) dropParameter(request, name)
    let caller: Caller | null = null
    for (const [i, way] of ways.entries()) {
      if (way.last === true && caller !== null) continue
      const found = way.find(request, reply)
      if (found instanceof Promise) return goOn(request, reply, i, found, caller)
      const known = take(found, way, request)
      caller ??= known
    }
    return settle(request, caller)
  }

  return (request, reply, done) => {
    // Whatever was thrown, and be it nothing, is no "yes".
    const refuse = (error: unknown): void => {
      // In report mode it goes on, and some ways may not have been asked yet.
      for (const name of parameters) dropParameter(request, name)
      done((error as Error | null | undefined) ?? new Internal())
    }
    let waiting: Promise<true> | undefined
    try {
      waiting = decide(request, reply)
    } catch (error) {
      refuse(error)
      return
    }
    if (waiting === undefined) done()
    else settleCallback(waiting, (error, passed) => (passed === true ? done() : refuse(error)))
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
        // An address that its provider has not seen to be the user's is anybody's to claim.
        (name === 'email' && caller.claims['email_verified'] === false) ||
        ![claimOf(caller.claims, name)].flat().some((value) => value !== undefined && matches(String(value)))
    )
    return claim === undefined ? undefined : `the claim ${claim[0]}`
  }
}

// In a mail address "*" stands for no "@": "a@evil.com@example.com" is nobody at example.com (GHSA-c5c4-8r6x-56w3).
function pattern(text: string): (value: string) => boolean {
  if (!text.includes('*')) return (value) => value === text
  const anything = text.includes('@') ? '[^@]*' : '.*'
  const expression = new RegExp(
    `^${text
      .split('*')
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join(anything)}$`,
    's'
  )
  return (value) => expression.test(value)
}
