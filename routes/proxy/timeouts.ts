import type { AboutRoute } from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import { durationOrNone } from '../../src/lib/units.ts'
import type { ProxyOptions } from './options.ts'

type Time = string | false | undefined

/** What of an upstream's options says how long an answer may take. */
interface UpstreamTimes {
  readonly timeout?: string | false
  readonly timeouts?: { readonly headers?: string | false }
}

const upstreamsOf = ({ upstream, split }: ProxyOptions): string[] =>
  split === undefined ? [upstream ?? ''] : split.map((part) => part.upstream)

const timesOf = (name: string, upstreams: AboutRoute['upstreams']): UpstreamTimes =>
  (upstreams[name] as UpstreamTimes | undefined) ?? {}

const longer = (a: Time, b: Time): Time =>
  (durationOrNone(b) ?? Number.POSITIVE_INFINITY) > (durationOrNone(a) ?? Number.POSITIVE_INFINITY) ? b : a

/** Lets "timeout", of the route or of its upstreams, be the time of the whole request as well. */
export function implies(
  options: ProxyOptions,
  upstreams: AboutRoute['upstreams']
): Record<string, Record<string, unknown>> {
  const own = options.timeout
  const times = upstreamsOf(options).map((name) => timesOf(name, upstreams).timeout)
  const said = times.filter((time) => time !== undefined)
  const time = own ?? (said.length === 0 ? undefined : said.reduce<Time>(longer, said[0]))
  return time === undefined ? {} : { limits: { time } }
}

/** Warns where an answer, with the retries after a timeout, may take longer than the request has. */
export function warnings(options: ProxyOptions, { word, upstreams }: AboutRoute): string[] {
  const limits = word('limits')
  const time =
    isObject(limits) && limits['mode'] !== 'report' ? durationOrNone(limits['time'] as Time) : undefined
  if (time === undefined) return []
  const { retry, timeout, timeouts } = options
  const attempts = retry?.on.includes('timeout') === true ? retry.attempts : 1
  for (const name of upstreamsOf(options)) {
    const upstream = timesOf(name, upstreams)
    const said = timeouts?.headers ?? timeout ?? upstream.timeouts?.headers ?? upstream.timeout
    const headers = durationOrNone(said ?? '30s')
    // What is only a default is shorter by intent of whoever has set the other.
    if ((said === undefined && attempts === 1) || headers === undefined || headers * attempts <= time)
      continue
    const each = `"timeouts.headers" (${said ?? '30s'}${attempts === 1 ? '' : `, ${attempts} times`})`
    return [
      `gives the upstream more time than the request has: ${each} is longer than "limits.time" (${String((limits as { time: string }).time)})`
    ]
  }
  return []
}
