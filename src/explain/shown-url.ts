import type { FastifyInstance } from 'fastify'
import type { Plan } from '../config/plan-types.ts'
import { maskerOf, redact } from '../config/redact.ts'
import { parameterName } from '../lib/http/url-parts.ts'

/** Masks the value in a pair of a query, such as "token=abc", where its name says that it is secret. */
export type MaskPair = (pair: string) => string

/** Makes the function that masks the secret values of a client's query. */
export function makePairMask(plan: Plan, app: FastifyInstance): MaskPair {
  const masked = maskerOf(plan)
  // Without authentication no concern names any.
  const { credentialParameters } = app as Partial<FastifyInstance>
  return (pair) => {
    const [name, value] = [parameterName(pair), pair.slice(pair.indexOf('=') + 1)]
    if (!pair.includes('=')) return pair
    const shown = credentialParameters?.has(name) === true ? '***' : String(masked(value, [name]))
    return pair.slice(0, pair.length - value.length) + shown
  }
}

/** Returns a URL of a client, without a user in it and without the values of secret parameters. */
export function shownUrl(url: string, maskPair: MaskPair): string {
  const at = url.indexOf('?')
  if (at === -1) return redact(url)
  return `${redact(url.slice(0, at))}?${url
    .slice(at + 1)
    .split('&')
    .map(maskPair)
    .join('&')}`
}

/** Returns a URL of the config, or the name of an upstream, as the config is shown. */
export const shownName = (plan: Plan, nameOrUrl: string): string => String(maskerOf(plan)(nameOrUrl, []))
