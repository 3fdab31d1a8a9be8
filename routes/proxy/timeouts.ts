import { type AboutRoute, defineWarning, type Warning } from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import { durationOrNone } from '../../src/lib/units.ts'
import type { ProxyOptions } from './options.ts'

type Timeout = string | false | undefined

/** The options of an upstream that bound how long a response may take. */
interface UpstreamTimeouts {
  readonly timeout?: string | false
  readonly timeouts?: { readonly headers?: string | false }
}

const upstreamsOf = ({ upstream, split }: ProxyOptions): string[] =>
  split === undefined ? [upstream ?? ''] : split.map((part) => part.upstream)

const timeoutsOf = (name: string, upstreams: AboutRoute['upstreams']): UpstreamTimeouts =>
  (upstreams[name] as UpstreamTimeouts | undefined) ?? {}

const longer = (a: Timeout, b: Timeout): Timeout =>
  (durationOrNone(b) ?? Number.POSITIVE_INFINITY) > (durationOrNone(a) ?? Number.POSITIVE_INFINITY) ? b : a

/** Returns the options that "timeout", of the route or of its upstreams, sets as well: the deadline of the request. */
export function implies(
  options: ProxyOptions,
  upstreams: AboutRoute['upstreams']
): Record<string, Record<string, unknown>> {
  const timeouts = upstreamsOf(options)
    .map((name) => timeoutsOf(name, upstreams).timeout)
    .filter((timeout) => timeout !== undefined)
  const longest = timeouts.length === 0 ? undefined : timeouts.reduce<Timeout>(longer, timeouts[0])
  const time = options.timeout ?? longest
  return time === undefined ? {} : { limits: { time } }
}

const unreachableTimeout = defineWarning(
  'SP_WARN_PROXY_TIMEOUT',
  'low',
  'A timeout that the deadline of the request ends first'
)

/** Warns if the timeouts of the attempts add up to more than the deadline of the request. */
export function timeoutWarnings(options: ProxyOptions, { optionsOf, upstreams }: AboutRoute): Warning[] {
  const limits = optionsOf('limits')
  const time =
    isObject(limits) && limits['mode'] !== 'report' ? durationOrNone(limits['time'] as Timeout) : undefined
  if (time === undefined) return []
  const { retry, timeout, timeouts } = options
  const attempts = retry?.on.includes('timeout') === true ? retry.attempts : 1
  for (const name of upstreamsOf(options)) {
    const upstream = timeoutsOf(name, upstreams)
    const written = timeouts?.headers ?? timeout ?? upstream.timeouts?.headers ?? upstream.timeout
    const headers = durationOrNone(written ?? '30s')
    // A default is no conflict: "limits.time" was shortened on purpose.
    if ((written === undefined && attempts === 1) || headers === undefined || headers * attempts <= time)
      continue
    const each = `"timeouts.headers" (${written ?? '30s'}${attempts === 1 ? '' : `, ${attempts} times`})`
    return [
      unreachableTimeout(
        `gives the upstream more time than the request has: ${each} is longer than "limits.time" (${String((limits as { time: string }).time)})`
      )
    ]
  }
  return []
}
