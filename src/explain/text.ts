import type { ExplainedGate, Explanation } from './explanation.ts'
import type { ExplainedUpstream } from './upstream-request.ts'

/** Formats an explanation for people: what was decided first, then how. */
export function explanationText(explanation: Explanation): string {
  const { request, normalized, candidates, route, gates, upstreams, limits, assumes } = explanation
  const lines = [`${request.method} ${request.url} from ${request.from}`, verdictLine(explanation), '']
  if (normalized !== null) {
    lines.push(
      `Read as    ${normalized.scheme}://${normalized.host}${normalized.path}, client ${normalized.client}`
    )
    lines.push(...normalized.changes.map((change) => `           ${change}`))
  }
  lines.push(
    `Route      ${route === null ? 'none' : `${route.name}${route.place === null ? ' (built in)' : `  ${route.place}`}`}`
  )
  for (const { route: name, place, lostBy } of candidates)
    if (lostBy !== null) lines.push(`  not      ${name}${place === null ? '' : `  ${place}`}: ${lostBy}`)
  if (gates.length > 0) lines.push('', 'Gates', ...gates.flatMap(gateLines))
  for (const upstream of upstreams) lines.push('', ...upstreamLines(upstream))
  if (limits.length > 0 && upstreams.length > 0)
    lines.push('', 'Time limits and retries', ...limits.map((limit) => `  ${optionText(limit)}`))
  if (assumes.length > 0) lines.push('', 'Taken for granted', ...assumes.map((each) => `  ${each}`))
  return `${lines.join('\n')}\n`
}

function verdictLine({ verdict, status, code, refusedBy, detail, caller }: Explanation): string {
  const who = caller === null ? '' : `; the caller is ${caller.id} (${caller.by})`
  if (verdict === 'refused')
    return `refused with ${status ?? 'no response'}${code === null ? '' : ` ${code}`}${refusedBy === null ? '' : ` by ${refusedBy}`}${detail === null ? '' : `: ${detail}`}${who}`
  if (verdict === 'unknown') return `not known here; if it passes: ${status ?? 'no response'}${who}`
  return verdict === 'forwarded' ? `forwarded${who}` : `answered with ${status ?? 'no response'}${who}`
}

function gateLines({ gate, phase, verdict, code, reason, options }: ExplainedGate): string[] {
  const told = reason === null ? '' : `: ${reason}`
  const shown = options.filter(({ level }) => level !== 'default')
  return [
    `  ${verdict.padEnd(11)} ${gate}${phase === '' ? '' : ` (${phase})`}${code === null ? '' : ` ${code}`}${told}`,
    ...shown.map((option) => `              ${optionText(option)}`)
  ]
}

function upstreamLines(explained: ExplainedUpstream): string[] {
  const { upstream, askedBy, method, url, headers, removed, bodyBytes, headersTimeout, targets } = explained
  return [
    `${askedBy === null ? 'Upstream' : `Asked by ${askedBy}:`} ${upstream}`,
    `  ${method} ${url}`,
    ...headers.map(({ name, value, by }) => `  ${name}: ${value}${by === null ? '' : `   (${by})`}`),
    ...removed.map(({ name, by }) => `  without ${name}   (${by})`),
    ...((bodyBytes ?? 0) > 0 ? [`  with a body of ${bodyBytes} bytes`] : []),
    ...(headersTimeout === null ? [] : [`  response headers within ${headersTimeout} ms`]),
    ...(targets.length > 1
      ? [`  targets: ${targets.map(({ url: name, share }) => `${name} ${share}`).join(', ')}`]
      : [])
  ]
}

const optionText = ({ option, value, place, level }: ExplainedGate['options'][number]): string =>
  `${option} = ${value}   ${place}${level === 'default' ? '' : ` (${level})`}`
