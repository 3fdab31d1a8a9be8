import type { JsonObject } from '../json.ts'
import { literalTemplate } from '../values.ts'
import type { Visit } from './evaluate.ts'
import { templateOf } from './placeholders.ts'

const STATUSES: Readonly<Record<string, number>> = { permanent: 301, temporary: 302, html: 302 }

/** Translates the words of `redir`; undefined if they have a placeholder without a value of the request. */
export function redirectOf(
  [to = '', code = '302']: readonly string[],
  { place, base, translation }: Visit
): JsonObject | undefined {
  const status = STATUSES[code] ?? Number(code)
  if (![301, 302, 303, 307, 308].includes(status)) return undefined
  const isPrefix = place.rest === 'below'
  const whole =
    /\{(?:(uri|http\.request\.uri|http\.request\.orig_uri)|path|http\.request\.uri\.path)\}$/.exec(to)
  if (whole !== null && place.rest !== 'partial') {
    const head = templateOf(to.slice(0, whole.index), translation)
    if (head === undefined) return undefined
    return {
      to: `${head}${literalTemplate(base)}${isPrefix ? '/' : base === '' ? '/' : ''}`,
      status,
      ...(whole[1] === undefined ? { query: false } : {})
    }
  }
  const fixed = templateOf(to, translation)
  if (fixed === undefined || to.includes('{path}') || fixed === '') return undefined
  return { to: fixed, status, ...(place.path.endsWith('/*') ? { rest: false } : {}), query: false }
}

/** Applies `rewrite` to the path of a visit; returns whether ours can say it. */
export function rewriteFrom(to: string, visit: Visit): boolean {
  const { place } = visit
  const kept = /^([^{}?]*)\{(?:uri|path|http\.request\.uri|http\.request\.uri\.path)\}$/.exec(to)
  if (kept !== null && place.rest !== 'partial') {
    visit.base = (kept[1] ?? '').replace(/\/$/, '') + visit.base
    return true
  }
  if (place.rest !== 'none' || /[{}?]/.test(to) || !to.startsWith('/')) return false
  visit.whole = to
  visit.base = to
  return true
}
