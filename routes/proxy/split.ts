import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { callerIdentity } from '../../src/lib/caller.ts'
import { compileConditions, type HoldsFor } from '../../src/lib/conditions/compile.ts'
import { addressFaultsIn, type Condition, readWhen } from '../../src/lib/conditions/options.ts'
import { hash32, unitInterval } from '../../src/lib/hash.ts'
import { cookieIn, stickyCookie } from '../../src/lib/http/cookies.ts'
import { pathOf, queryOf } from '../../src/lib/http/url-parts.ts'
import type { OptionFault } from '../../src/lib/schema.ts'
import { duration, share } from '../../src/lib/units.ts'
import type { ProxyOptions } from './options.ts'
import type { UpstreamRoute } from './plan.ts'

type Split = NonNullable<ProxyOptions['split']>
type Part = Split[number]

/** Returns the upstream of a request; it may set a cookie. */
export type ChooseUpstream = (request: FastifyRequest, reply: FastifyReply) => UpstreamRoute

/** A part with a share of the requests. */
interface SharedPart {
  /** The end of its range between 0 and 1. */
  readonly upTo: number
  readonly route: UpstreamRoute
  /** What the cookie says of it. */
  readonly cookieValue: string
}

/** Compiles which part of a split a request goes to: the first whose conditions hold, else one by the shares. */
export function makeSplit(
  app: FastifyInstance,
  { split, sticky }: { readonly split: Split; readonly sticky: ProxyOptions['sticky'] },
  routeTo: (upstream: string) => UpstreamRoute
): ChooseUpstream {
  const conditional = split.filter(isConditional).map((part) => ({
    holds: anyHolds(part),
    route: routeTo(part.upstream)
  }))
  const shared = sharedParts(split, routeTo)
  const byShare = (at: number): SharedPart =>
    shared.find((part) => at < part.upTo) ?? (shared.at(-1) as SharedPart)
  const byCookie = sticky === undefined ? undefined : new StickySplit(app, sticky, shared)
  return (request, reply) => {
    if (conditional.length > 0) {
      const { raw } = request
      const input = { raw, path: pathOf(request), query: queryOf(raw.url ?? '').slice(1), trust: app }
      const found = conditional.find(({ holds }) => holds(input))
      if (found !== undefined) return found.route
    }
    const { caller } = request
    // Anonymous clients are not pinned by their address: it may be a whole company's.
    if (caller !== null) return byShare(unitInterval(hash32(callerIdentity(caller)))).route
    const part = byCookie?.find(request) ?? byShare(Math.random())
    byCookie?.keep(request, reply, part)
    return part.route
  }
}

/** Returns the conditions of all parts of a split. */
export const splitConditions = (split: Split): readonly Condition[] =>
  split.flatMap(({ when }) => readWhen(when).flat())

/** Returns the errors in the shares and conditions of a split. */
export function splitFaults(split: Split): OptionFault[] {
  const faults = split.flatMap(({ when }, i) => addressFaultsIn(readWhen(when), ['split', i, 'when']))
  for (const [i, part] of split.entries())
    if (isConditional(part) && part.share !== undefined)
      faults.push({
        path: ['split', i, 'share'],
        message:
          'expected either "when" or "share", got both; a part with "when" takes every request for which it holds'
      })
  const shares = split.filter((part) => !isConditional(part))
  const rests = shares.filter((part) => part.share === undefined)
  const total = shares.reduce((sum, part) => sum + (part.share === undefined ? 0 : share(part.share)), 0)
  const percent = `${Number((total * 100).toFixed(4))}%`
  if (shares.length === 0)
    faults.push({
      path: ['split'],
      message: 'expected a part without "when", which takes the requests for which none of the others holds'
    })
  else if (rests.length > 1)
    faults.push({
      path: ['split', split.indexOf(rests[1] as Part)],
      message: 'expected a "share": only one part can take what the others leave'
    })
  else if (rests.length === 0 && Math.abs(total - 1) > EPSILON)
    faults.push({ path: ['split'], message: `expected shares that add up to 100%, got ${percent}` })
  else if (rests.length === 1 && total > 1 + EPSILON)
    faults.push({ path: ['split'], message: `expected shares of at most 100%, got ${percent}` })
  return faults
}

const EPSILON = 1e-6

const isConditional = ({ when }: Part): boolean => when !== undefined

function anyHolds({ when }: Part): HoldsFor {
  const alternatives = readWhen(when).map(compileConditions)
  return (input) => alternatives.some((holds) => holds(input))
}

function sharedParts(split: Split, routeTo: (upstream: string) => UpstreamRoute): SharedPart[] {
  const parts = split.filter((part) => !isConditional(part))
  const given = parts.reduce((sum, part) => sum + (part.share === undefined ? 0 : share(part.share)), 0)
  let upTo = 0
  return parts.map((part) => {
    upTo += part.share === undefined ? 1 - given : share(part.share)
    return { upTo, route: routeTo(part.upstream), cookieValue: cookieValueFor(part.upstream) }
  })
}

// Enough to tell a few parts apart, and too little to find the address in a URL by trial: many have the same value.
const COOKIE_VALUE_LENGTH = 4

const cookieValueFor = (upstream: string): string =>
  createHash('sha256').update(upstream).digest('base64url').slice(0, COOKIE_VALUE_LENGTH)

/** Keeps anonymous clients at the part that they had first, by a cookie. */
class StickySplit {
  readonly #cookie: string
  readonly #maxAge: number | undefined
  readonly #isSecure: boolean
  readonly #parts: ReadonlyMap<string, SharedPart>

  constructor(
    { publicUrl }: FastifyInstance,
    { cookie, maxAge }: NonNullable<ProxyOptions['sticky']>,
    parts: readonly SharedPart[]
  ) {
    this.#cookie = cookie
    this.#maxAge = maxAge === undefined ? undefined : duration(maxAge)
    this.#isSecure = publicUrl?.startsWith('https://') === true
    this.#parts = new Map(parts.map((part) => [part.cookieValue, part]))
  }

  /** Returns the part that the request's cookie names; undefined if there is none, or it has no share any more. */
  find({ raw }: FastifyRequest): SharedPart | undefined {
    return this.#parts.get(cookieIn(raw.headers.cookie, this.#cookie) ?? '')
  }

  /** Sets the cookie, unless the request has it already. */
  keep(request: FastifyRequest, reply: FastifyReply, { cookieValue }: SharedPart): void {
    if (cookieIn(request.raw.headers.cookie, this.#cookie) === cookieValue) return
    const isSecure = this.#isSecure || request.protocol === 'https'
    reply.header('set-cookie', stickyCookie(this.#cookie, cookieValue, { maxAge: this.#maxAge, isSecure }))
  }
}
