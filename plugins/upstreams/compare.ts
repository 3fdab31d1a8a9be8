import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import { isSame, limitChanges, stableText } from '../../src/lib/compare-options.ts'
import { size } from '../../src/lib/units.ts'
import { type UpstreamOptions, urlsOf } from './options.ts'

type Entry = UpstreamOptions | undefined

/** How `diff` compares two entries of "upstreams". */
export const comparison: Comparison = {
  destinations,
  changes(before: Entry, after: Entry) {
    const found: OptionChange[] = []
    const [old, next] = [before?.tls, after?.tls]
    if (old?.verify !== false && next?.verify === false)
      found.push({
        class: 'widened-access',
        path: ['tls', 'verify'],
        message: 'accepts any certificate of the service'
      })
    if (old?.verify === false && next?.verify !== false)
      found.push({
        class: 'narrowed-access',
        path: ['tls', 'verify'],
        message: 'verifies the certificate of the service'
      })
    for (const name of ['ca', 'serverName'] as const)
      if (old?.[name] !== next?.[name])
        found.push({
          class: 'widened-access',
          path: ['tls', name],
          message: 'trusts others: certificates of the service by another authority or name'
        })
    for (const name of TIMING)
      if (!isSame(before?.[name], after?.[name]))
        found.push({
          class: 'timing',
          path: [name],
          message: 'waits or retries otherwise, or shares requests otherwise'
        })
    if (before === undefined || after === undefined) return found
    if (before.exactPaths !== after.exactPaths)
      found.push(
        after.exactPaths
          ? {
              class: 'widened-access',
              path: ['exactPaths'],
              message: 'accepts other spellings of paths, which "paths.ambiguous" refused'
            }
          : {
              class: 'narrowed-access',
              path: ['exactPaths'],
              message: 'refuses other spellings of paths by "paths.ambiguous"'
            }
      )
    if (!isSame(before.targets, after.targets) && isSame(destinations(before), destinations(after)))
      found.push({ class: 'timing', path: ['targets'], message: 'shares requests otherwise among targets' })
    return [
      ...found,
      limitChanges(['connections', 'max'], connections(before), connections(after)),
      limitChanges(['connections', 'pending'], pending(before), pending(after)),
      limitChanges(['maxHeaders'], size(before.maxHeaders), size(after.maxHeaders))
    ].flat()
  },
  options: {
    'tls.cert': { class: 'exposure', message: 'shows another certificate to the service' },
    'tls.key': { class: 'exposure', message: 'shows another certificate to the service' },
    'discover.every': { class: 'timing', message: 'looks for targets at other times' },
    http2: { class: 'timing', message: 'speaks another version of HTTP to the service' }
  }
}

const connections = ({ connections: own }: UpstreamOptions): number => own?.max ?? Number.POSITIVE_INFINITY
const pending = ({ connections: own }: UpstreamOptions): number =>
  own?.max === undefined ? Number.POSITIVE_INFINITY : own.pending

const TIMING = [
  'timeout',
  'timeouts',
  'health',
  'eject',
  'breaker',
  'slowStart',
  'balance',
  'hashOn',
  'sticky'
] as const

/** Returns where requests are sent, whatever the shares of the targets. */
function destinations(upstream: UpstreamOptions): string[] {
  const { discover, host } = upstream
  const places = [...new Set(urlsOf(upstream).map((each) => each.replace(/\/$/, '')))].toSorted()
  if (discover === undefined && host === undefined) return places
  const { every: _every, ...name } = discover ?? { every: '' }
  return (places.length === 0 ? [''] : places).map((place) => stableText([place, name, host]))
}
