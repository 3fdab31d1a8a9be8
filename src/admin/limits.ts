import { showPlace } from '../config/fault.ts'
import { lastPlace } from '../config/origins.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import { isObject } from '../lib/schema.ts'

/** A rate limit of the config. */
export interface ConfiguredLimit {
  readonly name: string
  /** Its quota in words, such as "100 per 1m by ip". */
  readonly quota: string
  /** Where it is configured. */
  readonly from: string
  /** The names of the routes that share it. */
  readonly routes: readonly string[]
}

/** Lists the rate limits of a config, each with its routes. */
export function limitsOf({ routes }: Plan): ConfiguredLimit[] {
  const limits = new Map<string, ConfiguredLimit & { readonly routes: string[] }>()
  for (const route of routes) {
    const options = route.options['rateLimit']
    if (!isObject(options)) continue
    const also = isObject(options['also']) ? Object.entries(options['also']) : []
    for (const [name, quota] of [['default', options] as const, ...also]) {
      if (!isObject(quota)) continue
      const key = JSON.stringify([route.scopes['rateLimit'], name, showQuota(quota)])
      const known = limits.get(key)
      if (known !== undefined) known.routes.push(route.name)
      else limits.set(key, { name, quota: showQuota(quota), from: placeOf(route), routes: [route.name] })
    }
  }
  return [...limits.values()]
}

const placeOf = (route: PlannedRoute): string =>
  lastPlace(route.origins.get('rateLimit')) ?? showPlace(route.place())

function showQuota({ max, window, by, maxInFlight, algorithm }: Readonly<Record<string, unknown>>): string {
  const parts = [
    ...(max === undefined ? [] : [`${Number(max).toLocaleString('en')} per ${String(window)}`]),
    ...(maxInFlight === undefined ? [] : [`${String(maxInFlight)} in flight`])
  ]
  return `${parts.join(', ')} by ${String(by)}${algorithm === 'fixedWindow' ? '' : `, ${String(algorithm)}`}`
}
