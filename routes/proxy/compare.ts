import type { OptionChange, TargetComparison } from '../../src/kit/concern.ts'
import { hasMoreOrigins, isSame } from '../../src/lib/compare-options.ts'
import { type ProxyOptions, WEBSOCKET_DEFAULTS } from './options.ts'

/** How `diff` compares two resolved options. */
export const comparison: TargetComparison = {
  reaches({ upstream, split, mirror, rewrite, preserveHost, files }: ProxyOptions) {
    const as = JSON.stringify([rewrite ?? '', preserveHost])
    return [
      ...(upstream === undefined ? [] : [{ upstream, as }]),
      ...(split ?? []).map(({ upstream: part, share, when }) => ({
        upstream: part,
        as: JSON.stringify([as, share, when])
      })),
      ...(mirror === undefined ? [] : [{ upstream: mirror.upstream, as: `mirror ${as}` }]),
      ...(files === undefined ? [] : [{ file: files.root }])
    ]
  },
  changes(before: ProxyOptions, after: ProxyOptions) {
    const found: OptionChange[] = []
    for (const name of ['timeout', 'timeouts', 'retry', 'hedge', 'sticky'] as const)
      if (!isSame(before[name], after[name]))
        found.push({ class: 'timing', path: [name], message: 'waits or retries otherwise' })
    for (const name of ['fallback', 'rewriteBack'] as const)
      if (!isSame(before[name], after[name]))
        found.push({ class: 'exposure', path: [name], message: 'tells clients something else' })
    return [...found, ...websocketChanges(before.websocket, after.websocket)]
  },
  options: {
    'mirror.share': { class: 'moved', message: 'copies another share of requests to the mirror' },
    'mirror.max': { class: 'moved', message: 'copies another number of requests to the mirror at a time' },
    'mirror.maxBody': {
      class: 'moved',
      message: 'copies requests with bodies of another size to the mirror'
    },
    'files.cleanUrls': { class: 'moved', message: 'sends pages of the folder at other paths' },
    'files.maxAge': { class: 'timing', message: 'lets browsers keep files for another time' }
  }
}

function websocketChanges(
  before: ProxyOptions['websocket'],
  after: ProxyOptions['websocket']
): OptionChange[] {
  const path = ['websocket']
  if (before === false && after === false) return []
  if (before === false) return [{ class: 'widened-access', path, message: 'accepts WebSockets' }]
  if (after === false) return [{ class: 'narrowed-access', path, message: 'refuses WebSockets' }]
  const [old, next] = [before === true ? undefined : before, after === true ? undefined : after]
  const originsOf = (options: typeof old): readonly string[] => options?.origins ?? ['*']
  const found: OptionChange[] = []
  const origins = [...path, 'origins']
  if (hasMoreOrigins(originsOf(next), originsOf(old)))
    found.push({
      class: 'widened-access',
      path: origins,
      message: 'lets pages of more origins open WebSockets'
    })
  if (hasMoreOrigins(originsOf(old), originsOf(next)))
    found.push({
      class: 'narrowed-access',
      path: origins,
      message: 'lets pages of fewer origins open WebSockets'
    })
  for (const name of ['idle', 'lifetime', 'closeTimeout'] as const)
    if ((old ?? WEBSOCKET_DEFAULTS)[name] !== (next ?? WEBSOCKET_DEFAULTS)[name])
      found.push({ class: 'timing', path: [...path, name], message: 'closes WebSockets at another time' })
  return found
}
