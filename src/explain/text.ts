import type { ExplainedGate, Explanation } from './explanation.ts'
import type { ExplainedUpstream } from './upstream-request.ts'

/** Formats an explanation for people: what was decided first, then how. */
export function explanationText(explanation: Explanation): string {
  const { request, normalized, candidates, route, gates, headers, upstreams, limits, assumes } = explanation
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
  if (headers.length > 0)
    lines.push('', 'Response headers', ...headers.map(({ name, value }) => `  ${name}: ${value}`))
  for (const upstream of upstreams) lines.push('', ...upstreamLines(upstream))
  if (limits.length > 0 && upstreams.length > 0)
    lines.push('', 'Time limits and retries', ...limits.map((limit) => `  ${optionText(limit)}`))
  if (assumes.length > 0) lines.push('', 'Taken for granted', ...assumes.map((each) => `  ${each}`))
  return `${lines.join('\n')}\n`
}

function verdictLine(explanation: Explanation): string {
  const { verdict, status, code, gates } = explanation
  if (verdict !== 'unknown') return `${outcomeText(explanation)}${callerText(explanation)}`
  const names = gates.filter((gate) => gate.verdict === 'unknown').map(({ gate }) => gate)
  const open = `not known, since ${names.join(' and ')} can't decide here`
  // A gate that refuses because its service is not asked says nothing about what is behind it.
  const isBehindKnown = status !== null || code !== null || targetsOf(explanation).length > 0
  return isBehindKnown ? `${open}; if it passes: ${outcomeText(explanation)}` : open
}

function outcomeText(explanation: Explanation): string {
  const { code, refusedBy, detail, gates, route } = explanation
  const status = explanation.status ?? 'no response'
  if (code !== null) {
    const by = refusedBy === null ? '' : ` by ${refusedBy}`
    return `refused with ${status} ${code}${by}${detail === null ? '' : `: ${detail}`}`
  }
  const targets = targetsOf(explanation)
  if (targets.length > 0) return `forwarded to ${targets.join(', ')}`
  const by = gates.find(({ verdict }) => verdict === 'answered')?.gate ?? route?.target ?? null
  return `answered with ${status}${by === null ? '' : ` by ${by}`}`
}

/** Lists the upstreams that the target of the route sends requests to. */
const targetsOf = ({ upstreams }: Explanation): string[] => [
  ...new Set(upstreams.filter(({ askedBy }) => askedBy === null).map(({ upstream }) => upstream))
]

const callerText = ({ caller }: Explanation): string =>
  caller === null ? '' : `; the caller is ${caller.id} (${caller.by})`

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
