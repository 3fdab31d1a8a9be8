import type { RouteFigures, UpstreamState } from '../lib/contracts/metrics.ts'
import type { CacheFigures, ProcessFigures, ShownRefusal } from './figures.ts'
import type { ProcessState } from './report.ts'
import { combineUpstreams } from './status.ts'

/** The figures of a gateway with all its processes. */
export interface GatewayFigures
  extends Pick<ProcessFigures, 'store' | 'logLevel' | 'reloads' | 'refused' | 'cacheMemory'>,
    Pick<ProcessState, 'startedAt' | 'generation' | 'draining'>,
    Pick<ProcessState, 'inFlight' | 'connections' | 'webSockets' | 'requests' | 'memoryBytes'> {
  readonly workers: number
  /** The upper bounds of the buckets of durations, in milliseconds; null without `metrics`. */
  readonly bounds: readonly number[] | null
  readonly rows: {
    readonly routes: readonly RouteFigures[]
    readonly upstreams: readonly (UpstreamState & { readonly durations: readonly number[] })[]
    readonly caches: readonly CacheFigures[]
    readonly refusals: readonly (ShownRefusal & { readonly name: string })[]
  }
}

/** Combines the figures of all processes of a gateway; undefined where there is none. */
export function combineFigures(each: readonly ProcessFigures[]): GatewayFigures | undefined {
  const [first] = each
  if (first === undefined) return undefined
  const states = each.map(({ process: own }) => own)
  const sum = (of: (own: ProcessState) => number): number => states.reduce((total, own) => total + of(own), 0)
  const memories = each.flatMap(({ cacheMemory }) => cacheMemory ?? [])
  const durations = combineBy(
    each.flatMap(({ requests }) => requests?.upstreams ?? []),
    (one, other) => ({ name: one.name, durations: sums(one.durations, other.durations) })
  )
  return {
    startedAt: states.map(({ startedAt }) => startedAt).toSorted()[0] ?? '',
    generation: Math.max(...states.map(({ generation }) => generation)),
    draining: states.every(({ draining }) => draining),
    workers: each.length,
    inFlight: sum(({ inFlight }) => inFlight),
    connections: sum(({ connections }) => connections),
    webSockets: sum(({ webSockets }) => webSockets),
    requests: sum(({ requests }) => requests),
    memoryBytes: sum(({ memoryBytes }) => memoryBytes),
    store: (each.find(({ store }) => store === 'away') ?? first).store,
    logLevel: first.logLevel,
    reloads: {
      taken: Math.max(...each.map(({ reloads }) => reloads.taken)),
      refused: Math.max(...each.map(({ reloads }) => reloads.refused))
    },
    refused: {
      client: each.reduce((total, { refused }) => total + refused.client, 0),
      server: each.reduce((total, { refused }) => total + refused.server, 0)
    },
    cacheMemory:
      memories.length === 0
        ? null
        : {
            bytes: memories.reduce((total, { bytes }) => total + bytes, 0),
            entries: memories.reduce((total, { entries }) => total + entries, 0)
          },
    bounds: first.requests?.bounds ?? null,
    rows: {
      routes: combineBy(
        each.flatMap(({ requests }) => requests?.routes ?? []),
        addRoutes
      ),
      upstreams: combineUpstreams(each).map((upstream) => ({
        ...upstream,
        durations: durations.find(({ name }) => name === upstream.name)?.durations ?? []
      })),
      caches: combineBy(
        each.flatMap(({ caches }) => caches),
        (one, other) => ({ name: one.name, results: addResults(one.results, other.results) })
      ),
      refusals: combineBy(
        each.flatMap(({ refusals }) => refusals.map((refusal) => ({ ...refusal, name: keyOf(refusal) }))),
        (one, other) => ({ ...(one.at > other.at ? one : other), count: one.count + other.count })
      )
    }
  }
}

const keyOf = ({ code, route }: ShownRefusal): string => `${code} ${route}`

/** Combines the rows of the same name. */
function combineBy<T extends { readonly name: string }>(
  rows: readonly T[],
  add: (one: T, other: T) => T
): T[] {
  const combined = new Map<string, T>()
  for (const row of rows) {
    const known = combined.get(row.name)
    combined.set(row.name, known === undefined ? row : add(known, row))
  }
  return [...combined.values()]
}

const addRoutes = (one: RouteFigures, other: RouteFigures): RouteFigures => ({
  name: one.name,
  responses: sums(one.responses, other.responses),
  durations: sums(one.durations, other.durations),
  limits: combineBy([...one.limits, ...other.limits], (limit, same) => ({
    name: limit.name,
    passed: limit.passed + same.passed,
    refused: limit.refused + same.refused
  })),
  bytesIn: one.bytesIn + other.bytesIn,
  bytesOut: one.bytesOut + other.bytesOut
})

const sums = (one: readonly number[], other: readonly number[]): number[] =>
  one.map((value, i) => value + (other[i] ?? 0))

const addResults = (one: CacheFigures['results'], other: CacheFigures['results']): CacheFigures['results'] =>
  Object.fromEntries(Object.entries(one).map(([result, value]) => [result, value + (other[result] ?? 0)]))
