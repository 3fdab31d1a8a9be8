import type { FastifyReply, FastifyRequest } from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { settleCallback } from '../../src/lib/callback.ts'
import type { PrivateHeader } from '../../src/lib/http/copied-headers.ts'
import type { ProtectedResource } from '../../src/lib/protected-resource.ts'
import { Internal, withHeaders } from '../../src/lib/refusals.ts'
import { alternativesOf, callerOfAlternative, isNeeded } from './alternatives.ts'
import type { Signer } from './assertion.ts'
import { compileRequirements } from './authorize.ts'
import { compileChallenges } from './challenges.ts'
import { compileExempt } from './exempt.ts'
import { identityHeader } from './identity-headers.ts'
import type { AuthOptions } from './options.ts'
import { isRedirected, loginRedirect } from './sign-in.ts'
import { dropParameter } from './strategies/credential-places.ts'
import { type Strategy, type StrategyResult, WrongCredential } from './strategies/strategy.ts'

/** The request has no credential that the route accepts. */
export const AuthenticationRequired = createError('SP_ERR_AUTH_MISSING', 'Authentication required', 401)
/** The request has a credential that is wrong. */
export const InvalidCredentials = createError('SP_ERR_AUTH_WRONG', 'Invalid or expired credentials', 401)
/** The caller does not meet a requirement of the route. */
export const Forbidden = createError<[string]>('SP_ERR_AUTH_LACKING', 'Forbidden: requires %s', 403)

type Done = (error?: Error) => void

/** Authenticates and authorizes a request; calls `done` with an error to refuse it. */
export type Gate = (request: FastifyRequest, reply: FastifyReply, done: Done) => void

/** What `makeGate` builds a gate from. */
export interface GateParts {
  /** The accepted strategies, in their order. */
  readonly strategies: readonly Strategy[]
  /** The client headers that never reach the upstream: credentials that `passOn` does not name, and identity headers. */
  readonly privateHeaders: readonly PrivateHeader[]
  /** The query parameters that hold credentials of any defined strategy, accepted here or not. */
  readonly parameters: readonly string[]
  /** The protected resources that the route belongs to, one for each host. */
  readonly resources: readonly ProtectedResource[]
  /** Signs the assertion for the upstream; undefined if none is configured. */
  readonly signer: Signer | undefined
}

/** Makes the gate of one set of options: the first alternative whose strategies succeed sets the caller, any wrong credential refuses the request. It calls back synchronously if every strategy answers synchronously. */
export function makeGate(options: AuthOptions, parts: GateParts): Gate {
  const { strategies, privateHeaders, parameters, resources, signer } = parts
  const alternatives = alternativesOf(options)
  const acceptsSession = strategies.some(({ name }) => name === 'session')
  const challenges = compileChallenges(options, strategies, resources)
  const otherParameters = parameters.filter(
    (name) => !strategies.some((strategy) => strategy.parameters?.includes(name) === true)
  )
  const missingRequirement = compileRequirements(options.require)
  const isExempt = compileExempt(options)
  const passesToken = options.passOn.includes('oidc')
  const identity = Object.entries(options.identity).map(([name, value]) => identityHeader(name, value))

  return (request, reply, done) => {
    const refuse = (error: unknown): void => {
      // In report mode the request goes on, and some strategies may not have removed their parameters yet.
      for (const name of parameters) dropParameter(request, name)
      // A strategy that throws undefined refuses the request, too.
      done((error as Error | null | undefined) ?? new Internal())
    }
    let pending: Promise<true> | undefined
    try {
      pending = authenticate(request, reply)
    } catch (error) {
      refuse(error)
      return
    }
    if (pending === undefined) done()
    else settleCallback(pending, (error, passed) => (passed === true ? done() : refuse(error)))
  }

  /** Tries the strategies; returns a promise only if one of them or the signer is asynchronous. */
  function authenticate(request: FastifyRequest, reply: FastifyReply): Promise<true> | undefined {
    if (privateHeaders.length > 0) request.privateHeaders = privateHeaders
    for (const name of otherParameters) dropParameter(request, name)
    for (const [i, strategy] of strategies.entries()) {
      if (isSkipped(strategy, request)) continue
      const result = strategy.authenticate(request, reply)
      if (result instanceof Promise) return continueFrom(request, reply, { index: i, result })
      addCaller(result, strategy, request)
    }
    return authorize(request)
  }

  async function continueFrom(
    request: FastifyRequest,
    reply: FastifyReply,
    { index, result }: Pending
  ): Promise<true> {
    addCaller(await result, strategies[index] as Strategy, request)
    for (const strategy of strategies.slice(index + 1))
      if (!isSkipped(strategy, request))
        addCaller(await strategy.authenticate(request, reply), strategy, request)
    await authorize(request)
    return true
  }

  /** Returns whether a strategy is not tried, because it is a fallback that makes no difference. */
  function isSkipped({ isFallback, name }: Strategy, request: FastifyRequest): boolean {
    return isFallback === true && (isExempt(request) || !isNeeded(alternatives, request.callers ?? [], name))
  }

  /** Adds the caller that a strategy found; throws for a wrong credential. */
  function addCaller(result: StrategyResult, strategy: Strategy, request: FastifyRequest): void {
    if (result instanceof WrongCredential) request.wrongCredential = result.reason
    if (result === 'wrong' || result instanceof WrongCredential)
      throw withHeaders(new InvalidCredentials(), challenges.wrong(request, request.callers ?? [], strategy))
    if (result !== null) request.callers = [...(request.callers ?? []), result]
  }

  /** Sets the caller, checks the requirements and adds the identity headers; returns a promise while the assertion is being signed. */
  function authorize(request: FastifyRequest): Promise<true> | undefined {
    const callers = request.callers ?? []
    const caller = callerOfAlternative(alternatives, callers)
    request.caller = caller
    if (caller === null) {
      if (options.optional || isExempt(request)) return undefined
      const mayLogIn = acceptsSession && !callers.some(({ by }) => by === 'session')
      if (mayLogIn && isRedirected(request, options.challenge)) throw loginRedirect(request)
      throw withHeaders(new AuthenticationRequired(), challenges.missing(request, callers))
    }
    const missing = missingRequirement(caller, callers)
    if (missing !== undefined) {
      // In report mode the request goes on, without them.
      request.accessToken = null
      request.idToken = null
      const needsScope = caller.by === 'jwt' && missing.startsWith('the scope')
      throw withHeaders(new Forbidden(missing), needsScope ? challenges.lackingScope(request) : {})
    }
    if (passesToken && caller.by === 'session') passToken(request)
    if (identity.length > 0)
      request.identity = request.identity === null ? identity : [...identity, ...request.identity]
    if (signer === undefined) return undefined
    const signed = signer.sign(caller)
    const addAssertion = (token: string): true => {
      const header = { name: signer.header, value: { render: () => token } }
      request.identity = [...(request.identity ?? []), header]
      return true
    }
    if (signed instanceof Promise) return signed.then(addAssertion)
    addAssertion(signed)
    return undefined
  }
}

const AUTHORIZATION: PrivateHeader = { name: 'authorization', holds: undefined }

/** Replaces the client's Authorization by the access token of its session. */
function passToken(request: FastifyRequest): void {
  const { accessToken } = request
  request.privateHeaders = [...(request.privateHeaders ?? []), AUTHORIZATION]
  if (accessToken === null) return
  const header = { name: 'authorization', value: { render: () => `Bearer ${accessToken}` }, isToken: true }
  request.identity = [...(request.identity ?? []), header]
}

/** Where authentication stands when a strategy turns out to be asynchronous. */
interface Pending {
  /** The index of the strategy. */
  readonly index: number
  readonly result: Promise<StrategyResult>
}
